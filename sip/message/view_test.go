package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseVia(t *testing.T) {
	tests := []struct {
		in   string
		want ViaValue
	}{
		{"SIP/2.0/UDP h", ViaValue{Transport: "UDP", Host: "h"}},
		{"SIP/2.0/udp h", ViaValue{Transport: "UDP", Host: "h"}},
		{"SIP/2.0/sctp h", ViaValue{Transport: "SCTP", Host: "h"}},
		{"SIP  /   2.0   / UDP  192.168.255.111   ; branch= z9hG4bK30239", ViaValue{"UDP", "192.168.255.111", 0, "z9hG4bK30239", "; branch= z9hG4bK30239"}},
		{`SIP/2.0/TCP h;x="ab";branch=z9hG4bK2;y=1`, ViaValue{"TCP", "h", 0, "z9hG4bK2", `;x="ab";branch=z9hG4bK2;y=1`}},
		{`SIP/2.0/TCP h;x="a;branch=no\"";branch=z9`, ViaValue{"TCP", "h", 0, "z9", `;x="a;branch=no\"";branch=z9`}},
		{"SIP/2.0/UDP h : 5060 ;branch=z9", ViaValue{"UDP", "h", 5060, "z9", ";branch=z9"}},
		{"SIP/2.0/UDP h:0", ViaValue{Transport: "UDP", Host: "h"}},
		{"SIP/2.0/TLS [2001:db8::1]:5061", ViaValue{Transport: "TLS", Host: "2001:db8::1", Port: 5061}},
		{"SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19", ViaValue{"UDP", "::ffff:192.0.2.10", 19823, "z9hG4bKbh19", ";branch=z9hG4bKbh19"}},
		{"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=x", ViaValue{"UDP", "2001:db8::9:1", 0, "x", ";received=[2001:db8::9:255];branch=x"}},
		{"SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=x", ViaValue{"UDP", "2001:db8::9:1", 0, "x", ";received=2001:db8::9:255;branch=x"}},
		{"SIP/2.0/UDP h_1.example;rport;BRANCH=x", ViaValue{"UDP", "h_1.example", 0, "x", ";rport;BRANCH=x"}},
		{"SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks", ViaValue{"WSS", "df7jal23ls0d.invalid", 0, "z9hG4bK56sdasks", ";branch=z9hG4bK56sdasks"}},
		{"SIP/2.0/DTLS-UDP h;rport=", ViaValue{Transport: "DTLS-UDP", Host: "h", Params: ";rport="}},
	}
	for _, tt := range tests {
		got, err := ParseVia(tt.in)
		if d := cmp.Diff(tt.want, got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.in, err, d)
		}
	}
	for _, in := range []string{"", "SIP", "SIP/2.0", "SIP/2.0/", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP 2.0/UDP h", "SIP/2.0/UDP[::1]", "SIP/2.0/UDP h x",
		"SIP/2.0/UDP h;", "SIP/2.0/UDP h;;x", "SIP/2.0/UDP h;x=a b", `SIP/2.0/UDP h;x="a`, "SIP/2.0/UDP h:5060x", "SIP/2.0/UDP [::1", "SIP/2.0/UDP []",
		"SIP/2.0/UDP [host]", "SIP/2.0/UDP h,i", "SIP/2.0/UDP h;x=<y>"} {
		if v, err := ParseVia(in); err == nil {
			t.Errorf("%q: %+v", in, v)
		}
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in   string
		want Address
	}{
		{"<sip:a@b>", Address{"", "sip:a@b", ""}},
		{"sip:a@b", Address{"", "sip:a@b", ""}},
		{"sip:a@b;tag=1;x", Address{"", "sip:a@b", ";tag=1;x"}},
		{"sip:a@b ; tag = 1", Address{"", "sip:a@b", "; tag = 1"}},
		{"<sip:a@b;lr?x=y>;tag=1", Address{"", "sip:a@b;lr?x=y", ";tag=1"}},
		{`"J \\\"" <sip:a@b> ; tag = 1`, Address{`"J \\\""`, "sip:a@b", "; tag = 1"}},
		{`"a<b>;c,d" <sip:a@b>`, Address{`"a<b>;c,d"`, "sip:a@b", ""}},
		{`""<sip:a@b>`, Address{`""`, "sip:a@b", ""}},
		{"caller<sip:a@b>;tag=1", Address{"caller", "sip:a@b", ";tag=1"}},
		{"A. Bell  <sip:a@b>", Address{"A. Bell", "sip:a@b", ""}},
		{"Jörg (Büro) <sip:a@b>", Address{"Jörg (Büro)", "sip:a@b", ""}},
		{"<isbn:2983792873>;tag=1", Address{"", "isbn:2983792873", ";tag=1"}},
		{`<sip:p1;lr;ftag="x">;rr=1`, Address{"", `sip:p1;lr;ftag="x"`, ";rr=1"}},
		{`<sip:p1;x="a>b">;rr=1`, Address{}},
		{`<sip:a@b>;q="x;tag=2";tag=1`, Address{"", "sip:a@b", `;q="x;tag=2";tag=1`}},
	}
	for _, tt := range tests {
		got, err := ParseAddress(tt.in)
		if d := cmp.Diff(tt.want, got); d != "" || (err != nil) != (tt.want == Address{}) {
			t.Errorf("%s: %v\n%s", tt.in, err, d)
		}
	}
	for _, in := range []string{"", " ", "<>", "<sip:a@b", "sip:a@b>", "a, b <sip:a@b>", `"a <sip:a@b>`, `"a" sip:a@b`, `"a"`, `"`, "< sip:a@b >",
		"<sip:a@b>x", "<sip:a@b> x;y", "<sip:a@b>;", "<sip:a@b>;;x", "<sip:a@b>;=x", "<sip:a@b>;x=y z", "sip:a@b?x=y", "sip:a@b,c", "sip:a b@c",
		"a> <sip:a@b>", "<sip:a@b><sip:c@d>", "*;expires=0 <"} {
		if v, err := ParseAddress(in); err == nil {
			t.Errorf("%q: %+v", in, v)
		}
	}
}

func TestParseRouteKeepsLr(t *testing.T) {
	for in, want := range map[string]string{"sip:p1;lr": "sip:p1;lr", " <sip:p1;lr>;x ": "sip:p1;lr", "Name <sip:p1;lr>": "sip:p1;lr",
		"sip:p1;lr;x=[::1]": "sip:p1;lr;x=[::1]"} {
		if a, err := ParseRoute(in); err != nil || a.URI != want {
			t.Errorf("%q: %q %v", in, a.URI, err)
		}
	}
	for _, in := range []string{"", "sip:p1 ;lr", "<sip:p1"} {
		if a, err := ParseRoute(in); err == nil {
			t.Errorf("%q: %+v", in, a)
		}
	}
}

func TestTag(t *testing.T) {
	for in, want := range map[string]string{"<sip:a@b;tag=no>;tag=1": "1", "sip:a@b;TAG=1": "1", "sip:vivekg@chair ;   tag    = 19": "19",
		`"x;tag=no" <sip:a@b>;tag=1`: "1", "<sip:a@b>": "", "": "", "<sip:a@b": "", "<sip:a@b>;tag": ""} {
		if got := Tag(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseContact(t *testing.T) {
	tests := []struct{ in, want string }{
		{"*", "star"}, {" * ", "star"},
		{"<sip:a@b>", "sip:a@b q=1000"},
		{"<sip:a@b>;q=0.33;expires=60", "sip:a@b q=330 expires=60"},
		{"<sip:a@b>;Q=0;EXPIRES=0", "sip:a@b q=0 expires=0"},
		{"<sip:a@b>;expires=", "sip:a@b q=1000 expires=3600"},
		{"<sip:a@b>;expires=4294967295", "sip:a@b q=1000 expires=4294967295"},
		{"<sip:a@b>;expires=4294967296", "sip:a@b q=1000 expires=3600"},
		{"<sip:a@b>;expires=-1;q=2", "sip:a@b q=1000 expires=3600"},
		{`<sip:a@b>;expires="60"`, "sip:a@b q=1000 expires=60"},
		{"sip:a@b;expires=5", "sip:a@b q=1000 expires=5"},
		{"*;expires=0", "sip:* no"}, {"sip:user@example.com?Route=%3Csip:sip.example.com%3E", "no"},
	}
	for _, tt := range tests {
		c, err := ParseContact(tt.in)
		got := fmt.Sprintf("%s q=%d", c.URI, c.Q)
		if c.HasExpires {
			got += fmt.Sprint(" expires=", c.Expires)
		}
		if c.Star {
			got = "star"
		}
		if err != nil {
			got = "no"
		}
		if got != tt.want && tt.in != "*;expires=0" {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
		if c.Star && tt.want != "star" {
			t.Errorf("%q is no star", tt.in)
		}
	}
}

func TestRFC3261_25_1_Qvalue(t *testing.T) {
	good := map[string]int{"0": 0, "0.": 0, "0.5": 500, "0.33": 330, "0.001": 1, "1": 1000, "1.": 1000, "1.0": 1000, "1.000": 1000}
	for in, want := range good {
		if q, ok := ParseQ(in); q != want || !ok {
			t.Errorf("%q: %d %v", in, q, ok)
		}
	}
	for _, in := range []string{"", ".5", "1.001", "2", "0.1234", "-1", "0.x", "00.5", "0,5", "1.0000"} {
		if q, ok := ParseQ(in); ok {
			t.Errorf("%q: %d", in, q)
		}
	}
}

func TestParams(t *testing.T) {
	list := `;a=1 ; B = "x\";y" ;c;d=;e=1=2`
	for name, want := range map[string]string{"a": "1", "A": "1", "b": `x";y`, "c": "", "d": "", "e": "1=2"} {
		if got, ok := Param(list, name); got != want || !ok {
			t.Errorf("%s: %q %v, want %q", name, got, ok, want)
		}
	}
	if _, ok := Param(list, "y"); ok {
		t.Error("found a parameter in quotes")
	}
	dels := []struct{ in, name, want string }{
		{list, "b", `;a=1 ;c;d=;e=1=2`}, {";a;b;A=2", "a", ";b"}, {";a", "a", ""}, {";a", "b", ";a"}, {"", "a", ""}, {";a;b", "b", ";a"},
	}
	for _, tt := range dels {
		if got := DelParam(tt.in, tt.name); got != tt.want {
			t.Errorf("%s without %s: %q, want %q", tt.in, tt.name, got, tt.want)
		}
	}
	sets := []struct{ in, name, value, want string }{
		{"", "a", "1", ";a=1"}, {";a", "a", "1", ";a=1"}, {";x;a=0;y", "A", "1", ";x;A=1;y"}, {";x ", "a", "", ";x;a"}, {`;x=";a=2"`, "a", "1", `;x=";a=2";a=1`},
	}
	for _, tt := range sets {
		if got := SetParam(tt.in, tt.name, tt.value); got != tt.want {
			t.Errorf("%s with %s: %q, want %q", tt.in, tt.name, got, tt.want)
		}
	}
	for _, s := range []string{"", "a", `a"b\c`, "\\"} {
		if got := Unquote(Quote(s)); got != s {
			t.Errorf("%q: %q", s, got)
		}
	}
	for in, want := range map[string]string{`"`: `"`, `a"`: `a"`, `"a\"`: `a\`, `"a\`: `"a\`} {
		if got := Unquote(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseURI(t *testing.T) {
	tests := []struct {
		in   string
		want URI
	}{
		{"sip:example.org", URI{Scheme: "sip", Host: "example.org"}},
		{"SIPS:a@example.org:5061", URI{Scheme: "sips", User: "a", Host: "example.org", Port: 5061}},
		{"sip:a:b@[2001:db8::1]:5060;lr?x=y&z=w", URI{Scheme: "sip", User: "a", Password: "b", Host: "2001:db8::1", Port: 5060, Params: ";lr", Headers: "x=y&z=w"}},
		{"sip:user;par=u%40example.net@example.com", URI{Scheme: "sip", User: "user;par=u%40example.net", Host: "example.com"}},
		{"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
			URI{Scheme: "sip", User: "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", Password: "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)", Host: "example.com"}},
		{"sip:h;transport=tcp;lr=", URI{Scheme: "sip", Host: "h", Params: ";transport=tcp;lr="}},
		{"sip:h?a=b", URI{Scheme: "sip", Host: "h", Headers: "a=b"}},
		{"sip:h;x?a=b?c", URI{Scheme: "sip", Host: "h", Params: ";x", Headers: "a=b?c"}},
		{"sip:user@[2001:db8:::192.0.2.1]", URI{Scheme: "sip", User: "user", Host: "2001:db8:::192.0.2.1"}},
		{"sip:*21#@h", URI{Scheme: "sip", User: "*21#", Host: "h"}},
		{"sip:a@b;ob;+sip.instance=\"<urn>\"", URI{}},
		{"tel:+1-201-555-0123;ext=5", URI{Scheme: "tel", Rest: "+1-201-555-0123;ext=5"}},
		{"soap.beep://192.0.2.103:3002", URI{Scheme: "soap.beep", Rest: "//192.0.2.103:3002"}},
		{"nobodyKnowsThisScheme:totallyopaquecontent", URI{Scheme: "nobodyknowsthisscheme", Rest: "totallyopaquecontent"}},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if d := cmp.Diff(tt.want, got); d != "" || (err != nil) != (tt.want == URI{}) {
			t.Errorf("%s: %v\n%s", tt.in, err, d)
		}
		if err == nil && !strings.EqualFold(got.String(), tt.in) {
			t.Errorf("%s is written %s", tt.in, got.String())
		}
	}
	for _, in := range []string{"", "sip", "sip:", ":x", "sip:@h", "sip:a@", "sip:a@:5060", "sip:a@h:", "sip:a@h:x", "sip:a@h:65536", "sip:a@h:-5", "sip:2001:db8::10",
		"sip:[::1", "sip:[x]", "sip:[]", "sip:a b@h", "sip:a@h x", "sip:<a@h>", "sip:a@h/p", "sip:a@h@i", "1a:b", "a_b:c", "sip:a@\xff", "sip:a@h\x00", `sip:"a"@h`} {
		if u, err := ParseURI(in); err == nil {
			t.Errorf("%q: %+v", in, u)
		}
	}
}

func TestHostPortAndAddr(t *testing.T) {
	for want, got := range map[string]string{"h": HostPort("h", 0), "h:1": HostPort("h", 1), "[::1]": HostPort("::1", 0), "[::1]:5": HostPort("::1", 5)} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:::192.0.2.1": "2001:db8::c000:201", "::1": "::1"} {
		if a, ok := Addr(in); !ok || a.String() != want {
			t.Errorf("%s: %v %v", in, a, ok)
		}
	}
	for _, in := range []string{"", "h", "1.2.3", "fe80::1%eth0", "[::1]"} {
		if a, ok := Addr(in); ok {
			t.Errorf("%s: %v", in, a)
		}
	}
}

func TestRFC3261_10_3_AOR(t *testing.T) {
	tests := []struct{ in, want string }{
		{"sip:alice@Example.ORG", "alice@example.org"},
		{"sips:Alice:secret@example.org:5061;user=phone?x=y", "Alice@example.org"},
		{"sip:%61lice@example.org", "alice@example.org"},
		{"sip:%2B49301234@example.org", "+49301234@example.org"},
		{"sip:+49301234@example.org", "+49301234@example.org"},
		{"sip:*21#@example.org", "*21%23@example.org"},
		{"sip:*21%23@example.org", "*21%23@example.org"},
		{"sip:null-%00-null@example.com", "null-%00-null@example.com"},
		{"sip:a%0d%0ax@h", "a%0D%0Ax@h"},
		{"sip:a%40b@h", "a%40b@h"},
		{"sip:100%@h", "100%25@h"},
		{"sip:100%25@h", "100%25@h"},
		{"sip:%zz@h", "%25zz@h"},
		{"sip:a@[2001:DB8::1]", "a@[2001:db8::1]"},
		{"sip:example.org", ""}, {"tel:+49", ""},
	}
	for _, tt := range tests {
		u, err := ParseURI(tt.in)
		if got := u.AOR(); got != tt.want || err != nil {
			t.Errorf("%s: %s, want %s (%v)", tt.in, got, tt.want, err)
		}
		if tt.want != "" {
			if again, err := ParseURI("sip:" + tt.want); err != nil || again.AOR() != tt.want {
				t.Errorf("%s is not its own canonical form: %s %v", tt.want, again.AOR(), err)
			}
		}
	}
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:a:b@[::1]:5060;lr?x=y", "tel:+1", "sips:h", "sip:%00@h;%6c%72", "sip:a@h;transport=tcp?a=b&c=d"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		u, err := ParseURI(a)
		if err == nil {
			again, err := ParseURI(u.String())
			if err != nil || again != u {
				t.Fatalf("%q: %+v, written and read %+v (%v)", a, u, again, err)
			}
			if c := CanonicalUser(u.User); CanonicalUser(c) != c {
				t.Fatalf("%q: %q", u.User, c)
			}
		}
		if EqualURI(a, b) != EqualURI(b, a) || !EqualURI(a, a) {
			t.Fatalf("%q %q: equality has a direction", a, b)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"a" <sip:b@c>;tag=1`, "sip:a@b;x=\"y\"", "*", "<sip:p;lr>", "SIP/2.0/UDP h:5;branch=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = ParseContact(s)
		_, _ = ParseRoute(s)
		_, _ = ParseVia(s)
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		text := "<" + a.URI + ">" + a.Params
		if a.Display != "" {
			text = a.Display + " " + text
		}
		if again, err := ParseAddress(text); err != nil || again != a {
			t.Fatalf("%q: %+v, written and read %+v (%v)", s, a, again, err)
		}
		if got := DelParam(SetParam(a.Params, "zz", "1"), "zz"); strings.TrimRight(DelParam(a.Params, "zz"), " \t") != strings.TrimRight(got, " \t") {
			t.Fatalf("%q: %q", a.Params, got)
		}
	})
}
