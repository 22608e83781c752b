package overlay

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// candidates is what this node sends in AttachReq or AppAttachReq: one host candidate, the advertised address or the
// listener's own. RFC 6940 §6.6.5: "a passive candidate MUST be provided."
func candidates(advertise string, ln net.Listener) ([]wire.IceCandidate, error) {
	if advertise == "" {
		advertise = ln.Addr().String()
	}
	a, err := netip.ParseAddrPort(advertise)
	if err != nil {
		return nil, fmt.Errorf("overlay: address to advertise: %w", err)
	}
	if a = plain(a); !usable(a) {
		return nil, fmt.Errorf("overlay: %s is not an address that others can dial: set the address to advertise", a)
	}
	return []wire.IceCandidate{{
		Address: a, Link: wire.LinkTLSTCPFHNoICE, Foundation: "1", Priority: listenPriority, Type: wire.CandidateHost,
		// RFC 6940 has no field that says so; RFC 6544 §4.5 has this name.
		Extensions: []wire.IceExtension{{Name: "tcptype", Value: "passive"}},
	}}, nil
}

// plain is a with an IPv4 address in its own form, so that equal addresses compare equal.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func usable(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}

// addresses lists where candidates may be reached over TLS and TCP, the preferred ones first (RFC 6940 §6.5.1.6).
func addresses(list []wire.IceCandidate) []string {
	list = slices.DeleteFunc(slices.Clone(list), func(c wire.IceCandidate) bool {
		return c.Link != wire.LinkTLSTCPFHNoICE || !usable(c.Address)
	})
	slices.SortStableFunc(list, func(a, b wire.IceCandidate) int { return cmp.Compare(b.Priority, a.Priority) })
	var out []string
	for _, c := range list {
		out = append(out, plain(c.Address).String())
	}
	return out
}

// resolve lists the addresses that a Dial effect may lead to, without this node's own.
func (p *Peer) resolve(ctx context.Context, d node.Dial) ([]string, error) {
	list := addresses(d.Candidates)
	if d.Address != "" {
		found, err := lookup(ctx, d.Address)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	if len(list) == 0 {
		return nil, errNoAddress
	}
	list = slices.DeleteFunc(list, func(a string) bool { return slices.Contains(p.own, a) })
	if len(list) == 0 {
		return nil, errSelf
	}
	return list[:min(len(list), maxAddress)], nil
}

// lookup resolves "host:port".
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
	for _, ip := range ips {
		out = append(out, plain(netip.AddrPortFrom(ip, uint16(port))).String())
	}
	return out, nil
}
