package numbers

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOneSpellingOfARange(t *testing.T) {
	for name, want := range map[string]Range{
		"2xx":        {"2", 2},
		"2*":         {"2", AnyDigits},
		"+49301234*": {"+49301234", AnyDigits},
		"+*":         {"+", AnyDigits},
		"0049xxxx":   {"0049", 4},
	} {
		r, ok := Parse(name)
		if !ok || r != want || r.String() != name {
			t.Errorf("%s: %+v %v, spelled %s", name, r, ok, r)
		}
	}
	for _, name := range []string{"", "*", "x", "xxx", "231", "2x*", "2*x", "2**", "2x2", "*2", "2XX", "alice*", "max", "++4*", "4+*", "2xx ", "2-*",
		strings.Repeat("1", MaxLen+1) + "*", "1" + strings.Repeat("x", MaxLen+1)} {
		if r, ok := Parse(name); ok {
			t.Errorf("%q is taken for %+v", name, r)
		}
	}
}

func TestWhatLooksLikeARange(t *testing.T) {
	for name, want := range map[string]bool{"2xx": true, "2XX": true, "*": true, "4*2": true, "al*": true, "xx": false, "+xx": true, "max": false, "231": false, "alice": false, "fox": false} {
		if Looks(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestWhatIsInARange(t *testing.T) {
	for _, c := range []struct {
		name, user string
		in         bool
	}{
		{"2xx", "231", true}, {"2xx", "23", false}, {"2xx", "2310", false}, {"2xx", "331", false}, {"2xx", "2ab", false}, {"2xx", "2xx", false},
		{"+49301234*", "+493012345", true}, {"+49301234*", "+49301234", true}, {"+49301234*", "49301234", false},
		{"+*", "+1", true}, {"+*", "+", false}, {"1*", "+1", false},
	} {
		if r, _ := Parse(c.name); r.Contains(c.user) != c.in {
			t.Errorf("%s in %s: %v", c.user, c.name, !c.in)
		}
	}
}

// small draws names over two digits, so that they meet.
var small = rapid.Custom(func(t *rapid.T) Range {
	r := Range{rapid.StringMatching(`\+?[12]{1,4}`).Draw(t, "prefix"), rapid.IntRange(0, 4).Draw(t, "digits")}
	if r.Digits == 0 {
		r.Digits = AnyDigits
	}
	return r
})

// numbers is every number over two digits with up to n of them.
func numbers(n int) (all []string) {
	last := []string{""}
	for range n {
		var next []string
		for _, s := range last {
			next = append(next, s+"1", s+"2")
		}
		all, last = append(all, next...), next
	}
	for _, s := range slices.Clone(all) {
		all = append(all, "+"+s)
	}
	return all
}

func TestOverlapIsThatANumberIsInBoth(t *testing.T) {
	all := numbers(8)
	rapid.Check(t, func(t *rapid.T) {
		a, b := small.Draw(t, "a"), small.Draw(t, "b")
		want := slices.ContainsFunc(all, func(n string) bool { return a.Contains(n) && b.Contains(n) })
		if a.Overlaps(b) != want || b.Overlaps(a) != want {
			t.Fatalf("%s and %s: %v", a, b, !want)
		}
	})
}

// TestAPlanFindsWhatTheOracleFinds looks at every range there is, and takes the best that holds the number.
func TestAPlanFindsWhatTheOracleFinds(t *testing.T) {
	all := numbers(6)
	rapid.Check(t, func(t *rapid.T) {
		ranges := rapid.SliceOfN(small, 0, 6).Draw(t, "ranges")
		shapes := make([]Shape, len(ranges))
		for i, r := range ranges {
			shapes[i] = r.Shape()
		}
		plan := NewPlan(shapes...)
		for _, n := range all {
			var found, want Range
			for _, s := range plan {
				if r, ok := s.Of(n); ok && slices.Contains(ranges, r) {
					found = r
					break
				}
			}
			for _, r := range ranges {
				better := len(r.Prefix) > len(want.Prefix) || len(r.Prefix) == len(want.Prefix) && want.Digits == AnyDigits
				if r.Contains(n) && better {
					want = r
				}
			}
			if found != want {
				t.Fatalf("%s: found %s, want %s of %v", n, found, want, ranges)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("2xx")
	f.Add("+49*")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := Parse(s); ok && (r.String() != s || !Looks(s) || !r.Shape().Valid()) {
			t.Errorf("%q: %+v", s, r)
		}
	})
}
