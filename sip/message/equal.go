package message

import "strings"

// EqualURI compares by RFC 3261 §19.1.4. URIs of other schemes are equal when their text is, the scheme's case aside.
// What is no URI, and what is longer than 1024 octets, equals its own text only.
func EqualURI(a, b string) bool {
	if a == b {
		return true
	}
	if len(a) > maxCompared || len(b) > maxCompared {
		return false
	}
	u, err := ParseURI(a)
	if err != nil {
		return false
	}
	v, err := ParseURI(b)
	// §19.1.4: "A SIP and SIPS URI are never equivalent."
	if err != nil || u.Scheme != v.Scheme {
		return false
	}
	if !u.IsSIP() {
		return u.Rest == v.Rest
	}
	// "Comparison of the userinfo of SIP and SIPS URIs is case-sensitive." "For two URIs to be equal, the user,
	// password, host, and port components must match": an omitted port does not equal the default one.
	return sameEscaped(u.User, v.User) && sameEscaped(u.Password, v.Password) && u.Port == v.Port &&
		sameHost(u.Host, v.Host) && sameParams(u.Params, v.Params) && sameParams(v.Params, u.Params) &&
		sameHeaders(u.Headers, v.Headers)
}

func sameHost(a, b string) bool {
	if EqualFold(a, b) {
		return true
	}
	// Two spellings of one address; §19.1.4 forbids only to equal a name with an address.
	x, ok := Addr(a)
	y, ok2 := Addr(b)
	return ok && ok2 && x == y
}

// sameParams reports whether each parameter in a that must match has its like in b.
func sameParams(a, b string) bool {
	for p, more := nextParam(a); more; p, more = nextParam(a) {
		a = a[p.end:]
		q, there := findEscaped(b, p.name)
		switch {
		case there && !EqualFold(unreserved(p.value), unreserved(q.value)):
			// "Any uri-parameter appearing in both URIs must match."
			return false
		case !there && binding(p.name):
			return false
		}
	}
	return true
}

// binding reports whether a parameter that only one URI has makes them differ: "A user, ttl, or method uri-parameter
// appearing in only one URI never matches", nor does maddr; transport is in no such sentence, but its default never
// matches its omission and the examples of §19.1.4 tell two such URIs apart.
func binding(name string) bool {
	switch strings.ToLower(unreserved(name)) {
	case "user", "ttl", "method", "maddr", "transport":
		return true
	}
	return false
}

func findEscaped(params, name string) (param, bool) {
	name = unreserved(name)
	for p, more := nextParam(params); more; p, more = nextParam(params) {
		if EqualFold(unreserved(p.name), name) {
			return p, true
		}
		params = params[p.end:]
	}
	return param{}, false
}

// sameHeaders: "URI header components are never ignored. Any present header component MUST be present in both URIs
// and match", in any order.
func sameHeaders(a, b string) bool {
	if a == b {
		return true
	}
	left := strings.Split(b, "&")
	for h := range strings.SplitSeq(a, "&") {
		i := 0
		for i < len(left) && !sameHeader(h, left[i]) {
			i++
		}
		if i == len(left) {
			return false
		}
		left = append(left[:i], left[i+1:]...)
	}
	return len(left) == 0
}

func sameHeader(a, b string) bool {
	an, av, _ := strings.Cut(a, "=")
	bn, bv, _ := strings.Cut(b, "=")
	return EqualFold(unreserved(an), unreserved(bn)) && sameEscaped(av, bv)
}

func sameEscaped(a, b string) bool { return a == b || unreserved(a) == unreserved(b) }

// unreserved unescapes what is the same escaped: "Characters other than those in the "reserved" set are equivalent to
// their "%" HEX HEX encoding". "%" itself stays escaped, so that no two texts run together.
func unreserved(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15 {
			b = append(b, s[i])
			continue
		}
		if c := unhex(s[i+1])<<4 | unhex(s[i+2]); c == '%' || strings.IndexByte(";/?:@&=+$,", c) >= 0 {
			b = append(b, strings.ToUpper(s[i:i+3])...)
		} else {
			b = append(b, c)
		}
		i += 2
	}
	return string(b)
}
