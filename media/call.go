package media

import (
	"net/netip"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/media/sdp"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// leg is a request that was sent on, on one branch: what its responses are about.
type leg struct {
	s        *session // nil: none yet
	from, to location.Hop
	side     int // of the sender
	wanted   bool
	began    bool // the session exists for this request, and ends when it fails
	offered  bool // the request had a description: the one in a response is the answer
}

// dialog is how a message names the dialog that it is of.
type dialog struct{ call, from, to string }

func dialogOf(m *message.Message) dialog {
	return dialog{m.Get(message.CallID), message.Tag(m.Get(message.From)), message.Tag(m.Get(message.To))}
}

// find returns the session of a dialog, and which side it is whose tag is in From.
func (r *Relay) find(d dialog) (s *session, side int) {
	for _, s := range r.calls[d.call] {
		switch {
		case s.tags[0] == d.from && s.has(d.to):
			return s, 0
		case s.tags[0] == d.to && s.has(d.from):
			return s, 1
		}
	}
	return nil, 0
}

// Request takes a request on its way from one hop to another and may replace its body. n is a number of this request on this branch; the next
// hop of the same branch has the same one. ok is false when the call is to be refused, for want of ports.
func (r *Relay) Request(n uint64, m *message.Message, from, to location.Hop) (ok bool) {
	if !offers(m.Method) {
		return true
	}
	b := bodyOf(m)
	if b.d == nil && m.Method != "INVITE" && m.Method != "BYE" {
		return true
	}
	r.mu.Lock()
	ok, full := r.request(n, m, &b, from, to)
	r.mu.Unlock()
	if full {
		r.c.Report(Event{codePorts, m.Get(message.CallID), "no ports are left for the media of a call"})
	}
	return ok
}

func (r *Relay) request(n uint64, m *message.Message, b *body, from, to location.Hop) (ok, full bool) {
	if r.closed {
		return true, false
	}
	if b.malformed {
		r.stats.skipped[skipUnreadable]++
	}
	l := r.legs[n]
	if l == nil {
		l = &leg{from: from, to: to, offered: b.d != nil}
		d := dialogOf(m)
		if l.s, l.side = r.find(d); l.s == nil {
			if m.Method == "BYE" || !r.wants(m, b.d, from, to) {
				return true, false
			}
			l.wanted, l.began = true, true
		}
		switch {
		case len(r.legs) < maxLegs:
			r.legs[n] = l
		case l.began:
			r.stats.exhausted++
			return !r.c.Refuse, true
		}
	}
	if l.s != nil && l.s.ended {
		l.s = nil // it was for a hop that has refused, and this is the next one
	}
	if l.to != to { // the hop before did not answer, or was another flow of the same phone
		l.to = to
		if l.s != nil && l.began {
			l.s.expect(1-l.side, to)
		}
	}
	if b.d == nil {
		return true, false
	}
	if l.s == nil {
		if l.s = r.begin(l, dialogOf(m), b.d); l.s == nil {
			delete(r.legs, n)
			return !r.c.Refuse, true
		}
	} else if !l.began && from.Node == "" {
		l.s.signal[l.side] = from.Remote.Addr().Unmap() // the phone may have got another address
	}
	if !r.ours(b.d) {
		m.Body = b.with(r.describe(l.s, l.side, b.d, false))
	}
	return true, false
}

// ACK takes an ACK for a 2xx, which may have the answer to an offer in that.
func (r *Relay) ACK(m *message.Message, _, _ location.Hop) {
	b := bodyOf(m)
	if b.d == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, side := r.find(dialogOf(m)); s != nil && !r.ours(b.d) {
		m.Body = b.with(r.describe(s, side, b.d, true))
	}
}

// Response takes a response to a request, on its way back, and may replace its body.
func (r *Relay) Response(n uint64, m *message.Message) {
	if !offers(method(m)) {
		return
	}
	b := bodyOf(m)
	r.mu.Lock()
	full := r.response(n, m, &b)
	r.mu.Unlock()
	if full {
		r.c.Report(Event{codePorts, m.Get(message.CallID), "no ports are left for the media of a call"})
	}
}

func (r *Relay) response(n uint64, m *message.Message, b *body) (full bool) {
	d := dialogOf(m)
	l := r.legs[n]
	if l == nil {
		s, side := r.find(d)
		if method(m) != "BYE" {
			// A 2xx that comes again, after its request has ended: it reads as it did, and says nothing new.
			if s != nil && b.d != nil && !r.ours(b.d) {
				_, same := places(b.d)
				m.Body = b.with(s.write(1-side, b.d, same))
			}
			return false
		}
		l = &leg{s: s}
	}
	if l.s != nil && l.s.ended {
		return false // its ports are others' by now
	}
	switch status := m.StatusCode; {
	case method(m) == "BYE":
		// RFC 3261 §12.2.1.2: after 481 and 408 there is no dialog either.
		if l.s != nil && (status >= 200 && status < 300 || status == 481 || status == 408) {
			r.release(l.s, endBye)
		}
		return false
	case status >= 300:
		r.failed(l)
		return false
	case l.s != nil && !l.s.hear(d.to, status >= 200, l):
		return false
	case b.d == nil || r.ours(b.d):
		return false
	}
	if l.s == nil { // the offer is in the response (RFC 3264 §4)
		if !l.wanted || !r.relayed(b.d) {
			return false
		}
		l.side = 0
		if l.s = r.begin(l, dialog{d.call, d.from, d.to}, b.d); l.s == nil {
			l.wanted = false
			return true
		}
		_ = l.s.hear(d.to, m.StatusCode >= 200, l)
	}
	m.Body = b.with(r.describe(l.s, 1-l.side, b.d, l.offered))
	return false
}

// hear takes the tag of a response to a request that may make a dialog. It reports false for a branch of a branch that is not relayed: another one has
// answered.
func (s *session) hear(tag string, final bool, l *leg) bool {
	if l.side != 0 || !l.began {
		return true // within a dialog
	}
	switch {
	case s.answered:
		return tag == s.tags[1]
	case final:
		s.answered, s.tags[1], s.early = true, strings.Clone(tag), nil
	case tag != "" && !s.has(tag):
		if len(s.early) >= maxTags {
			return false
		}
		s.early = append(s.early, strings.Clone(tag))
	}
	return true
}

// failed takes the failure of a request.
func (r *Relay) failed(l *leg) {
	switch {
	case l.s == nil:
	case l.began && !l.s.answered:
		r.release(l.s, endFailed)
	case !l.began:
		l.s.pending[l.side] = nil // RFC 3264 §8: what was offered never was
	}
}

// End tells that nothing more will come of request n, but for repetitions of its 2xx.
func (r *Relay) End(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[n]
	if l == nil {
		return
	}
	delete(r.legs, n)
	r.failed(l)
}

// begin makes the session of a request; nil when there are no ports.
func (r *Relay) begin(l *leg, d dialog, desc *sdp.Description) *session {
	if r.sessions >= r.c.Limit {
		r.stats.exhausted++
		return nil
	}
	s := &session{call: strings.Clone(d.call), tags: [2]string{strings.Clone(d.from), strings.Clone(d.to)}, shard: r.shards[r.next],
		created: r.now, changed: r.now}
	r.next = (r.next + 1) % len(r.shards)
	s.expect(0, l.from)
	s.expect(1, l.to)
	r.choose(s, desc)
	r.sessions++
	r.stats.begun++
	r.calls[s.call] = append(r.calls[s.call], s)
	if !r.widen(s, desc) {
		r.release(s, endFailed)
		return nil
	}
	return s
}

// expect has the first packets of a side come from where its signalling does; of a phone at another gateway that is not known.
func (s *session) expect(side int, hop location.Hop) {
	s.signal[side] = netip.Addr{}
	if hop.Node == "" {
		s.signal[side] = hop.Remote.Addr().Unmap()
	}
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, st := range s.streams {
		if st != nil {
			st.ends[side].rtp.allow[0], st.ends[side].rtcp.allow[0] = s.signal[side], s.signal[side]
		}
	}
}

// choose picks the address that each side is told: of the family that it has, as far as we know that.
func (r *Relay) choose(s *session, desc *sdp.Description) {
	first := netip.Addr{}
	for i := range desc.Streams {
		if a := desc.Streams[i].Addr; a.IsValid() && !first.IsValid() {
			first = a
		}
	}
	for side := range s.face {
		known := s.signal[side]
		if !known.IsValid() {
			known = first
		}
		f := 0
		if known.IsValid() {
			f = family(known)
		}
		if s.face[side] = r.faces[f]; !s.face[side].IsValid() {
			s.face[side] = r.faces[1-f]
		}
	}
}

// offers reports whether requests of a method and their responses carry offers and answers, or end what those began. What a response to OPTIONS
// describes is no stream (RFC 3264 §9).
func offers(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "PRACK", "BYE":
		return true
	}
	return false
}

// method is that of the request that a response is to.
func method(m *message.Message) string {
	_, name, _ := strings.Cut(m.Get(message.CSeq), " ")
	return strings.TrimSpace(name)
}

// body is a description within the body of a message.
type body struct {
	whole      []byte
	start, end int
	d          *sdp.Description // nil: there is none that can be read
	malformed  bool
}

func bodyOf(m *message.Message) body {
	b := body{whole: m.Body}
	if len(m.Body) == 0 || m.Has(message.ContentEncoding) {
		return b
	}
	var ok bool
	if b.start, b.end, ok = sdp.Find(m.Get(message.ContentType), m.Body); !ok {
		return b
	}
	d, err := sdp.Parse(m.Body[b.start:b.end])
	b.d, b.malformed = d, err != nil
	if err != nil {
		b.d = nil
	}
	return b
}

// with is the body with another description.
func (b *body) with(text []byte) []byte {
	if b.start == 0 && b.end == len(b.whole) {
		return text
	}
	out := make([]byte, 0, len(b.whole)-(b.end-b.start)+len(text))
	return append(append(append(out, b.whole[:b.start]...), text...), b.whole[b.end:]...)
}
