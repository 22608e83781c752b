package trunk

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return p
}

func planOf(t testing.TB, patterns ...string) *Plan {
	t.Helper()
	c := Config{Domain: "example.org", Trunks: []Trunk{{Name: "pbx"}}}
	for _, s := range patterns {
		c.Routes = append(c.Routes, Route{Match: mustPattern(t, s), To: []string{"pbx"}})
	}
	return NewPlan(c)
}

// Feature: TRK-01
func TestRoutesByLongestMatch(t *testing.T) {
	p := planOf(t, "1xx", "2xx", "23x", "231", "+49301234*", "+4930*", "0*", "*@branch.example", "reception", "*98", "max", "*")
	for _, c := range []struct{ user, domain, want string }{
		{"112", "", "1xx"}, {"12", "", "*"}, {"1123", "", "*"}, {"11a", "", "*"},
		{"231", "", "231"}, {"232", "", "23x"}, {"241", "", "2xx"}, {"2*1", "", "*"},
		{"+49301234", "", "+49301234*"}, {"+493012345", "", "+49301234*"}, {"+493099", "", "+4930*"},
		{"0301", "", "0*"}, {"0", "", "0*"}, {"reception", "", "reception"}, {"*98", "", "*98"}, {"*981", "", "*"}, {"max", "", "max"}, {"ma1", "", "*"},
		{"anybody", "branch.example", "*@branch.example"}, {"112", "branch.example", "*@branch.example"}, {"112", "elsewhere.example", ""},
	} {
		got := ""
		if r := p.Route(c.user, c.domain, false); r != nil {
			got = r.Match.String()
		}
		if got != c.want {
			t.Errorf("%s@%s: %q, want %q", c.user, c.domain, got, c.want)
		}
	}
}

func TestParsePattern(t *testing.T) {
	for s, want := range map[string]string{
		"": "empty", "@h": "empty", "1x2": "x stands", "a b": "want", "2xx@": "want", "a@b@c": "want", "x1": "x stands", "2xx@h*": "want", "sip:1": "want",
	} {
		if _, err := ParsePattern(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// RFC 3966 §5.1.1: visual separators "are removed before" numbers are compared.
func TestNumber(t *testing.T) {
	for in, want := range map[string]string{
		"+49-30-1234": "+49301234", "(030)12.34": "0301234", "2%331": "231", "first.last": "first.last", "a-1": "a-1",
		"+4930;phone-context=example.org": "+4930", "": "",
	} {
		if got := Number(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Published routes alone are for other gateways, and one that is not published hides nothing from them.
func TestOnlyPublishedRoutes(t *testing.T) {
	p := planOf(t, "2xx", "23x", "0*")
	p.c.Routes[0].Publish = true
	if r := p.Route("231", "", true); r == nil || r.Match.String() != "2xx" {
		t.Error(r)
	}
	if r := p.Route("0301", "", true); r != nil {
		t.Error(r)
	}
	if got := p.Published(); len(got) != 1 || got[0].String() != "2xx" {
		t.Error(got)
	}
}

// oracle is how long a part of the number the pattern says, -1 when it does not match: by regular expressions.
func oracle(pattern, number string) (class, length int) {
	text := regexp.QuoteMeta(pattern)
	class = 3
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		text, class = regexp.QuoteMeta(rest)+".*", 2
		if rest == "" {
			class = 1
		}
	} else if strings.HasSuffix(pattern, "x") {
		text, class = strings.ReplaceAll(text, "x", "[0-9]"), 2
	}
	if !regexp.MustCompile("^" + text + "$").MatchString(number) {
		return -1, 0
	}
	return class, len(strings.TrimRight(pattern, "x*"))
}

var drawPattern = rapid.Custom(func(t *rapid.T) string {
	s := rapid.StringMatching(`\+?[12]{0,3}`).Draw(t, "prefix") + rapid.SampledFrom([]string{"", "*", "x", "xx"}).Draw(t, "end")
	if s == "" || s == "+" {
		return "*"
	}
	return s
})

// The route that decides is one that no other matching route is better than: exact before range before wildcard, then the longest prefix.
func TestLongestPrefixAgainstAnOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		patterns := rapid.SliceOfN(drawPattern, 1, 12).Draw(rt, "patterns")
		number := rapid.StringMatching(`\+?[0-3]{1,5}`).Draw(rt, "number")
		best, bestLength := -1, 0
		for _, s := range patterns {
			if class, length := oracle(s, number); class > best || class == best && length > bestLength {
				best, bestLength = class, length
			}
		}
		r := planOf(t, patterns...).Route(number, "", false)
		if r == nil {
			if best >= 0 {
				rt.Fatalf("%s: no route", number)
			}
			return
		}
		if class, length := oracle(r.Match.String(), number); class != best || length != bestLength {
			rt.Fatalf("%s: %s", number, r)
		}
	})
}

// A route is shadowed when it decides about no number, and only then: as far as all numbers of three digits tell.
func TestShadowedRoutesNeverDecide(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		patterns := rapid.SliceOfN(drawPattern, 1, 8).Draw(rt, "patterns")
		if rapid.Bool().Draw(rt, "all digits") {
			for d := range 10 {
				patterns = append(patterns, fmt.Sprintf("1%d", d), fmt.Sprintf("2%d*", d))
			}
		}
		p := planOf(t, patterns...)
		decides := map[*Route]bool{}
		for n := range 1000 {
			for _, s := range []string{"%d", "%02d", "%03d", "%04d", "%05d", "+%d", "+%03d", "1%05d", "2%05d"} {
				decides[p.Route(fmt.Sprintf(s, n), "", false)] = true
			}
		}
		shadowed := map[int]bool{}
		for _, s := range p.Shadowed() {
			shadowed[s[0]] = true
		}
		for i := range p.c.Routes {
			r := &p.c.Routes[i]
			if shadowed[i] && decides[r] {
				rt.Fatalf("%s decides, though shadowed", r)
			}
			if !shadowed[i] && !decides[r] && r.Match.kind == fixed && len(r.Match.prefix)+r.Match.digits <= 3 && !strings.HasPrefix(r.Match.prefix, "+") {
				rt.Fatalf("%s decides nothing", r)
			}
		}
	})
}

// Feature: TRK-07
func TestTranslation(t *testing.T) {
	rule := func(match string, c Change) Rule { return Rule{Match: mustPattern(t, match), Change: c} }
	n := NewNumbers([]Rule{
		rule("*", Change{Format: E164}),
		rule("0*", Change{Strip: 1, Prepend: "+49"}),
		rule("00*", Change{Strip: 2, Prepend: "+"}),
		rule("100", Change{To: "reception"}),
		rule("9*", Change{Strip: 99}),
	})
	for in, want := range map[string]string{
		"0301234": "+49301234", "0033145": "+33145", "100": "reception", "231": "231", "+4930": "+4930", "91": "",
	} {
		if got := n.Apply(in, "49"); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		in                              string
		e164, national, foreign, digits string
	}{
		{"0301234", "+49301234", "0301234", "0049301234", "49301234"},
		{"0049301234", "+49301234", "0301234", "0049301234", "49301234"},
		{"+49301234", "+49301234", "0301234", "0049301234", "49301234"},
		{"+33145", "+33145", "0033145", "0033145", "33145"},
		{"231", "231", "231", "231", "231"},
		{"alice", "alice", "alice", "alice", "alice"},
		{"+", "+", "+", "+", "+"}, {"00", "00", "00", "00", "00"}, {"0", "0", "0", "0", "0"}, {"", "", "", "", ""},
	} {
		for f, want := range map[Format]string{AsIs: c.in, E164: c.e164, National: c.national, International: c.foreign, Digits: c.digits} {
			if got := f.write(c.in, "49"); got != want {
				t.Errorf("%s as %d: %q, want %q", c.in, f, got, want)
			}
		}
	}
	if got := National.write("+49301234", ""); got != "0049301234" {
		t.Error(got)
	}
}

// Feature: TRK-03
func TestIdentify(t *testing.T) {
	p := NewPlan(Config{Trunks: []Trunk{
		{Name: "net", AcceptFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Name: "host", AcceptFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32"), netip.MustParsePrefix("10.0.0.10/32")}},
		{Name: "a", AcceptFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/32")}, Headers: []Header{{"X-Trunk", "a"}}},
		{Name: "tls", Certificate: []string{"pbx.example.net"}},
		{Name: "both", Certificate: []string{"pbx.example.net"}, AcceptFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
		{Name: "registers", RegisteredAs: "pbx1"},
	}})
	says := func(name string) string { return map[string]string{"X-Trunk": "a"}[name] }
	for _, c := range []struct {
		name string
		s    Source
		want string
	}{
		{"nobody", Source{Addr: netip.MustParseAddr("192.0.2.99")}, ""},
		{"the network", Source{Addr: netip.MustParseAddr("10.1.1.1")}, "net"},
		{"the longest match", Source{Addr: netip.MustParseAddr("10.0.0.9")}, "host"},
		{"the header tells", Source{Addr: netip.MustParseAddr("10.0.0.10"), Field: says}, "a"},
		{"without the header", Source{Addr: netip.MustParseAddr("10.0.0.10")}, "host"},
		{"the header from elsewhere", Source{Addr: netip.MustParseAddr("192.0.2.99"), Field: says}, ""},
		{"the certificate from anywhere", Source{Addr: netip.MustParseAddr("192.0.2.99"), Names: []string{"x", "PBX.example.net"}}, "tls"},
		{"the certificate and the address", Source{Addr: netip.MustParseAddr("192.0.2.1"), Names: []string{"pbx.example.net"}}, "both"},
		{"another certificate", Source{Addr: netip.MustParseAddr("192.0.2.1"), Names: []string{"evil.example.net"}}, ""},
		{"a registered flow", Source{Addr: netip.MustParseAddr("10.0.0.9"), Registered: func(u string) bool { return u == "pbx1" }}, "registers"},
	} {
		got := ""
		if tr := p.Identify(c.s); tr != nil {
			got = tr.Name
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEmergencyRoutes(t *testing.T) {
	p := planOf(t, "1xx", "112", "110", "11*")
	p.c.Routes[1].Emergency, p.c.Routes[2].Emergency = true, true
	if r := p.Emergency("112"); r == nil || r.Match.String() != "112" {
		t.Error(r)
	}
	if p.Emergency("113") != nil || planOf(t, "112").Emergency("") != nil {
		t.Error("an emergency that is none")
	}
	if r := p.Emergency(""); r == nil || r.Match.String() != "112" {
		t.Error("urn:service:sos", r)
	}
	if got := fmt.Sprint(p.EmergencyNumbers()); got != "[112 110]" {
		t.Error(got)
	}
}
