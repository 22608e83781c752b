package message

import "strings"

// cutValue splits the first value off a comma-separated list: a comma inside quotes, angle brackets or a comment (RFC
// 3261 §25.1) does not separate. n is where the value ends, next where the next one begins; next is len(s) at the
// end.
func cutValue(s string) (n, next int) {
	for i := 0; i < len(s); {
		switch s[i] {
		case ',':
			return i, i + 1
		case '"':
			i += closing(s[i:], '"')
		case '<':
			i += closing(s[i:], '>')
		case '(':
			// A parenthesis may stand in a URI without brackets too; a comment follows white space.
			if i == 0 || isSpace(s[i-1]) {
				i += comment(s[i:])
			} else {
				i++
			}
		default:
			i++
		}
	}
	return len(s), len(s)
}

// closing is the length of what s[0] opens, up to and with the closing octet; all of s when nothing closes it. In
// quotes a backslash takes the meaning from the next octet; in angle brackets a quoted string may hold the closing
// one.
func closing(s string, end byte) int {
	odd := false // a quote has no other: nor has any behind it
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == end:
			return i + 1
		case s[i] == '\\' && end == '"':
			i++
		case s[i] == '"' && !odd:
			// Not in the grammar of a URI, but some write <sip:p;ftag="x">; an odd one is an ordinary octet.
			if k := closing(s[i:], '"'); s[i+k-1] == '"' && k > 1 {
				i += k - 1
			} else {
				odd = true
			}
		}
	}
	return len(s)
}

// comment is the length of a comment with nested ones; 1 when it is not closed in maxComment octets, so that the
// parenthesis counts for itself.
func comment(s string) int {
	s = s[:min(len(s), maxComment)]
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 1
}

// Values lists the values of a header field whose grammar is a comma-separated list (Via, Route, Contact, Supported,
// ..), over all its lines, split at the commas outside quotes and angle brackets. Empty values are left out. The
// slice is the caller's.
func (m *Message) Values(n Name) []string {
	var out []string
	for i := range m.Fields {
		if m.Fields[i].Name == n {
			out = AppendValues(out, m.Fields[i].Value)
		}
	}
	return out
}

// AppendValues splits one line as Values does and appends its values to out.
func AppendValues(out []string, line string) []string {
	for v, rest := NextValue(line); v != ""; v, rest = NextValue(rest) {
		out = append(out, v)
	}
	return out
}

// NextValue cuts the first value off one line, as Values splits it: "" when only empty ones are left.
func NextValue(line string) (value, rest string) {
	for value == "" && line != "" {
		n, next := cutValue(line)
		value, line = trim(line[:n]), line[next:]
	}
	return value, line
}

// FirstValue returns the first value of a list field.
func (m *Message) FirstValue(n Name) (string, bool) {
	i, start, end := m.first(n)
	if i < 0 {
		return "", false
	}
	return trim(m.Fields[i].Value[start:end]), true
}

// LastValue returns the last value of a list field.
func (m *Message) LastValue(n Name) (last string, ok bool) {
	for i := len(m.Fields) - 1; i >= 0 && !ok; i-- {
		if m.Fields[i].Name != n {
			continue
		}
		for line := m.Fields[i].Value; line != ""; {
			end, next := cutValue(line)
			if v := trim(line[:end]); v != "" {
				last, ok = v, true
			}
			line = line[next:]
		}
	}
	return last, ok
}

// first locates the first value of a list field that is not empty: the field and the octets. i is -1 when there is none.
func (m *Message) first(n Name) (i, start, end int) {
	for i := range m.Fields {
		if m.Fields[i].Name != n {
			continue
		}
		v := m.Fields[i].Value
		for at := 0; at < len(v); {
			k, next := cutValue(v[at:])
			if trim(v[at:at+k]) != "" {
				return i, at, at + k
			}
			at += next
		}
	}
	return -1, 0, 0
}

// PopValue removes and returns the first value of a list field (a Via, a Route), splitting a line when it holds several.
func (m *Message) PopValue(n Name) (string, bool) {
	i, start, end := m.first(n)
	if i < 0 {
		return "", false
	}
	v := m.Fields[i].Value
	if rest := v[min(end+1, len(v)):]; strings.Trim(rest, " \t,") != "" {
		m.Fields[i].Value = trim(rest)
	} else {
		m.cut(append(m.Fields[:i], m.Fields[i+1:]...))
	}
	return trim(v[start:end]), true
}

// SetFirstValue replaces the first value of a list field and leaves the rest of its line. Without one it puts a field
// at the top.
func (m *Message) SetFirstValue(n Name, value string) {
	i, _, end := m.first(n)
	if i < 0 {
		m.Prepend(n, value)
		return
	}
	m.Fields[i].Value = value + m.Fields[i].Value[end:]
}
