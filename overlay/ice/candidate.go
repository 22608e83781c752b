package ice

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/pion/ice/v4"
)

// Parameters are what one side of an Attach tells the other (RFC 6940 §6.5.1.1, §6.5.1.7).
type Parameters struct {
	Ufrag, Password string
	Candidates      []wire.IceCandidate // the best one first, as far as we wrote them
}

// priority is that of RFC 5245 §4.1.2.1. preference is the local one: 65535 for the best address, and different for each
// address of the same type.
func priority(typ wire.CandidateType, preference uint16) uint32 {
	var t uint32
	switch typ {
	case wire.CandidateHost:
		t = prefHost
	case wire.CandidateSrflx:
		t = prefSrflx
	default:
		t = prefRelay
	}
	return t<<24 | uint32(preference)<<8 | (256 - component)
}

// foundation is the same for candidates of one type whose bases have the same IP address and that one server gave (RFC
// 5245 §4.1.1.3).
func foundation(typ wire.CandidateType, base, server netip.Addr) string {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, typ, base, server)
	return fmt.Sprintf("%08x", h.Sum32())
}

// origin is where a candidate comes from.
type origin struct {
	typ     wire.CandidateType
	address netip.AddrPort
	base    netip.AddrPort // of srflx and relay: the related address
	server  netip.AddrPort // of srflx and relay
	index   int            // among those of its type
}

// candidate writes one for the other side.
func (o origin) candidate() wire.IceCandidate {
	base := o.base
	if o.typ != wire.CandidateSrflx {
		base = o.address // RFC 5245 §4.1.1.1, §4.1.1.2: a host or relayed candidate is its own base
	}
	c := wire.IceCandidate{Address: o.address, Link: wire.LinkDTLSUDPSR, Type: o.typ,
		Foundation: foundation(o.typ, base.Addr(), o.server.Addr()), Priority: priority(o.typ, uint16(0xffff-o.index))}
	if o.typ != wire.CandidateHost {
		c.Related = o.base
	}
	return c
}

// number gives the candidates of each type their local preference and leaves out the redundant ones. RFC 5245 §4.1.3: "A
// candidate is redundant if its transport address equals another candidate, and its base equals the base of that other
// candidate."
func number(list []origin) []origin {
	var kept []origin
	count := make(map[wire.CandidateType]int)
	for _, o := range list {
		if slices.ContainsFunc(kept, func(k origin) bool { return k.address == o.address }) {
			continue
		}
		o.index = count[o.typ]
		count[o.typ]++
		kept = append(kept, o)
	}
	return kept
}

func describe(list []origin) []wire.IceCandidate {
	all := make([]wire.IceCandidate, 0, len(list))
	for _, o := range list {
		all = append(all, o.candidate())
	}
	slices.SortStableFunc(all, func(a, b wire.IceCandidate) int { return cmp.Compare(b.Priority, a.Priority) })
	return all
}

// check reports whether the credentials can be used.
func (p *Parameters) check() error {
	if len(p.Ufrag) < minUfrag || len(p.Ufrag) > maxUfrag || len(p.Password) < minPassword ||
		len(p.Password) > maxPassword {
		return ErrParameters
	}
	return nil
}

// usable returns the candidates that are worth a check, at most maxRemote, best first.
func (p *Parameters) usable(loopback bool) []wire.IceCandidate {
	var list []wire.IceCandidate
	for _, c := range p.Candidates {
		c.Address = plain(c.Address)
		ip := c.Address.Addr()
		if c.Link == wire.LinkDTLSUDPSR && c.Address.Port() != 0 &&
			(ip.IsGlobalUnicast() || loopback && ip.IsLoopback()) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b wire.IceCandidate) int { return cmp.Compare(b.Priority, a.Priority) })
	return list[:min(len(list), maxRemote)]
}

// library is a candidate of the other side as the ICE library has it.
func library(c wire.IceCandidate) (ice.Candidate, error) {
	address, at := c.Address.Addr().String(), int(c.Address.Port())
	related, relatedPort := "0.0.0.0", 0
	if c.Related.IsValid() {
		related, relatedPort = c.Related.Addr().String(), int(c.Related.Port())
	}
	switch c.Type {
	case wire.CandidateHost:
		return ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: address, Port: at,
			Component: component, Priority: c.Priority, Foundation: c.Foundation})
	case wire.CandidateSrflx:
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{Network: "udp", Address: address,
			Port: at, Component: component, Priority: c.Priority, Foundation: c.Foundation,
			RelAddr: related, RelPort: relatedPort})
	default:
		return ice.NewCandidateRelay(&ice.CandidateRelayConfig{Network: "udp", Address: address, Port: at,
			Component: component, Priority: c.Priority, Foundation: c.Foundation,
			RelAddr: related, RelPort: relatedPort})
	}
}
