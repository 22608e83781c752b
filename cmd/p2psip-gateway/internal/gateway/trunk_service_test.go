package gateway

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// A trunk that watches this gateway by OPTIONS gets 200, and 503 from when the gateway is told to stop, while calls go on: it sends its calls elsewhere.
//
// Feature: TRK-09 CFG-06
func TestTrunkIsToldThatTheGatewayDrains(t *testing.T) {
	g := ringOf(t, 1, 2, func(_ int, o *Options) {
		o.OpenCalls, o.Config.DrainTimeout = false, time.Minute
		withPBX(&o.Config, "2xx")
		pbx := o.Config.Trunks["pbx"]
		pbx.AcceptFrom = List{"127.0.0.1"}
		o.Config.Trunks["pbx"] = pbx
	})[0]
	alice, bob, pbx := newPhone(t, "1001", g), newPhone(t, "1002", g), newPhone(t, "pbx", g)
	alice.register(300)
	bob.register(300)
	call := alice.start("INVITE", "1002")
	ringing, _ := bob.take("INVITE", 180)
	call.response(180)
	at := "sip:" + g.udpAddr().String()
	options := &leg{p: pbx, callID: "options", local: "<sip:" + pbx.at() + ">;tag=1", remote: "<" + at + ">", target: at}
	options.request("OPTIONS")
	options.response(200)
	g.Drain()
	options.remote = "<" + at + ">"
	options.request("OPTIONS")
	if res := options.response(503); !res.Has(message.RetryAfter) {
		t.Error("OPTIONS while it drains: no Retry-After")
	}
	bob.reply(ringing, 200)
	call.response(200)
	call.request("ACK")
	bob.take("ACK", 0)
}

// withAccount gives a gateway an account at a provider.
func withAccount(c *Config, server string, owner Dial) {
	var account TrunkConfig
	account.defaults()
	r := &account.Register
	r.Server, r.User, r.Secret, r.Owner = server, "49301234", "s3cret", owner
	c.Trunks = map[string]TrunkConfig{"itsp": account}
}

// What comes to the contact that a gateway registers at a provider is not held up by its guard.
//
// Feature: SEC-03 TRK-05
func TestTheGuardKnowsTheContactOfAnAccount(t *testing.T) {
	itsp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = itsp.Close() })
	g := ringWith(t, 1, 1, func(_ int, c *Config) {
		withAccount(c, "sip:"+itsp.LocalAddr().String(), "none")
	})[0]
	if err := itsp.SetReadDeadline(time.Now().Add(phoneWait)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	n, _, err := itsp.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	register, err := message.Parse(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	contact, err := message.ParseAddress(register.Get(message.Contact))
	if err != nil {
		t.Fatal(err)
	}
	probe := requestedOf(t, "INVITE", "sip:49301234@192.0.2.1", "sip:+4989@192.0.2.1")
	if code := g.guard.judge(probe, from("192.0.2.1", 5060)); g.guard.isProviders(probe, from("192.0.2.1", 5060)) || code != codeProbe {
		t.Errorf("a stranger's call: %q", code)
	}
	if !g.guard.isProviders(requestedOf(t, "INVITE", contact.URI, "sip:+4989@192.0.2.1"), from("192.0.2.1", 5060)) {
		t.Errorf("a call to %s is not the provider's", contact.URI)
	}
}

// Without the Kind for it in the document nobody owns an account: the start says so, and the account is standby.
//
// Feature: TRK-05
func TestNobodyOwnsAnAccountWithoutTheKind(t *testing.T) {
	lines := &kept{}
	g := ringOf(t, 1, 1, func(_ int, o *Options) {
		doc := *o.Overlay
		doc.Kinds = slices.DeleteFunc(slices.Clone(doc.Kinds), func(k config.Kind) bool { return k.ID == wire.KindAccountLease })
		o.Overlay, o.Log = &doc, zerolog.New(lines)
		withAccount(&o.Config, "sip:127.0.0.1:9", "")
	})[0]
	lines.says(t, `"trunk":"itsp","code":"E0115"`)
	eventually(t, "the state", func() error {
		if words := g.accountWords(); words["itsp"] != "standby (E0115)" {
			return fmt.Errorf("%v", words)
		}
		return nil
	})
}
