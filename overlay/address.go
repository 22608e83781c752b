package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// listening checks what c listens on and returns what Attach and AppAttach say of it. With ICE that is gathered for each.
func (c *Config) listening() (links, apps []wire.IceCandidate, err error) {
	switch {
	case c.Overlay == nil || c.Self == nil:
		return nil, nil, errors.New("overlay: Overlay and Self are needed")
	case !c.Overlay.NoICE && (c.Packets == nil || c.AppPackets == nil):
		return nil, nil, errors.New("overlay: an overlay with ICE needs Packets and AppPackets")
	case !c.Overlay.NoICE:
		return nil, nil, nil
	case c.Listener == nil && c.Packets == nil || c.AppListener == nil && c.AppPackets == nil:
		return nil, nil, errors.New("overlay: Listener or Packets, and AppListener or AppPackets are needed")
	}
	if links, err = candidates(c.Listener, c.Advertise, c.Packets, c.PacketAdvertise); err != nil {
		return nil, nil, err
	}
	apps, err = candidates(c.AppListener, c.AppAdvertise, c.AppPackets, c.AppPacketAdvertise)
	return links, apps, err
}

// candidates is what this node sends in AttachReq or AppAttachReq: a host candidate for each socket that it listens on,
// either of which may be nil, with the address to advertise or the socket's own.
func candidates(tls net.Listener, advertise string, dtls *net.UDPConn, packetAdvertise string) ([]wire.IceCandidate, error) {
	var list []wire.IceCandidate
	if tls != nil {
		tcp, err := passive(advertise, tls.Addr())
		if err != nil {
			return nil, err
		}
		list = append(list, tcp)
	}
	if dtls != nil {
		a, err := advertised(packetAdvertise, dtls.LocalAddr())
		if err != nil {
			return nil, err
		}
		// RFC 6940 §6.5.1.6: "Lowest priority", as Simple Reliability does "not implement well-established congestion
		// control algorithms".
		list = append(list, wire.IceCandidate{Address: a, Link: wire.LinkDTLSUDPSRNoICE, Foundation: "2",
			Priority: packetPriority, Type: wire.CandidateHost})
	}
	return list, nil
}

// passive is the candidate of a TCP listener. RFC 6940 §6.6.5: "a passive candidate MUST be provided."
func passive(advertise string, own net.Addr) (wire.IceCandidate, error) {
	a, err := advertised(advertise, own)
	return wire.IceCandidate{
		Address: a, Link: wire.LinkTLSTCPFHNoICE, Foundation: "1", Priority: listenPriority, Type: wire.CandidateHost,
		// RFC 6940 has no field that says so; RFC 6544 §4.5 has this name.
		Extensions: []wire.IceExtension{{Name: "tcptype", Value: "passive"}},
	}, err
}

func advertised(advertise string, own net.Addr) (netip.AddrPort, error) {
	if advertise == "" {
		advertise = own.String()
	}
	a, err := netip.ParseAddrPort(advertise)
	if err != nil {
		return a, fmt.Errorf("overlay: address to advertise: %w", err)
	}
	if a = plain(a); !usable(a) {
		return a, fmt.Errorf("overlay: %s is not an address that others can dial: set the address to advertise", a)
	}
	return a, nil
}

// plain is a with an IPv4 address in its own form, so that equal addresses compare equal.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func usable(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}

// targets lists where candidates may be reached over links of the given types, the preferred ones first (RFC 6940 §6.5.1.6).
func targets(list []wire.IceCandidate, types []wire.LinkType) []target {
	list = slices.DeleteFunc(slices.Clone(list), func(c wire.IceCandidate) bool {
		return !slices.Contains(types, c.Link) || !usable(c.Address)
	})
	slices.SortStableFunc(list, func(a, b wire.IceCandidate) int { return cmp.Compare(b.Priority, a.Priority) })
	var out []target
	for _, c := range list[:min(len(list), maxAddress)] {
		out = append(out, target{c.Link, plain(c.Address).String()})
	}
	return out
}

// resolve lists the targets that a Dial effect may lead to, without this node's own. A bootstrap address names no link type,
// so every type is tried: without ICE, TLS first.
func (p *Peer) resolve(ctx context.Context, d node.Dial) ([]target, error) {
	types := p.linkTypes()
	list := targets(d.Candidates, types)
	if d.Address != "" {
		found, err := lookup(ctx, d.Address)
		if err != nil {
			return nil, err
		}
		for _, t := range types {
			for _, a := range found {
				list = append(list, target{t, a})
			}
		}
	}
	if len(list) == 0 {
		return nil, errNoAddress
	}
	if list = slices.DeleteFunc(list, p.owns); len(list) == 0 {
		return nil, node.ErrSelf
	}
	return list, nil
}

// lookup resolves "host:port" to a bounded number of addresses.
func lookup(ctx context.Context, address string) ([]string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("overlay: port of %q: %w", address, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	var out []string
	for _, ip := range ips[:min(len(ips), maxAddress)] {
		out = append(out, plain(netip.AddrPortFrom(ip, uint16(port))).String())
	}
	return out, nil
}
