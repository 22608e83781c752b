package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// openLinks binds the sockets of overlay links into c: one for TLS, one for DTLS, or both.
func (g *Gateway) openLinks(c *overlay.Config) (err error) {
	o := g.o.Config.Overlay
	list := o.Listen
	if !g.o.Overlay.NoICE {
		list = withDTLS(list)
	}
	if g.links, g.packets, err = open("overlay.listen", list); err != nil {
		return err
	}
	c.Listener, c.Packets = g.links, g.packets
	c.Advertise, c.PacketAdvertise = advertised(o.Advertise, "tls"), advertised(o.Advertise, "dtls")
	return nil
}

// openApps binds those for SIP from other gateways. Without any configured they are of the kinds that overlay links have.
func (g *Gateway) openApps(c *overlay.Config) (err error) {
	o := g.o.Config.Overlay
	list := o.SIPListen
	if len(list) == 0 {
		for _, l := range o.Listen {
			scheme, hostport, _ := strings.Cut(l, "://")
			host, _, _ := net.SplitHostPort(hostport)
			list = append(list, scheme+"://"+net.JoinHostPort(host, "0"))
		}
	}
	if !g.o.Overlay.NoICE {
		list = dtlsOnly(list)
	}
	if g.apps, g.datagrams, err = open("overlay.sip_listen", list); err != nil {
		return err
	}
	c.AppListener, c.AppPackets = g.apps, g.datagrams
	c.AppAdvertise, c.AppPacketAdvertise = advertised(o.SIPAdvertise, "tls"), advertised(o.SIPAdvertise, "dtls")
	return nil
}

// withDTLS is list with a socket for DTLS: without ICE there may be none. It is where that for TLS is, as a bootstrap node has
// one port for both (RFC 6940 §11.1).
func withDTLS(list List) List {
	only := dtlsOnly(list)
	if slices.Contains(list, only[0]) {
		return list
	}
	return append(slices.Clone(list), only...)
}

// dtlsOnly is the socket for DTLS of list, or one where the first is. Connections for applications that ICE makes are over
// nothing else.
func dtlsOnly(list List) List {
	for _, l := range list {
		if strings.HasPrefix(l, "dtls://") {
			return List{l}
		}
	}
	_, hostport, _ := strings.Cut(list[0], "://")
	return List{"dtls://" + hostport}
}

// open binds what list names: a socket for TLS, one for DTLS, or both.
func open(key string, list List) (tls net.Listener, dtls *net.UDPConn, err error) {
	for _, l := range list {
		scheme, address, err := splitListener(l, "tls", "dtls")
		if err != nil {
			return tls, dtls, err
		}
		if scheme == "tls" {
			tls, err = listen(key, address)
		} else {
			dtls, err = listenPackets(key, address)
		}
		if err != nil {
			return tls, dtls, err
		}
	}
	return tls, dtls, nil
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

// advertised is what list says for a scheme; an entry without one is for every scheme.
func advertised(list List, scheme string) (address string) {
	for _, a := range list {
		if s, hostport, ok := strings.Cut(a, "://"); !ok {
			address = a
		} else if s == scheme {
			return hostport
		}
	}
	return address
}

// checkSockets finds what is wrong with what is listened on and advertised.
func (c *OverlayConfig) checkSockets(bad func(key, format string, args ...any)) {
	if len(c.Listen) == 0 {
		bad("overlay.listen", "no listener")
	}
	for _, s := range []struct {
		key, advertiseKey string
		listen, advertise List
	}{
		{"overlay.listen", "overlay.advertise", c.Listen, c.Advertise},
		{"overlay.sip_listen", "overlay.sip_advertise", c.SIPListen, c.SIPAdvertise},
	} {
		seen := make(map[string]bool)
		for _, l := range s.listen {
			scheme, _, err := splitListener(l, "tls", "dtls")
			switch {
			case err != nil:
				bad(s.key, "%v", err)
			case seen[scheme]:
				bad(s.key, "more than one %s://", scheme)
			}
			seen[scheme] = true
		}
		for _, a := range s.advertise {
			if !strings.Contains(a, "://") {
				continue
			}
			if scheme, _, err := splitListener(a, "tls", "dtls"); err != nil {
				bad(s.advertiseKey, "%v", err)
			} else if !seen[scheme] && len(s.listen) > 0 {
				bad(s.advertiseKey, "%q, but %s has no %s://", a, s.key, scheme)
			}
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
