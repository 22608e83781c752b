package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/p2psip/p2psip-gateway/sip/flow"
)

// listening are the addresses of the SIP listeners, as others are told and as they are bound.
func (g *Gateway) listening() (out []string) {
	for _, a := range g.flows.Listeners() {
		out = append(out, net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))), a.Local.String())
	}
	return out
}

// firstUDP is the first listener for UDP, whose load is watched; not valid without one.
func (g *Gateway) firstUDP() netip.AddrPort {
	for _, l := range g.flows.Listeners() {
		if l.Transport == flow.UDP {
			return l.Local
		}
	}
	return netip.AddrPort{}
}

// relisten has the SIP listeners be those of f when they are others than those of old, or leaves all as they are. Connections and dialogs go on; those over UDP whose listener is gone do so
// over another one.
func (g *Gateway) relisten(old, f *inForce) error {
	if slices.Equal(old.config.SIP.Listen, f.config.SIP.Listen) {
		return nil
	}
	list, err := sipListeners(f.config.SIP)
	if err != nil {
		return err
	}
	if err := g.flows.Listen(list); err != nil {
		return inUse("sip.listen", "one of the listeners", err)
	}
	if err := g.names.add(g.listening()); err != nil {
		return err
	}
	if err := g.waits.aim(g.firstUDP()); err != nil {
		return err
	}
	if g.proxy == nil {
		return nil
	}
	return g.publisher.PublishAddresses(g.sipURIs())
}
