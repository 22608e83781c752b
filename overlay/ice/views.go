package ice

import (
	"net/netip"
	"slices"
)

// View is what one STUN server said.
type View struct{ Server, Mapped netip.AddrPort }

// Views remembers as which address the connected peers see us, and chooses STUN servers among them (RFC 6940 §6.5.1.4).
// It is a plain value for one goroutine; the zero value is empty.
type Views struct{ list []View }

// Learn notes that a peer that can be used as a STUN server is connected. mapped is as which address it sees us, not valid when
// that is unknown. Past 256 peers the oldest one is forgotten.
func (v *Views) Learn(server, mapped netip.AddrPort) {
	v.Lose(server)
	if len(v.list) >= maxLearned {
		v.list = slices.Delete(v.list, 0, 1)
	}
	v.list = append(v.list, View{plain(server), plain(mapped)})
}

// Lose notes that the connection with a peer is lost. RFC 6940 §6.5.1.4: "it MUST be removed from the list of STUN
// servers, and a new server from the same group MUST be selected": Servers does.
func (v *Views) Lose(server netip.AddrPort) {
	v.list = slices.DeleteFunc(v.list, func(o View) bool { return o.Server == plain(server) })
}

// Servers returns one server of each group, at most 4: those through which different addresses have been seen, so that
// whatever NATs are on the way show up. RFC 6940 §6.5.1.4: "a peer SHOULD group other peers by the peer-reflexive
// addresses it discovers through them. It SHOULD then select one peer from each group". Ports do not count: a NAT that maps
// by destination would put every peer in a group of its own. Peers whose view is unknown are used when nothing better is.
func (v *Views) Servers() []netip.AddrPort {
	var picked []netip.AddrPort
	var groups []netip.Addr
	for _, o := range v.list {
		if o.Mapped.IsValid() && !slices.Contains(groups, o.Mapped.Addr()) && len(picked) < maxPicked {
			groups = append(groups, o.Mapped.Addr())
			picked = append(picked, o.Server)
		}
	}
	if len(picked) == 0 && len(v.list) > 0 {
		picked = append(picked, v.list[0].Server)
	}
	return picked
}

// Translated reports whether any peer sees an address that is not in own: there is a NAT. It is false as long as nobody
// has said anything.
func (v *Views) Translated(own []netip.Addr) bool {
	return slices.ContainsFunc(v.list, func(o View) bool {
		return o.Mapped.IsValid() && !slices.Contains(own, o.Mapped.Addr())
	})
}

// MayRelay reports whether a peer with the address own should offer TURN. RFC 6940 §9: a peer that is behind a NAT, or whose
// "IP address is in the private address space range", "SHOULD NOT be a candidate for a TURN server".
func (v *Views) MayRelay(own netip.Addr) bool {
	return public(own) && !v.Translated([]netip.Addr{own.Unmap()})
}
