package message

import (
	"net/netip"
	"strconv"
	"strings"
)

// URI is a view of a URI. For sip and sips every part is set; for other schemes only Scheme and Rest.
type URI struct {
	Scheme   string // lower case
	User     string // as written, escapes kept
	Password string
	Host     string // as written; IPv6 without brackets
	Port     uint16 // 0: none given
	Params   string // ";"-led
	Headers  string // without "?"
	Rest     string // other schemes: everything behind the colon
}

// ParseURI reads a URI (RFC 3261 §19.1, §25). User part, parameters and headers may hold any visible octet but angle
// brackets: phones leave "#" unescaped, and what we do not use goes on as it came.
func ParseURI(s string) (URI, error) {
	colon := strings.IndexByte(s, ':')
	if colon <= 0 || !all(s[colon+1:], classURI) {
		return URI{}, ErrURI
	}
	scheme, ok := parseScheme(s[:colon])
	if !ok {
		return URI{}, ErrURI
	}
	u := URI{Scheme: scheme}
	if !u.IsSIP() {
		u.Rest = s[colon+1:]
		return u, nil
	}
	if !u.parseSIP(s[colon+1:]) {
		return URI{}, ErrURI
	}
	return u, nil
}

// parseScheme checks ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) and folds it.
func parseScheme(s string) (string, bool) {
	switch {
	case EqualFold(s, "sip"):
		return "sip", true
	case EqualFold(s, "sips"):
		return "sips", true
	}
	for i := range len(s) {
		switch c := lower(s[i]); {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return "", false
		}
	}
	return strings.ToLower(s), true
}

// parseSIP reads [ userinfo "@" ] hostport uri-parameters [ headers ]. "@" stands nowhere but behind the userinfo, so
// the first one ends it; the user part may hold ";" and "?" (RFC 4475 §3.1.1.9).
func (u *URI) parseSIP(s string) bool {
	if at := strings.IndexByte(s, '@'); at >= 0 {
		u.User, u.Password, _ = strings.Cut(s[:at], ":")
		if u.User == "" || strings.IndexByte(s[:at], '"') >= 0 {
			return false
		}
		s = s[at+1:]
	}
	var ok bool
	if u.Host, u.Port, s, ok = hostport(s, false); !ok {
		return false
	}
	if s != "" && s[0] == ';' {
		end := strings.IndexByte(s, '?')
		if end < 0 {
			end = len(s)
		}
		u.Params, s = s[:end], s[end:]
	}
	if s == "" {
		return true
	}
	u.Headers = s[1:]
	return s[0] == '?'
}

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// Param looks up a parameter, as the function Param does; escapes are kept.
func (u URI) Param(name string) (string, bool) { return Param(u.Params, name) }

// String writes the URI.
func (u URI) String() string {
	if !u.IsSIP() {
		return u.Scheme + ":" + u.Rest
	}
	b := make([]byte, 0, 16+len(u.User)+len(u.Password)+len(u.Host)+len(u.Params)+len(u.Headers))
	b = append(append(b, u.Scheme...), ':')
	if u.User != "" {
		b = append(b, u.User...)
		if u.Password != "" {
			b = append(append(b, ':'), u.Password...)
		}
		b = append(b, '@')
	}
	b = AppendHostPort(b, u.Host, u.Port)
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(append(b, '?'), u.Headers...)
	}
	return string(b)
}

// HostPort writes host [ ":" port ], an IPv6 address in brackets; port 0 is not written.
func HostPort(host string, port uint16) string {
	return string(AppendHostPort(make([]byte, 0, 64), host, port))
}

// AppendHostPort appends what HostPort writes.
func AppendHostPort(b []byte, host string, port uint16) []byte {
	if strings.IndexByte(host, ':') >= 0 {
		b = append(append(append(b, '['), host...), ']')
	} else {
		b = append(b, host...)
	}
	if port == 0 {
		return b
	}
	return strconv.AppendUint(append(b, ':'), uint64(port), 10)
}

// Addr reads a numeric host; ok is false for a name. One colon too many is forgiven (RFC 5118 §4.10).
func Addr(host string) (a netip.Addr, ok bool) {
	a, err := netip.ParseAddr(strings.Replace(host, ":::", "::", 1))
	return a, err == nil && a.Zone() == ""
}

// AOR is the address-of-record in canonical form, "user@host" (RFC 3261 §10.3 step 5): parameters, password, port and
// headers dropped, host in lower case, user as CanonicalUser has it. It is "" when the URI is not sip or sips, or has
// no user.
func (u URI) AOR() string {
	if !u.IsSIP() || u.User == "" {
		return ""
	}
	return CanonicalUser(u.User) + "@" + strings.ToLower(HostPort(u.Host, 0))
}

// CanonicalUser folds the escapes of a user part as RFC 3261 §10.3 step 5 wants for an address-of-record.
//
// Deviation: "any escaped characters MUST be converted to their unescaped form" would let NUL, CR and "@" into a name
// that is written into URIs again. So octets that a user part cannot hold are escaped, in upper case, however they
// were written: names that are equal unescaped, and no others, are equal here.
func CanonicalUser(user string) string {
	if all(user, classUser) {
		return user
	}
	return fold(user, classUser)
}

// fold unescapes the octets of a class and escapes all others in upper case. A "%" that starts no escape is an octet
// like others.
func fold(s string, bit uint8) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi < 16 && lo < 16 {
				c, i = hi<<4|lo, i+2
			}
		}
		if class[c]&bit != 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// unhex is the value of a hexadecimal digit, 16 for anything else.
func unhex(c byte) byte {
	switch c = lower(c); {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}
