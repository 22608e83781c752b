package registrar

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const device = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`

func (b *bench) only() location.Binding {
	b.t.Helper()
	set := b.bindings.Get(alice, b.now)
	if len(set) != 1 {
		b.t.Fatalf("%d bindings, want 1", len(set))
	}
	return set[0]
}

// Feature: REG-08
func TestRFC3261_20_10_ManyContactsWithQ(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxContacts = 11 })
	var contacts, want []string
	for i := range 11 {
		q := ""
		if i < 10 {
			q = fmt.Sprintf(";q=0.%d", i)
		}
		contacts = append(contacts, fmt.Sprintf("<sip:a@h:%d>%s", 6000+i, q))
		want = append(want, fmt.Sprintf("<sip:a@h:%d>%s;expires=3600", 6000+i, strings.TrimSuffix(q, ".0")))
	}
	res := b.want(b.register("Contact: "+strings.Join(contacts, ", ")), 200)
	if got := res.Values(message.Contact); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for i, bound := range b.bindings.Get(alice, b.now) {
		if q := i * 100; bound.Q != q && !(i == 10 && bound.Q == 1000) {
			t.Errorf("q of %d is %d", i, bound.Q)
		}
	}
}

// Feature: REG-18
func TestRFC3327_5_3_PathIsKeptInOrderAndReturned(t *testing.T) {
	b := newBench(t)
	path := []string{"<sip:p2.example;lr>", "<sip:p1.example;lr;x=1>"}
	lines := []string{"Contact: <sip:a@h>", "Path: " + path[0] + ", " + path[1]}
	if res := b.want(b.register(lines...), 200); res.Has(message.Path) {
		t.Error("Path in the answer to a phone that does not know it")
	}
	res := b.want(b.register(append(lines, "Supported: gruu, Path")...), 200)
	if got := res.Values(message.Path); !slices.Equal(got, path) {
		t.Errorf("returned %q", got)
	}
	if got := b.only().Path; !slices.Equal(got, path) {
		t.Errorf("kept %q", got)
	}
	b.want(b.register("Contact: <sip:b@h>", "Path: <sip:p1.example"), 400)
	b.want(b.register("Contact: <sip:b@h>", "Path: "+strings.Repeat("<sip:p1.example;lr>, ", maxPath)+"<sip:p1.example;lr>"), 400)
	b.want(b.register("Contact: <sip:a@h>", "Require: path"), 200)
	if got := b.only().Path; len(got) != 0 {
		t.Errorf("a refresh without Path left %q", got)
	}
}

// Feature: REG-18
func TestRFC3327_5_3_StrictPathIs420(t *testing.T) {
	b := newBench(t, func(c *Config) { c.StrictPath = true })
	res := b.want(b.register("Contact: <sip:a@h>", "Path: <sip:p1.example;lr>"), 420)
	if got := res.Get(message.Unsupported); got != "path" {
		t.Errorf("Unsupported: %q", got)
	}
	b.want(b.register("Contact: <sip:a@h>", "Path: <sip:p1.example;lr>", "Supported: path"), 200)
}

// Feature: REG-22
func TestRFC3608_6_3_ServiceRoute(t *testing.T) {
	route := []string{"<sip:out.example.org;lr>", "<sip:far.example.org;lr>"}
	b := newBench(t, func(c *Config) { c.ServiceRoute = route })
	res := b.want(b.register("Contact: <sip:a@h>"), 200)
	var got []string
	for _, f := range res.Fields {
		if message.EqualFold(f.Text, "Service-Route") {
			got = append(got, f.Value)
		}
	}
	if !slices.Equal(got, route) {
		t.Errorf("Service-Route %q", got)
	}
}

// Feature: REG-33
func TestRFC8599_PushParametersAreReturnedAsTheyAre(t *testing.T) {
	const uri = "sip:a@h;pn-provider=apns;pn-param=DEF.example:voip;pn-prid=00fc13ADFF78512;x=%41"
	b := newBench(t)
	res := b.want(b.register("Contact: <"+uri+">;foo=bar"), 200)
	if got, want := res.Get(message.Contact), "<"+uri+">;foo=bar;expires=3600"; got != want {
		t.Errorf("returned %s, want %s", got, want)
	}
}

// Feature: REG-24
func TestRFC3261_10_3_7_JitterSpreadsRefreshes(t *testing.T) {
	draw := 0.0
	b := newBench(t, func(c *Config) { c.Jitter, c.Random, c.MaxContacts = 0.1, func() float64 { return draw }, 400 })
	var sum, squares float64
	const n = 300
	for i := range n {
		draw = float64(i) / n
		b.want(b.register(fmt.Sprintf("Contact: <sip:a@h:%d>", 1000+i)), 200)
	}
	for _, bound := range b.bindings.Get(alice, b.now) {
		s := bound.Expires.Sub(b.now).Seconds()
		if s > 3600 || s < 3240 {
			t.Fatalf("granted %v s of 3600", s)
		}
		sum += s
		squares += s * s
	}
	mean := sum / n
	if dev := math.Sqrt(squares/n - mean*mean); dev < 95 || dev > 110 { // of 360 s, evenly: 103.9
		t.Errorf("standard deviation %v s", dev)
	}
	draw = 0.999
	res := b.want(b.register("Contact: <sip:a@h:1>;expires=60"), 200)
	if got := res.Values(message.Contact); !strings.HasSuffix(got[len(got)-1], ";expires=60") {
		t.Errorf("less than the minimum: %q", got[len(got)-1])
	}
}

// Feature: REG-20
func TestRFC5626_6_FlowsOfOneDevice(t *testing.T) {
	b := newBench(t)
	b.source.Flow = 1
	first := b.want(b.register("Contact: <sip:a@h>;reg-id=1;"+device, "Supported: path, outbound"), 200)
	if got := first.Values(message.Require); !slices.Equal(got, []string{"outbound"}) || first.Other("Flow-Timer") != "120" {
		t.Errorf("Require %q, Flow-Timer %q", got, first.Other("Flow-Timer"))
	}
	b.source.Flow = 2
	b.want(b.register("Contact: <sip:a@h>;reg-id=2;"+device, "Call-ID: c2", "Supported: outbound"), 200)
	if set := b.bindings.Get(alice, b.now); len(set) != 2 || set[0].Hop.Flow != 1 || set[1].Hop.Flow != 2 {
		t.Fatalf("bindings %+v", set)
	}
	b.source.Flow = 3 // the phone has rebooted: another port, another connection, the same flow
	b.want(b.register("Contact: <sip:a@h:7777>;reg-id=2;"+device, "Call-ID: c3", "Supported: outbound"), 200)
	set := b.bindings.Get(alice, b.now)
	if len(set) != 2 || set[1].Hop.Flow != 3 || set[1].Contact != "sip:a@h:7777" || set[1].RegID != 2 ||
		set[1].Instance != "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF" {
		t.Fatalf("bindings %+v", set)
	}
	b.want(b.register("Contact: <sip:a@h:7777>;reg-id=2;expires=0;"+device, "Call-ID: c3", "Supported: outbound"), 200)
	if left := b.only(); left.RegID != 1 {
		t.Errorf("left: %+v", left)
	}
}

// Feature: REG-20
func TestRFC5626_6_WhenFlowsAreRegistered(t *testing.T) {
	far := "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKphone"
	for _, c := range []struct {
		name   string
		lines  []string
		status int
		regID  uint32
		ob     bool
	}{
		{"phone says nothing of outbound", []string{"Contact: <sip:a@h>;reg-id=1;" + device}, 200, 1, false},
		{"no instance", []string{"Contact: <sip:a@h>;reg-id=1", "Supported: outbound"}, 200, 0, false},
		{"reg-id is no number", []string{"Contact: <sip:a@h>;reg-id=x;" + device, "Supported: outbound"}, 200, 0, false},
		{"reg-id is 0", []string{"Contact: <sip:a@h>;reg-id=0;" + device, "Supported: outbound"}, 200, 0, false},
		{"first hop lacks it", []string{"Contact: <sip:a@h>;reg-id=1;" + device, "Supported: outbound", far}, 439, 0, false},
		{"first hop lacks it, Path without ob", []string{"Contact: <sip:a@h>;reg-id=1;" + device, "Supported: outbound", far,
			"Path: <sip:edge;lr>"}, 439, 0, false},
		{"neither knows it", []string{"Contact: <sip:a@h>;reg-id=1;" + device, far}, 200, 0, false},
		{"first hop knows it", []string{"Contact: <sip:a@h>;reg-id=1;" + device, "Supported: outbound, path", far,
			"Path: <sip:edge;lr;ob>"}, 200, 1, true},
		{"two lasting contacts", []string{"Contact: <sip:a@h>;reg-id=1;" + device + ", <sip:b@h>", "Supported: outbound"}, 400, 0, false},
		{"one lasting, one that ends", []string{"Contact: <sip:a@h>;reg-id=1;" + device + ", <sip:b@h>;expires=0", "Supported: outbound"}, 200, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			res := b.want(b.register(c.lines...), c.status)
			if c.status != 200 {
				if len(b.contacts()) != 0 {
					t.Error("refused, but bound")
				}
				return
			}
			if got := b.only().RegID; got != c.regID {
				t.Errorf("reg-id %d, want %d", got, c.regID)
			}
			if got := res.Has(message.Require); got != c.ob {
				t.Errorf("Require is there: %v, want %v", got, c.ob)
			}
		})
	}
}

func withGRUUs(c *Config) {
	c.GRUUs = location.NewGRUUs([]byte("secret"), "example.org", "AQID~")
}

func gruu(t *testing.T, res *message.Message, name string) string {
	t.Helper()
	c, err := message.ParseContact(res.Get(message.Contact))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := message.Param(c.Params, name)
	return v
}

// Feature: REG-19
func TestRFC5627_5_2_GRUUsAreForThoseWhoAskForThem(t *testing.T) {
	b := newBench(t, withGRUUs)
	contact := "Contact: <sip:a@h>;" + device + `;pub-gruu="sip:mallory@example.org;gr=1";temp-gruu="sip:x@example.org;gr"`
	if res := b.want(b.register(contact), 200); gruu(t, res, "pub-gruu") != "" || gruu(t, res, "temp-gruu") != "" {
		t.Errorf("Contact: %s", res.Get(message.Contact))
	}
	res := b.want(b.register(contact, "Supported: gruu"), 200)
	if got, want := gruu(t, res, "pub-gruu"), "sip:alice@example.org;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"; got != want {
		t.Errorf("pub-gruu %s, want %s", got, want)
	}
	first := gruu(t, res, "temp-gruu")
	second := gruu(t, b.want(b.register("Contact: <sip:a@h>;"+device, "Supported: gruu"), 200), "temp-gruu")
	if uri, err := message.ParseURI(first); err != nil || strings.Contains(first, "alice") || first == second || uri.Host != "example.org" {
		t.Errorf("temp-gruu %s, then %s (%v)", first, second, err)
	}
	if res.Has(message.Require) || res.Has(message.Supported) {
		t.Error("RFC 5627 §5.2: the option tag is not to be in the response")
	}
	if res := b.want(b.register("Contact: <sip:b@h>", "Supported: gruu"), 200); strings.Contains(res.Values(message.Contact)[1], "gruu") {
		t.Error("a GRUU for a contact without an instance")
	}
}

// Feature: REG-19
func TestRFC5627_5_1_AnotherCallIDVoidsTemporaryGRUUs(t *testing.T) {
	b := newBench(t, withGRUUs)
	gruus := location.NewGRUUs([]byte("secret"), "example.org", "AQID~") // as after a restart
	register := func(callID string) string {
		b.now = b.now.Add(time.Second)
		return gruu(t, b.want(b.register("Contact: <sip:a@h>;"+device, "Supported: gruu", "Call-ID: "+callID), 200), "temp-gruu")
	}
	valid := func(temp string) bool {
		uri, _ := message.ParseURI(temp)
		aor, device, ok := gruus.Open(uri.User)
		if !ok || aor != alice {
			t.Fatalf("%s is of %q, %v", temp, aor, ok)
		}
		_, ok = location.Device(b.bindings.Get(aor, b.now), device)
		return ok
	}
	one, two := register("x"), register("x")
	if !valid(one) || !valid(two) {
		t.Error("a refresh voids temporary GRUUs")
	}
	three := register("y")
	if valid(one) || valid(two) || !valid(three) {
		t.Error("the GRUUs of the old Call-ID are to be void, the new one is not")
	}
	b.want(b.register("Contact: *", "Expires: 0", "Call-ID: z"), 200)
	if four := register("y"); valid(three) || !valid(four) {
		t.Error("a GRUU of before the removal is valid")
	}
	b.want(b.register("Contact: *", "Expires: 0", "Call-ID: z"), 200)
	flow := func(id int, callID string) string {
		b.now = b.now.Add(time.Second)
		line := fmt.Sprintf("Contact: <sip:a@h:%d>;reg-id=%d;%s", 5000+id, id, device)
		res := b.want(b.register(line, "Supported: gruu, outbound", "Call-ID: "+callID), 200)
		c, err := message.ParseContact(res.Values(message.Contact)[id-1])
		if err != nil {
			t.Fatal(err)
		}
		v, _ := message.Param(c.Params, "temp-gruu")
		return v
	}
	five, six := flow(1, "y"), flow(2, "w")
	if valid(five) || !valid(six) {
		t.Error("of two flows under different Call-IDs the GRUU of the last one alone is to be valid")
	}
	if _, _, ok := location.NewGRUUs([]byte("other"), "example.org", "AQID~").Open(strings.TrimPrefix(strings.Split(three, "@")[0], "sip:")); ok {
		t.Error("another gateway can read it")
	}
}

// Feature: REG-19
func TestRFC5627_5_1_AContactThatLeadsBackIs403(t *testing.T) {
	b := newBench(t, withGRUUs)
	temp := gruu(t, b.want(b.register("Contact: <sip:a@h>;"+device, "Supported: gruu"), 200), "temp-gruu")
	for _, uri := range []string{"sip:alice@example.org", "sip:alice@EXAMPLE.org", "sip:alice@example.org;gr=urn:uuid:1", temp, "mailto:alice@example.org"} {
		b.want(b.register("Contact: <"+uri+">;"+device), 403)
	}
	if got := b.only().Contact; got != "sip:a@h" {
		t.Errorf("bound to %s", got)
	}
}
