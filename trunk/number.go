package trunk

import (
	"slices"
	"strings"
)

// Change is what becomes of a number: To, or else Strip octets off the front, Prepend in front, and then Format.
type Change struct {
	Strip   int
	Prepend string
	Format  Format
	To      string // takes the place of the whole
}

// Format is how a number is written.
type Format uint8

// The formats. A number that is neither international nor national stays as it is in all of them.
const (
	AsIs          Format = iota
	E164                 // +493012345
	National             // 03012345, 0033145 for another country
	International        // 00493012345
	Digits               // 493012345
)

// Formats are the words for them in the configuration.
var Formats = map[string]Format{"": AsIs, "e164": E164, "national": National, "international": International, "digits": Digits}

// Rule changes the numbers that match.
type Rule struct {
	Match Pattern
	Change
}

// Numbers is a translation: of its rules the one that Pattern order puts first counts. It is sorted by NewNumbers.
type Numbers []Rule

// NewNumbers makes a translation of rules, which it keeps.
func NewNumbers(rules []Rule) Numbers {
	slices.SortStableFunc(rules, func(a, b Rule) int { return before(a.Match, b.Match) })
	return rules
}

// Apply translates a number, which is as Number returns it.
func (n Numbers) Apply(number, country string) string {
	for i := range n {
		if n[i].Match.Match(number, "") {
			return n[i].apply(number, country)
		}
	}
	return number
}

func (c Change) apply(number, country string) string {
	if c.To != "" {
		return c.To
	}
	return c.Format.write(c.Prepend+number[min(c.Strip, len(number)):], country)
}

// write writes a number. country is the country code that national numbers belong to.
func (f Format) write(number, country string) string {
	if f == AsIs {
		return number
	}
	full, ok := global(number, country)
	if !ok {
		return number
	}
	national, here := strings.CutPrefix(full, country)
	switch {
	case f == E164:
		return "+" + full
	case f == Digits:
		return full
	case f == National && here && country != "":
		return "0" + national
	}
	return "00" + full
}

// global is a number with its country code and nothing in front of it; ok is false when it is neither written internationally nor, with the
// country known, nationally.
func global(number, country string) (full string, ok bool) {
	if full, ok = strings.CutPrefix(number, "+"); ok {
		return full, full != ""
	}
	if full, ok = strings.CutPrefix(number, "00"); ok {
		return full, full != ""
	}
	national, ok := strings.CutPrefix(number, "0")
	return country + national, ok && country != "" && national != ""
}
