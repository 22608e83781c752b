package gateway

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// openLinks binds the sockets of overlay links into c: one for TLS, one for DTLS, or both.
func (g *Gateway) openLinks(c *overlay.Config) error {
	o := g.o.Config.Overlay
	for _, l := range o.Listen {
		scheme, address, err := splitListener(l, "tls", "dtls")
		if err != nil {
			return err
		}
		if scheme == "tls" {
			g.links, err = listen("overlay.listen", address)
			c.Listener = g.links
		} else {
			g.packets, err = listenPackets("overlay.listen", address)
			c.Packets = g.packets
		}
		if err != nil {
			return err
		}
	}
	c.Advertise, c.PacketAdvertise = o.advertised("tls"), o.advertised("dtls")
	return nil
}

func listenPackets(key, address string) (*net.UDPConn, error) {
	l, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, inUse(key, address, err)
	}
	u, ok := l.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s: %s is not a UDP socket", key, address), l.Close())
	}
	return u, nil
}

// advertised is what advertise says for a scheme; an entry without one is for every scheme.
func (c *OverlayConfig) advertised(scheme string) (address string) {
	for _, a := range c.Advertise {
		if s, hostport, ok := strings.Cut(a, "://"); !ok {
			address = a
		} else if s == scheme {
			return hostport
		}
	}
	return address
}

// host is that of the first listener: where the listener of applications is when it is not configured.
func (c *OverlayConfig) host() string {
	_, hostport, _ := strings.Cut(c.Listen[0], "://")
	host, _, _ := net.SplitHostPort(hostport)
	return host
}

// checkSockets finds what is wrong with listen and advertise.
func (c *OverlayConfig) checkSockets(bad func(key, format string, args ...any)) {
	if len(c.Listen) == 0 {
		bad("overlay.listen", "no listener")
	}
	seen := make(map[string]bool)
	for _, l := range c.Listen {
		scheme, _, err := splitListener(l, "tls", "dtls")
		switch {
		case err != nil:
			bad("overlay.listen", "%v", err)
		case seen[scheme]:
			bad("overlay.listen", "more than one %s://", scheme)
		}
		seen[scheme] = true
	}
	for _, a := range c.Advertise {
		if !strings.Contains(a, "://") {
			continue
		}
		if scheme, _, err := splitListener(a, "tls", "dtls"); err != nil {
			bad("overlay.advertise", "%v", err)
		} else if !seen[scheme] {
			bad("overlay.advertise", "%q, but overlay.listen has no %s://", a, scheme)
		}
	}
}

// linkAddresses are where overlay links are taken: tls://ip:port, dtls://ip:port.
func (g *Gateway) linkAddresses() []string {
	var list []string
	if g.links != nil {
		list = append(list, "tls://"+g.links.Addr().String())
	}
	if g.packets != nil {
		list = append(list, "dtls://"+g.packets.LocalAddr().String())
	}
	return list
}

// linkAddress is the first of linkAddresses, without its scheme.
func (g *Gateway) linkAddress() string {
	_, address, _ := strings.Cut(g.linkAddresses()[0], "://")
	return address
}
