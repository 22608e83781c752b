package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// A reload changes the listeners: a phone registers at the new one, the call of others goes on, and the address counts as ours. One that can not
// be bound changes nothing.
//
// Feature: CFG-05
func TestReloadChangesTheListenersWhileACallStands(t *testing.T) {
	g := ring(t, 1, 3)[0]
	write := rereads(t, g)
	alice, bob := newPhone(t, "1001", g), newPhone(t, "1002", g)
	alice.register(300)
	bob.register(300)
	call := alice.start("INVITE", "1002")
	bob.take("INVITE", 200)
	call.response(200)
	call.request("ACK")
	bob.take("ACK", 0)

	// The listener of the phones has a port that the system chose; it stays when it is named.
	was := g.flows.Listeners()
	var list []string
	for _, l := range was {
		list = append(list, strings.ToLower(l.Transport)+"://"+l.Local.String())
	}
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := free.LocalAddr().String()
	reload := func(more string) ReloadReport {
		write(fmt.Sprintf("}\nsip: {listen: [%s, %s]}\n", strings.Join(list, ", "), more), "1001 secret\n1002 secret\n1003 secret\n")
		return g.Reload()
	}
	if r := reload("udp://" + taken); !strings.Contains(r.Error, "E0201 sip.listen") || len(g.flows.Listeners()) != len(was) {
		t.Errorf("a port that is taken: %+v, %v", r, g.flows.Listeners())
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if r := reload("udp://" + taken); r.Error != "" || len(g.flows.Listeners()) != len(was)+1 {
		t.Fatalf("%+v, %v", r, g.flows.Listeners())
	}
	if uri, err := message.ParseURI("sip:1001@" + taken); err != nil || !g.names.ours(uri.Host, uri.Port) {
		t.Errorf("%s is not ours: %v", taken, err)
	}
	call.ask(bob, "BYE")
	carol := newPhoneOn(t, "1003", "UDP", netip.MustParseAddrPort(taken))
	if res := carol.register(300); res.StatusCode != 200 {
		t.Errorf("at the new listener: %d", res.StatusCode)
	}
	if res := alice.register(300); res.StatusCode != 200 {
		t.Errorf("at the old one: %d", res.StatusCode)
	}
}
