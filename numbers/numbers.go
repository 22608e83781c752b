// Package numbers is the words for numbers and ranges of them: a range is one name that stands for many numbers, such as 2xx for 200 to 299, or
// +49301234* for a block of direct dial-in. Both sides of the program use it: trunks and routes, and the overlay, where a range is an
// address-of-record of that name. All is values; nothing fails or panics on any input.
//
// The name of a range is its prefix, an optional + and digits, at least one character, and behind it either
//
//	x, xx, ...   as many digits as there are x: 2xx is 200 to 299 and not 20 or 2000
//	*            any digits, or none: 49301* is 49301, 493010, 4930177
//
// Of the ranges that a number is in, the one with the longest prefix counts; between two with the same prefix, the one that says how
// many digits follow.
package numbers

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Implementation limits.
const (
	// MaxLen is the most characters of a number or prefix. E.164 has 15 digits; numbers of services and routing prefixes go in front.
	MaxLen = 32
	// MaxShapes is the most shapes in a Plan: a lookup of a number asks for one name of each.
	MaxShapes = 16
)

// AnyDigits, as the Digits of a Shape, is any number of digits.
const AnyDigits = -1

// Shape is what the names of many ranges have in common: how long the prefix is, and how many digits follow.
type Shape struct {
	Prefix int // characters, 1 to MaxLen
	Digits int // 1 to MaxLen, or AnyDigits
}

// Range is a range of numbers. The zero Range is none.
type Range struct {
	Prefix string // + and digits
	Digits int    // how many digits follow, or AnyDigits
}

// Is reports whether user is a number: digits, with or without a + in front.
func Is(user string) bool {
	digits := strings.TrimPrefix(user, "+")
	return digits != "" && len(user) <= MaxLen && allDigits(digits)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Parse reads the name of a range; ok is false when name is none. It has one spelling: that of String.
func Parse(name string) (r Range, ok bool) {
	prefix, star := strings.CutSuffix(name, "*")
	r = Range{prefix, AnyDigits}
	if !star {
		r.Prefix = strings.TrimRight(name, "x")
		r.Digits = len(name) - len(r.Prefix)
	}
	ok = r.Prefix != "" && len(r.Prefix) <= MaxLen && r.Digits != 0 && r.Digits <= MaxLen && allDigits(strings.TrimPrefix(r.Prefix, "+"))
	if !ok {
		return Range{}, false
	}
	return r, true
}

// Looks reports whether name looks like that of a range: whoever wrote it means one, be it a valid one or not.
func Looks(name string) bool {
	if strings.Contains(name, "*") {
		return true
	}
	head := strings.TrimRight(name, "xX")
	return head != "" && head != name && allDigits(strings.TrimPrefix(head, "+"))
}

// String is the name of r.
func (r Range) String() string {
	if r.Digits == AnyDigits {
		return r.Prefix + "*"
	}
	return r.Prefix + strings.Repeat("x", max(r.Digits, 0))
}

// Shape is the shape of r.
func (r Range) Shape() Shape { return Shape{len(r.Prefix), r.Digits} }

// Contains reports whether user is a number in r.
func (r Range) Contains(user string) bool {
	return r.Shape().fits(user) && Is(user) && strings.HasPrefix(user, r.Prefix)
}

// Overlaps reports whether a number is in both r and o.
func (r Range) Overlaps(o Range) bool {
	if len(o.Prefix) < len(r.Prefix) {
		r, o = o, r
	}
	if !strings.HasPrefix(o.Prefix, r.Prefix) {
		return false
	}
	switch more := len(o.Prefix) - len(r.Prefix); { // digits that o fixes and r leaves open
	case r.Digits == AnyDigits:
		return true
	case o.Digits == AnyDigits:
		return r.Digits >= more
	default:
		return r.Digits == more+o.Digits
	}
}

// Compare orders ranges and shapes by which of them counts for a number that is in both: that one first.
func (s Shape) Compare(o Shape) int {
	if c := cmp.Compare(o.Prefix, s.Prefix); c != 0 {
		return c
	}
	return cmp.Compare(o.Digits, s.Digits) // AnyDigits last
}

// fits reports whether a number of the length of user can be in a range of shape s.
func (s Shape) fits(user string) bool {
	return len(user) >= s.Prefix && (s.Digits == AnyDigits || len(user) == s.Prefix+s.Digits)
}

// Of is the range of shape s that user is in, which must be a number; ok is false when it can be in none.
func (s Shape) Of(user string) (r Range, ok bool) {
	if !s.fits(user) {
		return Range{}, false
	}
	return Range{user[:s.Prefix], s.Digits}, true
}

// Valid reports whether ranges can have the shape s.
func (s Shape) Valid() bool {
	return s.Prefix >= 1 && s.Prefix <= MaxLen && (s.Digits == AnyDigits || s.Digits >= 1 && s.Digits <= MaxLen)
}

// String is s as people write it: the length of the prefix, and * or +DIGITS behind it.
func (s Shape) String() string {
	if s.Digits == AnyDigits {
		return strconv.Itoa(s.Prefix) + "*"
	}
	return strconv.Itoa(s.Prefix) + "+" + strconv.Itoa(s.Digits)
}

// Plan is the shapes that the ranges of an overlay have, the one that counts first in front. It is not modified.
type Plan []Shape

// NewPlan makes a plan of shapes: in order, each once. Those that are not Valid, and those beyond MaxShapes, are left out.
func NewPlan(shapes ...Shape) Plan {
	p := slices.DeleteFunc(slices.Clone(shapes), func(s Shape) bool { return !s.Valid() })
	slices.SortFunc(p, Shape.Compare)
	p = slices.Compact(p)
	return Plan(p[:min(len(p), MaxShapes)])
}

// Has reports whether ranges of the shape s are looked for.
func (p Plan) Has(s Shape) bool { return slices.Contains(p, s) }
