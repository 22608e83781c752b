package message

// Character classes of RFC 3261 §25.1, one bit each.
const (
	classToken uint8 = 1 << iota // token
	classHost                    // hostname and IPv4address, and "_", which names in the field have
	classURI                     // what may stand in a URI when we read one: any visible octet but <, > and "
	classParam                   // what may stand in a parameter value without quotes
	classUser                    // unreserved and user-unreserved: what a user part may hold unescaped
	classMark                    // unreserved
	classIPv6                    // IPv6address
)

var class = classes()

func classes() (t [256]uint8) {
	set := func(bits uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bits
		}
	}
	const alphanum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	set(classToken|classHost|classUser|classMark, alphanum)
	set(classToken, "-.!%*_+`'~")
	set(classHost, "-._")
	set(classUser|classMark, "-_.!~*'()")
	set(classUser, "&=+$,;?/")
	set(classIPv6, "0123456789abcdefABCDEF:.")
	for c := 0x21; c < 0x100; c++ {
		if c == 0x7f {
			continue
		}
		if c != '<' && c != '>' {
			t[c] |= classURI
			if c != '"' && c != ',' && c != ';' {
				t[c] |= classParam
			}
		}
	}
	return t
}

// all reports whether s is not empty and every octet is in the class.
func all(s string, bit uint8) bool {
	for i := range len(s) {
		if class[s[i]]&bit == 0 {
			return false
		}
	}
	return s != ""
}

// span is the length of the prefix of s whose octets are in the class.
func span(s string, bit uint8) int {
	i := 0
	for i < len(s) && class[s[i]]&bit != 0 {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func trim(s string) string { return trimRight(trimLeft(s)) }

// lower folds an ASCII letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// EqualFold compares two tokens as RFC 3261 §7.3.1 does unless said otherwise: without regard to the case of ASCII
// letters.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// number reads 1*DIGIT. Values of limit and above come as limit, with ok.
func number(s string, limit uint64) (n uint64, ok bool) {
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		if n = n*10 + uint64(d); n > limit {
			n = limit
		}
	}
	return n, s != ""
}
