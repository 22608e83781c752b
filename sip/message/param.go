package message

import "strings"

// param is one parameter of a ";"-led list as it stands in the text.
type param struct {
	name, value string // trimmed; value with its quotes
	eq          bool   // there was a "="
	end         int    // where it ends in the list: at the next ";" or the end
}

// nextParam reads the parameter behind the ";" at the start of s (white space may stand before it).
func nextParam(s string) (param, bool) {
	i := 0
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	if i == len(s) || s[i] != ';' {
		return param{}, false
	}
	i++
	start, eq := i, -1
	for i < len(s) && s[i] != ';' {
		switch {
		case s[i] == '"':
			i += closing(s[i:], '"')
			continue
		case s[i] == '=' && eq < 0:
			eq = i
		}
		i++
	}
	if eq < 0 {
		return param{name: trim(s[start:i]), end: i}, true
	}
	return param{name: trim(s[start:eq]), value: trim(s[eq+1 : i]), eq: true, end: i}, true
}

// Param looks a parameter up in a ";"-led list, case-insensitively. A quoted value comes without quotes and escapes.
func Param(params, name string) (value string, ok bool) {
	for p, more := nextParam(params); more; p, more = nextParam(params) {
		if EqualFold(p.name, name) {
			return Unquote(p.value), true
		}
		params = params[p.end:]
	}
	return "", false
}

// DelParam returns params without one parameter.
func DelParam(params, name string) string {
	if _, ok := Param(params, name); !ok {
		return params
	}
	out := make([]byte, 0, len(params))
	for p, more := nextParam(params); more; p, more = nextParam(params) {
		if !EqualFold(p.name, name) {
			out = append(out, params[:p.end]...)
		}
		params = params[p.end:]
	}
	return string(append(out, params...))
}

// SetParam returns params with the parameter set to value, in its place when it is there and at the end otherwise.
// value is written as it is: quotes are the caller's. An empty value writes the name alone.
func SetParam(params, name, value string) string {
	text := ";" + name
	if value != "" {
		text += "=" + value
	}
	for at := 0; ; {
		p, more := nextParam(params[at:])
		if !more {
			return trimRight(params) + text
		}
		if EqualFold(p.name, name) {
			return params[:at] + text + params[at+p.end:]
		}
		at += p.end
	}
}

// Unquote takes quotes and backslashes off a quoted string (RFC 3261 §25.1); anything else comes back as it is.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// Quote writes s as a quoted string.
func Quote(s string) string {
	b := append(make([]byte, 0, len(s)+2), '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}

// checkParams reports whether a list of header parameters keeps to *( SEMI generic-param ) (RFC 3261 §25.1), and looks one of them up as Param does. An
// empty value behind "=" passes: "rport=" occurs.
func checkParams(s, name string) (value string, ok bool) {
	found := false
	for s != "" {
		p, more := nextParam(s)
		if !more {
			return value, trim(s) == ""
		}
		if !all(p.name, classToken) || p.value != "" && !checkValue(p.value) {
			return "", false
		}
		if !found && EqualFold(p.name, name) {
			value, found = Unquote(p.value), true
		}
		s = s[p.end:]
	}
	return value, true
}

// checkValue reports whether v is a gen-value: a token, a host (an IPv6 address without brackets too) or a quoted
// string.
func checkValue(v string) bool {
	if v[0] == '"' {
		return len(v) > 1 && closing(v, '"') == len(v) && v[len(v)-1] == '"'
	}
	return all(v, classParam)
}
