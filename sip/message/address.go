package message

import "strings"

// Address is a view of a name-addr or addr-spec with header parameters (From, To, Contact, Route: RFC 3261 §20.10).
type Address struct {
	Display string // as written, quotes included
	URI     string // without angle brackets
	Params  string // header parameters, ";"-led
}

// ParseAddress reads one value. The URI is not looked into: ParseURI does that.
func ParseAddress(v string) (Address, error) {
	a, ok := splitAddress(v)
	_, good := checkParams(a.Params, "")
	if !ok || !all(a.URI, classURI) || !good {
		return Address{}, ErrAddress
	}
	return a, nil
}

// ParseRoute reads one value of Route, Record-Route or Path. Their grammar wants angle brackets; where they are
// missing, what follows the URI counts as its parameters, so that a loose router ("sip:p1;lr") stays one.
func ParseRoute(v string) (Address, error) {
	v = trim(v)
	if strings.IndexByte(v, '<') >= 0 {
		return ParseAddress(v)
	}
	if !all(v, classURI) {
		return Address{}, ErrAddress
	}
	return Address{URI: v}, nil
}

// splitAddress takes a value apart without a look at URI and parameters.
func splitAddress(v string) (a Address, ok bool) {
	v = trim(v)
	open := 0
	if v != "" && v[0] == '"' {
		open = closing(v, '"')
		if v[open-1] != '"' || open == 1 {
			return a, false
		}
		rest := trimLeft(v[open:])
		if rest == "" || rest[0] != '<' {
			return a, false
		}
		a.Display, open = v[:open], len(v)-len(rest)
	} else if open = strings.IndexByte(v, '<'); open < 0 {
		return bareAddress(v)
	} else if a.Display = trimRight(v[:open]); strings.ContainsAny(a.Display, ",;\">") {
		// RFC 4475 §3.1.2.15: a display name with separators wants quotes; "the message should simply be rejected".
		return a, false
	}
	end := open + closing(v[open:], '>')
	if v[end-1] != '>' || end-open < 3 {
		return a, false
	}
	a.URI, a.Params = v[open+1:end-1], trimLeft(v[end:])
	return a, a.Params == "" || a.Params[0] == ';'
}

// bareAddress reads an addr-spec with header parameters. RFC 3261 §20: "If the URI contains a comma, question mark or
// semicolon, the URI MUST be enclosed in angle brackets"; so a semicolon starts header parameters, and the others are
// errors.
func bareAddress(v string) (a Address, ok bool) {
	a.URI = v
	if i := strings.IndexByte(v, ';'); i >= 0 {
		a.URI, a.Params = trimRight(v[:i]), v[i:]
	}
	return a, a.URI != "" && !strings.ContainsAny(a.URI, ",?\"")
}

// Tag is the tag parameter of a From or To value, "" when there is none.
func Tag(v string) string {
	a, _ := splitAddress(v)
	t, _ := Param(a.Params, "tag")
	return t
}

// ContactValue is a view of one Contact value (RFC 3261 §20.10).
type ContactValue struct {
	Address
	Star       bool   // "*": the rest is empty
	Q          int    // thousandths; 1000 when absent or malformed
	Expires    uint32 // seconds, when HasExpires
	HasExpires bool
}

// ParseContact reads one Contact value. A malformed q or expires does not make it fail: see ParseExpires.
func ParseContact(v string) (ContactValue, error) {
	if trim(v) == "*" {
		return ContactValue{Star: true, Q: DefaultQ}, nil
	}
	a, err := ParseAddress(v)
	if err != nil {
		return ContactValue{}, err
	}
	c := ContactValue{Address: a, Q: DefaultQ}
	if s, ok := Param(a.Params, "q"); ok {
		if q, ok := ParseQ(s); ok {
			c.Q = q
		}
	}
	if s, ok := Param(a.Params, "expires"); ok {
		c.Expires, c.HasExpires = ParseExpires(s), true
	}
	return c, nil
}

// ParseExpires reads delta-seconds. RFC 3261 §20.10: "Malformed values SHOULD be treated as equivalent to 3600"; so
// are those over 2**32-1 (RFC 4475 §3.1.2.4).
func ParseExpires(s string) uint32 {
	n, ok := number(s, 1<<32)
	if !ok || n == 1<<32 {
		return DefaultExpires
	}
	return uint32(n)
}

// ParseQ reads a qvalue in thousandths: "0" [ "." 0*3DIGIT ] or "1" [ "." 0*3("0") ] (RFC 3261 §25.1).
func ParseQ(s string) (int, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return 0, false
	}
	n, ok := number((frac + "000")[:3], 1000)
	q := int(whole[0]-'0')*1000 + int(n)
	return q, ok && q <= 1000
}
