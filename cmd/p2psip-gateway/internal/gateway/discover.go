package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/lan"
)

// lanWait is how long a node that may be the first of its overlay looks for others on the local network before it takes itself for
// it: two questions, and the answers.
const lanWait = 2500 * time.Millisecond

// Discover reads what overlay.discover says: lan, or lan: and interfaces with commas between; none means all. ok is false when it is
// something else.
func Discover(s string) (interfaces []string, ok bool) {
	word, list, some := strings.Cut(s, ":")
	if some {
		interfaces = strings.Split(list, ",")
	}
	return interfaces, word == "lan" && (!some || list != "")
}

// openLAN opens what finds nodes on the local network, and has this one found.
func (g *Gateway) openLAN() error {
	c := &g.o.Config.Overlay
	if c.Discover == "" {
		return nil
	}
	interfaces, _ := Discover(c.Discover)
	g.found, g.met = make(chan lan.Found, 64), make(chan struct{})
	var offer []lan.Service
	for _, l := range []struct {
		kind, scheme string
		socket       net.Addr
	}{{lan.LinksTLS, "tls", addrOf(g.links)}, {lan.LinksDTLS, "dtls", packetAddrOf(g.packets)}} {
		if l.socket == nil {
			continue
		}
		s, err := offered(l.kind, advertised(c.Advertise, l.scheme), l.socket)
		if err != nil {
			return err
		}
		s.Instance, s.Overlay = lan.InstanceName(g.peer.NodeID().Bytes()), g.o.Overlay.InstanceName
		offer = append(offer, s)
	}
	a, err := lan.Open(lan.Config{Overlay: g.o.Overlay.InstanceName, Offer: offer, Browse: []string{lan.LinksTLS, lan.LinksDTLS},
		Interfaces: interfaces, Found: func(f lan.Found) {
			select {
			case g.found <- f:
			default: // it is told again when its address changes
			}
		}})
	if err != nil {
		return fmt.Errorf("E0204 overlay.discover: %w\n      try: lan:INTERFACE with one of: ip -br address", err)
	}
	g.lan = a
	return nil
}

// offered is a socket of links as a service. One that listens on every address is reached at those of each interface.
func offered(kind, advertise string, socket net.Addr) (lan.Service, error) {
	if advertise == "" {
		advertise = socket.String()
	}
	ap, err := netip.ParseAddrPort(advertise)
	if err != nil {
		return lan.Service{}, fmt.Errorf("overlay.advertise: %w", err)
	}
	s := lan.Service{Type: kind, Port: ap.Port()}
	if a := ap.Addr().Unmap(); !a.IsUnspecified() {
		s.Addresses = []netip.Addr{a}
	}
	return s, nil
}

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

func packetAddrOf(c *net.UDPConn) net.Addr {
	if c == nil {
		return nil
	}
	return c.LocalAddr()
}

// runPeer runs the peer; one that may be the first looks for others on the local network before.
func (g *Gateway) runPeer(ctx context.Context) error {
	if g.lan != nil && g.o.Config.Overlay.First {
		t := time.NewTimer(lanWait)
		defer t.Stop()
		select {
		case <-g.met:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return g.peer.Run(ctx)
}

// runLAN looks for nodes, and hands them to the peer, until ctx ends. Who they are their certificates say.
func (g *Gateway) runLAN(ctx context.Context) {
	if g.lan == nil {
		return
	}
	ended, met := make(chan struct{}), sync.OnceFunc(func() { close(g.met) })
	go func() { defer close(ended); g.lan.Run(ctx) }()
	for {
		select {
		case f := <-g.found:
			g.foundOnLAN(ctx, f)
			met()
		case <-ended:
			return
		}
	}
}

func (g *Gateway) foundOnLAN(ctx context.Context, f lan.Found) {
	var list []string
	for _, a := range f.Addresses {
		list = append(list, net.JoinHostPort(a.Addr().String(), strconv.Itoa(int(a.Port()))))
	}
	g.o.Log.Info().Str("component", "lan").Str("instance", f.Instance).Strs("addresses", list).Msg("found on the local network")
	g.peer.Found(ctx, list)
}
