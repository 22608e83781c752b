package message

import (
	"errors"
	"strings"
)

// Errors of the typed views. They come bare: the caller knows which field it read.
var (
	ErrVia     = errors.New("malformed Via")
	ErrAddress = errors.New("malformed address")
	ErrCSeq    = errors.New("malformed CSeq")
	ErrURI     = errors.New("malformed URI")
)

// ViaValue is a view of one Via value (RFC 3261 §20.42). The strings alias the value.
type ViaValue struct {
	Transport string // "UDP"; upper case
	Host      string // IPv6 without brackets
	Port      uint16 // 0: none given
	Branch    string
	Params    string // all parameters, ";"-led
}

// ParseVia reads one Via value: sent-protocol LWS sent-by *( SEMI via-params ), white space anywhere that SLASH,
// COLON, SEMI and EQUAL allow it (RFC 3261 §25.1). Any protocol name and version pass: which one it is concerns the
// request line.
func ParseVia(v string) (ViaValue, error) {
	transport, rest, ok := sentProtocol(v)
	if !ok {
		return ViaValue{}, ErrVia
	}
	host, port, rest, ok := hostport(trimLeft(rest), true)
	if !ok {
		return ViaValue{}, ErrVia
	}
	branch, ok := checkParams(rest, "branch")
	if !ok {
		return ViaValue{}, ErrVia
	}
	return ViaValue{Transport: transport, Host: host, Port: port, Branch: branch, Params: trimLeft(rest)}, nil
}

// sentProtocol reads protocol-name SLASH protocol-version SLASH transport LWS.
func sentProtocol(v string) (transport, rest string, ok bool) {
	for i := range 3 {
		n := span(v, classToken)
		transport, rest = v[:n], trimLeft(v[n:])
		if n == 0 || rest == "" {
			return "", "", false
		}
		if i == 2 {
			return upper(transport), rest, len(rest) < len(v)-n
		}
		if rest[0] != '/' {
			return "", "", false
		}
		v = trimLeft(rest[1:])
	}
	return "", "", false
}

// upper spells a transport as RFC 3261 does, without an allocation for the usual ones.
func upper(s string) string {
	for _, t := range [...]string{"UDP", "TCP", "TLS", "WS", "WSS"} {
		if EqualFold(s, t) {
			return t
		}
	}
	return strings.ToUpper(s)
}

// hostport reads host [ ":" port ]; in a Via (lws) white space may stand around the colon and follow. rest is what
// follows.
func hostport(s string, lws bool) (host string, port uint16, rest string, ok bool) {
	host, rest, ok = hostname(s)
	if !ok {
		return "", 0, "", false
	}
	after := rest
	if lws {
		after = trimLeft(rest)
	}
	if after == "" || after[0] != ':' {
		return host, 0, rest, true
	}
	after = after[1:]
	if lws {
		after = trimLeft(after)
	}
	n := 0
	for n < len(after) && '0' <= after[n] && after[n] <= '9' {
		n++
	}
	p, ok := number(after[:n], 1<<16)
	return host, uint16(p), after[n:], ok && p < 1<<16
}

// hostname reads hostname, IPv4address or IPv6reference.
func hostname(s string) (host, rest string, ok bool) {
	if s == "" || s[0] != '[' {
		n := span(s, classHost)
		return s[:n], s[n:], n > 0
	}
	// RFC 5118 §4.10: "an implementation must tolerate both" forms, three colons too; so no more than the octets are
	// checked.
	n := span(s[1:], classIPv6)
	if n < 2 || len(s) < n+2 || s[n+1] != ']' || strings.IndexByte(s[1:n+1], ':') < 0 {
		return "", "", false
	}
	return s[1 : n+1], s[n+2:], true
}

// TopVia reads the topmost Via.
func (m *Message) TopVia() (ViaValue, error) {
	v, ok := m.FirstValue(Via)
	if !ok {
		return ViaValue{}, ErrVia
	}
	return ParseVia(v)
}
