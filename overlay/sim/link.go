package sim

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var (
	errRefused = errors.New("sim: connection refused")
	errTimeout = errors.New("sim: connection timed out")
	errReset   = errors.New("sim: connection reset")
)

// pipe is one link: in order, like TCP.
type pipe struct {
	ends [2]end
}

type end struct {
	host *Host
	life int32
	id   node.LinkID
	last time.Time // arrival of the last message towards it
	from *Host     // at the other end
	gone bool      // closed here, or found to be down
	wait bool      // something that left here is not acknowledged
}

// sides returns the end at h and the other one.
func (p *pipe) sides(h *Host) (near, far *end) {
	if p.ends[0].host == h {
		return &p.ends[0], &p.ends[1]
	}
	return &p.ends[1], &p.ends[0]
}

// reach runs f at the host of e when what leaves now arrives, if the host and its end of the link are still there.
func (e *end) reach(w *World, d time.Duration, f func()) {
	w.plan(e.behind(w, d), event{host: e.host, life: e.life, run: func() {
		if e.up() {
			f()
		}
	}})
}

// behind is d, or as long as it takes for what was sent before to arrive.
func (e *end) behind(w *World, d time.Duration) time.Duration {
	at := w.now.Add(d)
	if at.Before(e.last) {
		at = e.last
	}
	e.last = at
	return at.Sub(w.now)
}

// up reports whether the end of the link is still there.
func (e *end) up() bool {
	return e.host.linked && e.host.life == e.life && !e.gone
}

// drop takes the link from the host at this end, if it is still in the life in which it had it.
func (e *end) drop() {
	e.gone = true
	if e.host.life == e.life {
		e.host.links.drop(e.id)
	}
}

// dial opens a link.
func (h *Host) dial(d node.Dial) {
	w := h.w
	target := w.target(d)
	switch {
	case target == nil || !target.Up && !target.silent || w.parted[pairOf(h, target)]:
		h.later(refusedDelay, func() {
			h.input("dial_failed", func() { h.Node.DialFailed(h.now(), d.Dial, errRefused) })
		})
		return
	case target.silent || !w.SameSide(h, target):
		h.dialTimeout(d.Dial, dialTimeout)
		return
	}
	// Two round trips, as TCP and TLS 1.3 take.
	took := w.between(h, target) + w.between(target, h) + w.between(h, target)
	h.later(took, func() {
		if !target.Up || !d.Peer.IsZero() && d.Peer != target.ID {
			h.input("dial_failed", func() { h.Node.DialFailed(h.now(), d.Dial, errRefused) })
			return
		}
		if target.paused || !w.SameSide(h, target) {
			h.dialTimeout(d.Dial, dialTimeout-took)
			return
		}
		if d.Session != 0 {
			h.meet(target, d, awaitFailed)
			return
		}
		w.connect(h, target, d.Dial)
	})
}

func (h *Host) dialTimeout(id node.DialID, d time.Duration) {
	h.later(d, func() {
		h.input("dial_failed", func() { h.Node.DialFailed(h.now(), id, errTimeout) })
	})
}

func (w *World) target(d node.Dial) *Host {
	i := -1
	if d.Address != "" {
		name, _, _ := strings.Cut(strings.TrimPrefix(d.Address, "host"), ":")
		if k, err := strconv.Atoi(name); err == nil {
			i = k
		} else if a, err := netip.ParseAddrPort(d.Address); err == nil {
			i = hostAt(a)
		}
	} else if list := append(d.Candidates, d.Offer.Candidates...); len(list) > 0 {
		i = hostAt(list[0].Address)
	}
	if i < 0 || i >= len(w.hosts) {
		return nil
	}
	return w.hosts[i]
}

// hostAt is the index of the host with an address: see Host.Candidates.
func hostAt(a netip.AddrPort) int {
	ip := a.Addr().As4()
	return int(ip[1])<<16 | int(ip[2])<<8 | int(ip[3])
}

func (w *World) connect(from, to *Host, dial node.DialID) {
	p := w.join(from, to)
	p.ends[0].reach(w, 0, func() {
		from.nodeInput("link_up", func() { from.Node.LinkUp(from.now(), p.ends[0].id, to.identity(), dial) })
	})
	p.ends[1].reach(w, w.between(from, to), func() {
		to.nodeInput("link_up", func() { to.Node.LinkUp(to.now(), p.ends[1].id, from.identity(), 0) })
	})
}

// join makes a link of which the nodes do not know yet.
func (w *World) join(from, to *Host) *pipe {
	p := &pipe{}
	for i, h := range [2]*Host{from, to} {
		p.ends[i] = end{host: h, life: h.life, id: h.links.add(p), from: [2]*Host{to, from}[i]}
	}
	return p
}

// identity is what the certificate of a host says to the other end of a link.
func (h *Host) identity() trust.Identity {
	id := h.gateway.Identity
	if len(h.Also) > 0 {
		id.Nodes, id.Node = append([]wire.NodeID{h.ID}, h.Also...), wire.NodeID{}
	}
	return id
}

// down has the other side see that the link is gone, unless there is a wall between.
func (p *pipe) down(h *Host, d time.Duration) {
	near, far := p.sides(h)
	near.drop()
	if h.w.blocked(h, far.host) {
		return
	}
	far.reach(h.w, d, func() {
		far.drop()
		far.host.nodeInput("link_down", func() { far.host.Node.LinkDown(far.host.now(), far.id, errReset) })
	})
}

// reset tells a host that the other one knows nothing of the link any more: it died unseen and has started again, or has given
// the link up.
func (p *pipe) reset(near, far *end) {
	w := near.host.w
	if w.blocked(far.host, near.host) {
		return
	}
	near.reach(w, w.between(near.host, far.host), func() {
		near.drop()
		near.host.nodeInput("link_down", func() { near.host.Node.LinkDown(near.host.now(), near.id, errReset) })
	})
}

func (h *Host) closeLink(id node.LinkID) {
	if p := h.links.get(id); p != nil {
		_, far := p.sides(h)
		p.down(h, h.w.between(h, far.host))
	}
}

// Cut breaks every link between two hosts, and both notice at once.
func (w *World) Cut(i, j int) {
	h := w.hosts[i]
	for _, id := range h.links.ids() {
		if p := h.links.get(id); p.ends[0].host.Index == j || p.ends[1].host.Index == j {
			p.down(h, 0)
			h.input("link_down", func() { h.Node.LinkDown(h.now(), id, errReset) })
		}
	}
}

// Part cuts two hosts off from each other, and keeps them from making links.
func (w *World) Part(a, b *Host) {
	if w.parted == nil {
		w.parted = make(map[[2]*Host]bool)
	}
	w.parted[pairOf(a, b)] = true
	w.Cut(a.Index, b.Index)
}

// Unpart lets two hosts make links again.
func (w *World) Unpart(a, b *Host) { delete(w.parted, pairOf(a, b)) }

// pairOf is the same for both orders.
func pairOf(a, b *Host) [2]*Host {
	if a.ID.Compare(b.ID) > 0 {
		a, b = b, a
	}
	return [2]*Host{a, b}
}

// frameOctets is what a message costs besides its own octets on a link without fragments: the header of its frame and an
// acknowledgement (RFC 6940 §6.6.2: 1 + 4 + 3, and 1 + 4 + 4).
const frameOctets = 17

// send carries a message over a link.
func (h *Host) send(f node.Forward) {
	p := h.links.get(f.Link)
	if p == nil {
		return
	}
	near, far := p.sides(h)
	raw := slices.Clone(f.Raw)
	head := h.w.checkMessage(h, raw)
	if h.OnForward != nil {
		h.OnForward(head.Transaction)
	}
	parts := h.w.cut(raw)
	h.traffic.Sent += len(parts)
	for _, part := range parts {
		h.w.Octets += len(part) + frameOctets
		h.traffic.Octets += len(part) + frameOctets
	}
	switch {
	case h.w.blocked(h, far.host) || far.host.silent:
		h.w.unanswered(head.Transaction)
		h.waits(p)
	case far.host.linked && !far.up():
		h.w.unanswered(head.Transaction)
		p.reset(near, far)
	default:
		if far.host.paused {
			h.waits(p)
		}
		for _, part := range parts {
			h.w.carry(h, far, part)
		}
	}
}

// carry brings octets to the other end of a link, or loses them.
func (w *World) carry(from *Host, to *end, raw []byte) {
	d := w.between(from, to.host)
	late, lost := w.lost()
	if lost {
		return
	}
	d += late
	if w.chance(w.c.Network.Reorder) {
		w.plan(d+w.delay(0, 10*d), event{host: to.host, life: to.life, to: to, raw: raw})
	} else {
		w.plan(to.behind(w, d), event{host: to.host, life: to.life, to: to, raw: raw})
	}
	if w.chance(w.c.Network.Duplicate) {
		w.plan(d+w.delay(0, d), event{host: to.host, life: to.life, to: to, raw: slices.Clone(raw)})
	}
}

// arrived is when octets have come over a link.
func (e *end) arrived(w *World, raw []byte) {
	if !e.up() {
		return
	}
	h := e.host
	if h.slow > 0 { // it takes its time for each
		if h.busy.Before(w.now) {
			h.busy = w.now
		}
		h.busy = h.busy.Add(h.slow)
		h.later(h.busy.Sub(w.now), func() { e.deliver(w, raw) })
		return
	}
	e.deliver(w, raw)
}

func (e *end) deliver(w *World, raw []byte) {
	if e.up() {
		w.Messages++
		e.host.traffic.Received++
		w.noteMessage(e.from, e.host, raw)
		e.host.receive(e.id, raw)
	}
}

// noteMessage adds an arrival to the trace.
func (w *World) noteMessage(from, to *Host, raw []byte) {
	s := Step{Host: to.Index, From: from.Index, Input: "receive"}
	h, n, err := wire.ParseHeader(raw)
	if err == nil && len(raw) >= n+2 {
		s.Code = wire.MessageCode(raw[n])<<8 | wire.MessageCode(raw[n+1])
		d, _ := h.Destinations.First()
		s.ToHost = d == wire.ToNode(to.ID) && h.Destinations.Len() == 1
		if s.Code == wire.CodeError {
			s.Response = errorCode(raw[n:])
		}
	}
	w.note(s)
}

// errorCode reads the code of an ErrorResponse from the contents of a message: message_code u16, body v32, error_code
// u16.
func errorCode(contents []byte) wire.ErrorCode {
	if len(contents) < 8 {
		return 0
	}
	return wire.ErrorCode(contents[6])<<8 | wire.ErrorCode(contents[7])
}
