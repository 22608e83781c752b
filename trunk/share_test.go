package trunk

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// shares are accounts for tests.
type shares struct {
	usable bool
	holder string
}

func (s *shares) ByContact(user string) (string, bool) { return "itsp", user == "token" }
func (s *shares) Usable(string) (bool, string)         { return s.usable, s.holder }
func (s *shares) Admits(_, node string) bool           { return node == "member" }

// sharing is a service with one account, and how that stands.
func sharing(t *testing.T) (*Service, *shares) {
	t.Helper()
	account := itsp()
	account.Register.Owner = "itsp@example.org"
	account.Targets = []Target{{URI: "sip:itsp.example", Weight: 1}}
	account.Inbound = NewNumbers([]Rule{{Match: mustPattern(t, "4930*"), Change: Change{Strip: 4}}})
	a := &shares{usable: true}
	plan := NewPlan(Config{Domain: "example.org", Trunks: []Trunk{account}, Routes: []Route{{Match: mustPattern(t, "0*"), To: []string{"itsp"}}}})
	return New(Options{Plan: plan, Accounts: a, Bindings: func(string) []location.Binding { return nil }, Now: time.Now}), a
}

func invite(uri, to string) *message.Message {
	m := &message.Message{Method: "INVITE", RequestURI: uri}
	m.Add(message.From, "<sip:+4989@itsp.example>;tag=1")
	m.Add(message.To, "<"+to+">")
	return m
}

// A request to our contact at the registrar comes from that trunk, wherever it is sent from, and for the number in To.
func TestRequestToOurContact(t *testing.T) {
	s, _ := sharing(t)
	req := invite("sip:token@192.0.2.1:5060", "sip:493012345@itsp.example")
	o := s.Origin(req, location.Hop{Transport: "UDP"})
	if o.Trunk != "itsp" || !o.Ours || o.User != "12345" || o.Refusal != nil {
		t.Errorf("%+v", o)
	}
	req.AddOther("P-Called-Party-ID", "<sip:493067890@itsp.example>")
	if o = s.Origin(req, location.Hop{}); o.User != "12345" {
		t.Errorf("P-Called-Party-ID counts without being asked for: %+v", o)
	}
	s.plan.Load().Trunk("itsp").Register.CalledParty = true
	if o = s.Origin(req, location.Hop{}); o.User != "67890" {
		t.Errorf("%+v", o)
	}
	if o = s.Origin(invite("sip:other@192.0.2.1:5060", "sip:493012345@itsp.example"), location.Hop{}); o.Trunk != "" {
		t.Errorf("another contact: %+v", o)
	}
}

// Who does not own the account sends a call to who does; where nobody is known, the trunk is down.
//
// Feature: TRK-05
func TestCallOverAnothersAccount(t *testing.T) {
	s, a := sharing(t)
	d := &sip.Dialled{User: "0301234", Standing: sip.Known, Request: invite("sip:0301234@example.org", "sip:0301234@example.org")}
	route := func() sip.Way {
		t.Helper()
		r, ok := s.Route(d)
		if !ok || r.Refusal != nil || len(r.Ways) != 1 {
			t.Fatalf("%+v %v", r, ok)
		}
		return r.Ways[0]
	}
	if w := route(); w.Node != "" || w.URI != "sip:0301234@itsp.example" || w.Down {
		t.Errorf("%+v", w)
	}
	a.usable, a.holder = false, "owner"
	if w := route(); w.Node != "owner" || w.URI != "sip:0301234@example.org;account=itsp" || w.Down || w.Write != nil {
		t.Errorf("%+v", w)
	}
	a.holder = ""
	if w := route(); !w.Down {
		t.Errorf("%+v", w)
	}
}

// The owner takes such a call from gateways that may use the account as well, and from nobody else.
//
// Feature: TRK-05
func TestCallForTheOwner(t *testing.T) {
	s, a := sharing(t)
	const uri = "sip:0301234@example.org;account=itsp"
	dialled := func(node, uri string) *sip.Dialled {
		return &sip.Dialled{User: "0301234", Standing: sip.Peer, Node: node, Request: invite(uri, "sip:0301234@example.org")}
	}
	for _, c := range []struct {
		what, node, uri string
		usable          bool
		want            string
	}{
		{"a member", "member", uri, true, ""},
		{"another gateway", "stranger", uri, true, "TRK403O"},
		{"a member, for another account", "member", strings.Replace(uri, "itsp", "pbx", 1), true, "TRK403O"},
		{"a member, when the account has changed hands", "member", uri, false, "TRK503O"},
		{"a member, without a word of the account", "member", "sip:0301234@example.org", true, "TRK403U"},
	} {
		a.usable = c.usable
		r, ok := s.Route(dialled(c.node, c.uri))
		got := ""
		if r.Refusal != nil {
			got = r.Refusal.Word
		}
		if !ok || got != c.want || got == "" && (len(r.Ways) != 1 || r.Ways[0].URI != "sip:0301234@itsp.example" || r.Ways[0].Charge != "") {
			t.Errorf("%s: %+v %v, want %q", c.what, r, ok, c.want)
		}
	}
	// From a phone the parameter means nothing.
	d := dialled("", uri)
	d.Standing = sip.Stranger
	if r, _ := s.Route(d); r.Refusal == nil || r.Refusal.Word != "TRK403A" {
		t.Errorf("%+v", r)
	}
}

// An emergency call over the account of another gateway is one there, too: it takes a line when none is left.
//
// Feature: TRK-05 TRK-13
func TestEmergencyCallOverAnothersAccount(t *testing.T) {
	account := itsp()
	account.Register.Owner, account.MaxCalls, account.Prefixes = "itsp@example.org", 1, []Pattern{mustPattern(t, "030*")}
	account.Targets = []Target{{URI: "sip:itsp.example", Weight: 1}}
	plan := NewPlan(Config{Domain: "example.org", Trunks: []Trunk{account}, Routes: []Route{
		{Match: mustPattern(t, "112"), To: []string{"itsp"}, Emergency: true}, {Match: mustPattern(t, "0*"), To: []string{"itsp"}}}})
	gateway := func(a *shares) *Service {
		return New(Options{Plan: plan, Accounts: a, Bindings: func(string) []location.Binding { return nil }, Now: time.Now})
	}
	there, owner := gateway(&shares{holder: "owner"}), gateway(&shares{usable: true})
	for i, c := range []struct{ number, uri, want string }{
		{"0301234", "sip:0301234@example.org;account=itsp", ""},
		{"0301235", "sip:0301235@example.org;account=itsp", "TRK503B"},
		{"112", "sip:112@example.org;account=itsp;emergency", ""},
		{"112", "sip:112@example.org;account=itsp;emergency", ""},
	} {
		r, _ := there.Route(&sip.Dialled{User: c.number, Standing: sip.Known, Request: invite("sip:"+c.number+"@example.org", "sip:x@example.org")})
		if len(r.Ways) != 1 || r.Ways[0].URI != c.uri {
			t.Fatalf("%+v", r)
		}
		d := &sip.Dialled{User: c.number, Standing: sip.Peer, Node: "member", Request: invite(r.Ways[0].URI, "sip:x@example.org")}
		if r, _ = owner.Route(d); len(r.Ways) != 1 || r.Refusal != nil {
			t.Fatalf("%+v", r)
		}
		got := ""
		if why := owner.Take(strconv.Itoa(i), &r.Ways[0], d); why != nil {
			got = why.Word
		}
		if got != c.want || r.Emergency != (c.number == "112") {
			t.Errorf("call %d, %s: %q, want %q", i, c.number, got, c.want)
		}
	}
}

func TestAccountsAdmitMembers(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		alone := itsp()
		a.Set([]Trunk{alone})
		if a.Admits("itsp", "member") || a.Admits("pbx", "member") {
			t.Error("an account that nobody else has is lent")
		}
		shared := itsp()
		shared.Register.Owner = "itsp@example.org"
		a.Set([]Trunk{shared})
		if !a.Admits("itsp", "member") || a.Admits("itsp", "stranger") {
			t.Error("members, and they alone, are admitted")
		}
	})
}
