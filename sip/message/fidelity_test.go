package message

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// What a proxy does not use leaves as it came. Each line is one that a parser in wide use changes.
func TestFidelity(t *testing.T) {
	for _, line := range []string{
		`Via: SIP/2.0/TCP h;x="ab";branch=z9hG4bK2;y=1`,
		`Via: SIP/2.0/UDP h : 5060 ;branch=z9`,
		`Via: SIP/2.0/TLS [2001:db8::1]:5061, SIP/2.0/UDP i;branch=z9`,
		`Via: SIP/2.0/TCP h, SIP/2.0/UDP i;branch=z9`,
		`Via: SIP/2.0/UDP h;x="a,b";branch=z9`,
		`Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9`,
		`Via: SIP/2.0/UDP h:0;branch=z9`,
		`Record-Route: <sip:p1;lr;ftag="x">;rr=1`,
		`Route: "P, one" <sip:p1;lr>;x=y, sip:p2;lr`,
		`Refer-To: "Name" <sip:a@b;x?y=z&w>;z=1`,
		`Contact: <sip:a@b;x?y=z&w;lr=>`,
		`Contact: *;expires=0`,
		`Contact: <sip:a@b:0>, <sip:a@b:70000>, <sip:a@b:-5>`,
		`Contact: <SIP:a@b;p=1;p=2>;q=0.70;q=0.2`,
		`Contact: caller<sip:a@b>, ""<sip:c@d>, Two Words <sip:e@f>`,
		`X-Strange: ;;,,;,;"`,
		`X-UTF8: ` + "Ωм\xff\xfe",
		`X-Nul: "a\` + "\x00" + `"`,
		`P-Asserted-Identity: "x" <sip:x@example.org>, <tel:+49>`,
	} {
		in := request(line)
		out := string(mustParse(t, in).Clone().AppendTo(nil))
		if !strings.Contains(out, "\r\n"+line+"\r\n") || strings.Replace(out, "Content-Length: 0\r\n", "", 1) != in {
			t.Errorf("%q became\n%s", line, out)
		}
	}
}

// Compact and misspelled names come out in their usual spelling, all others as they are.
func TestFidelityOfNames(t *testing.T) {
	m := mustParse(t, request("k: 100rel", "Record-route: <sip:p;lr>", "x-My-NAME: 1", "P-asserted-identity: <sip:x@example.org>"))
	out := string(m.AppendTo(nil))
	for _, want := range []string{"\r\nSupported: 100rel\r\n", "\r\nRecord-Route: <", "\r\nx-My-NAME: 1\r\n", "\r\nP-Asserted-Identity: <"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	m.Del(PAssertedIdentity)
	if strings.Contains(strings.ToLower(string(m.AppendTo(nil))), "asserted") {
		t.Error("a field of another spelling was not removed")
	}
}

// A clone and its original share no counter.
func TestCloneIsIndependent(t *testing.T) {
	m := mustParse(t, request())
	a, b := m.Clone(), m.Clone()
	a.Set(MaxForwards, "69")
	b.Set(MaxForwards, "0")
	if m.Get(MaxForwards) != "70" || a.Get(MaxForwards) != "69" || b.Get(MaxForwards) != "0" {
		t.Error(m.Get(MaxForwards), a.Get(MaxForwards), b.Get(MaxForwards))
	}
}

// Why the model of sipgo is not used: it refuses or changes what we pass on, and passes what we refuse. When an upgrade makes this
// test fail, docs/decisions has a reason less.
func TestCharacterizesSipgo(t *testing.T) {
	tests := []struct {
		name, in, keeps string
		refused         bool
	}{
		{name: "Via with a quoted parameter", in: request(`Via: SIP/2.0/TCP h;x="ab";branch=z9hG4bK2;y=1`), keeps: `"ab";branch=z9hG4bK2;y=1` + "\r\n"},
		{name: "Via with two values behind IPv6", in: request("Via: SIP/2.0/TLS [2001:db8::1]:5061, SIP/2.0/UDP i;branch=z9"), keeps: "UDP i"},
		{name: "Route without brackets", in: request("Route: sip:p1;lr"), keeps: "p1;lr"},
		{name: "header parameter of Record-Route", in: request("Record-Route: <sip:p1;lr>;rr=1"), keeps: ";rr=1"},
		{name: "scheme with a dot", in: request("OPTIONS soap.beep://192.0.2.1 SIP/2.0"), refused: true},
	}
	p := sip.NewParser()
	for _, tt := range tests {
		m, err := p.ParseSIP([]byte(tt.in))
		if (err != nil) != tt.refused {
			t.Errorf("%s: sipgo now says %v", tt.name, err)
		} else if err == nil && strings.Contains(m.String(), tt.keeps) {
			t.Errorf("%s: sipgo now keeps it:\n%s", tt.name, m.String())
		}
		if ours := mustParse(t, tt.in); tt.keeps != "" && !strings.Contains(string(ours.AppendTo(nil)), tt.keeps) {
			t.Errorf("%s: we do not keep it", tt.name)
		}
	}
	smuggled := request("X-a: a\nP-Asserted-Identity: <sip:boss@example.org>")
	if m, err := p.ParseSIP([]byte(smuggled)); err != nil || !strings.Contains(m.String(), "a\nP-Asserted-Identity") {
		t.Errorf("sipgo no longer passes on a line feed in a value: %v", err)
	}
	if m, err := p.ParseSIP([]byte(request("options sip:b@example.org SIP/2.0", "CSeq: 1 options"))); err != nil || m.(*sip.Request).Method != "OPTIONS" {
		t.Errorf("sipgo no longer changes the case of a method: %v", err)
	}
}
