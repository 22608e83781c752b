package trunk

import (
	"cmp"
	"errors"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Pattern stands for user parts: "112" for itself, "2xx" for 2 and two digits more, "+49301234*" for everything that begins so, "*" for all.
// With a domain behind it, as in "*@branch.example", it is of that domain, else of ours. The zero Pattern matches nothing.
type Pattern struct {
	text   string
	prefix string
	digits int // that follow the prefix
	kind   kind
	domain string // lower case; "": ours
}

type kind uint8

const (
	none   kind = iota
	open        // prefix*
	fixed       // prefix and so many digits
	single      // one user part
)

// Why a pattern is none.
var (
	errEmpty   = errors.New("empty")
	errMiddle  = errors.New("x stands for a digit at the end of a number only, as in 2xx")
	errPattern = errors.New("want a number, 2xx, +49301234*, * or name, and @domain behind it for another domain than ours")
)

// ParsePattern reads a pattern. Only a last "*" stands for anything: "*98" is a number. x is a digit where the rest is a number.
func ParsePattern(s string) (Pattern, error) {
	user, domain, other := strings.Cut(s, "@")
	p := Pattern{text: s, domain: strings.ToLower(domain), kind: single}
	switch {
	case user == "":
		return Pattern{}, errEmpty
	case other && !validHost(domain), strings.ContainsAny(user, " \t\"<>;?@,:"):
		return Pattern{}, errPattern
	}
	if rest, ok := strings.CutSuffix(user, "*"); ok {
		p.prefix, p.kind = rest, open
		return p, nil
	}
	p.prefix = strings.TrimRight(user, "xX")
	p.digits = len(user) - len(p.prefix)
	switch {
	case !numeric(strings.Map(dropX, user)):
		p.prefix, p.digits = message.CanonicalUser(user), 0
	case strings.ContainsAny(p.prefix, "xX"):
		return Pattern{}, errMiddle
	case p.digits > 0:
		p.kind = fixed
	}
	return p, nil
}

func dropX(r rune) rune {
	if r == 'x' || r == 'X' {
		return -1
	}
	return r
}

func validHost(s string) bool {
	return s != "" && !strings.ContainsAny(s, " \t@<>\"/;?*,")
}

// numeric reports whether a user part is a number, as phones dial it: digits, star, hash, and a plus in front. An empty one is.
func numeric(s string) bool {
	s = strings.TrimPrefix(s, "+")
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '*' && c != '#' {
			return false
		}
	}
	return true
}

// Number is a user part as patterns see it: escapes folded, without parameters, and without visual separators when it is a number (RFC 3966
// §5.1.1).
func Number(user string) string {
	user, _, _ = strings.Cut(user, ";")
	user = message.CanonicalUser(user)
	if strings.ContainsAny(user, "-.()") {
		if bare := strings.Map(dropSeparator, user); numeric(bare) {
			return bare
		}
	}
	return user
}

func dropSeparator(r rune) rune {
	if strings.ContainsRune("-.()", r) {
		return -1
	}
	return r
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Ours reports whether the pattern is about users of our domain.
func (p Pattern) Ours() bool { return p.domain == "" }

// Exact reports whether the pattern stands for one user part.
func (p Pattern) Exact() bool { return p.kind == single }

// Prefix is what all that matches begins with.
func (p Pattern) Prefix() string { return p.prefix }

// Match reports whether user, of a domain in lower case, "" for ours, is one that p stands for. user is as Number returns it.
func (p Pattern) Match(user, domain string) bool {
	if domain != p.domain {
		return false
	}
	rest, ok := strings.CutPrefix(user, p.prefix)
	switch p.kind {
	case open:
		return ok && user != ""
	case fixed:
		return ok && len(rest) == p.digits && strings.Trim(rest, "0123456789") == ""
	case single:
		return user == p.prefix
	}
	return false
}

// class orders patterns: one user, a range, everything.
func (p Pattern) class() int {
	switch {
	case p.kind == single:
		return 2
	case p.kind == open && p.prefix == "":
		return 0
	}
	return 1
}

// before orders patterns that match one user part, the one that decides first: one user before a range before everything, then the longest
// prefix, then a fixed length before any length.
func before(a, b Pattern) int {
	return cmp.Or(cmp.Compare(b.class(), a.class()), cmp.Compare(len(b.prefix), len(a.prefix)), cmp.Compare(b.kind, a.kind))
}

// same reports whether both stand for the same user parts.
func (p Pattern) same(q Pattern) bool {
	return p.kind == q.kind && p.prefix == q.prefix && p.digits == q.digits && p.domain == q.domain
}
