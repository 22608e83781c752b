package media

import (
	"net/netip"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/media/sdp"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// wants reports whether the media of a call that begins, or that nothing is known of any more, is to be relayed. d is nil when the offer comes with
// the response.
func (r *Relay) wants(m *message.Message, d *sdp.Description, from, to location.Hop) bool {
	if d != nil && (r.ours(d) || !r.relayed(d)) {
		return false
	}
	if r.c.Always {
		return true
	}
	near, far := r.sender(m, d, from), r.receiver(m, to)
	switch {
	case from.Node == "" && to.Node == "" && family(from.Remote.Addr().Unmap()) != family(to.Remote.Addr().Unmap()):
		return r.faces[0].IsValid() && r.faces[1].IsValid() // neither can send to the other
	case !near.natted && !far.natted:
		return false
	case near.natted && far.natted && sameSite(near, far):
		r.stats.skipped[skipSite]++
		return false
	}
	return true
}

// relayed reports whether a description is one whose media can be relayed, and has use for it.
//
// What has ICE finds its own way, through any NAT (RFC 8839); to write another address beside the candidates would take that from it (§5.4, ice-mismatch).
// With Always only a browser is left alone: it does nothing without ICE.
func (r *Relay) relayed(d *sdp.Description) bool {
	use := false
	for i := range d.Streams {
		s := &d.Streams[i]
		if s.WebRTC() || s.ICE && !r.c.Always {
			r.stats.skipped[skipICE]++
			return false
		}
		use = use || s.Port != 0 && s.Datagrams() && s.Addr.IsValid()
	}
	return use
}

// ours reports whether a description names ports of this relay: the call has been here before, on a loop through another server, and is relayed.
func (r *Relay) ours(d *sdp.Description) bool {
	for i := range d.Streams {
		if s := &d.Streams[i]; s.Port != 0 && r.own(netip.AddrPortFrom(s.Addr, s.Port)) {
			return true
		}
	}
	return false
}

// whereabouts is what is known of where a phone is.
type whereabouts struct {
	natted bool
	public netip.Addr // its packets come from there
	own    netip.Addr // it says that it is there
}

// sender looks at who sent a request. Behind another proxy, there is nothing to see.
func (r *Relay) sender(m *message.Message, d *sdp.Description, from location.Hop) whereabouts {
	w := whereabouts{public: from.Remote.Addr().Unmap()}
	if from.Node != "" || len(m.Values(message.Via)) > 1 {
		return w
	}
	contact, err := message.ParseAddress(m.Get(message.Contact))
	if err == nil {
		w.judge(r, from, contact.URI)
	}
	if w.natted || d == nil {
		return w
	}
	// A phone that has learned its public address by rport may write it into its Contact, and not into what it says of its media.
	for i := range d.Streams {
		if a := d.Streams[i].Addr; a.IsValid() && a.IsPrivate() && r.c.Behind(from, a) {
			w.natted, w.own = true, a
			break
		}
	}
	return w
}

// receiver looks at who is to get a request.
func (r *Relay) receiver(m *message.Message, to location.Hop) whereabouts {
	w := whereabouts{public: to.Remote.Addr().Unmap()}
	if to.Node == "" && !m.Has(message.Route) {
		w.judge(r, to, m.RequestURI)
	}
	return w
}

func (w *whereabouts) judge(r *Relay, hop location.Hop, contact string) {
	uri, err := message.ParseURI(contact)
	if err != nil {
		return
	}
	if a, ok := message.Addr(uri.Host); ok {
		w.own = a.Unmap()
		w.natted = r.c.Behind(hop, w.own)
	}
}

// sameSite reports whether two phones are behind one NAT, in one network: they reach each other, and their media stays there. One public address alone
// could be that of a provider with many customers.
func sameSite(a, b whereabouts) bool {
	if a.public != b.public || !a.own.IsValid() || a.own.Is4() != b.own.Is4() {
		return false
	}
	bits := 16
	if a.own.Is6() {
		bits = 48
	}
	p, err := a.own.Prefix(bits)
	return err == nil && p.Contains(b.own)
}
