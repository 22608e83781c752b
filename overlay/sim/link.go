package sim

import (
	"errors"
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
	life int
	id   node.LinkID
	last time.Time // arrival of the last message towards it
}

// sides returns the end at h and the other one.
func (p *pipe) sides(h *Host) (near, far *end) {
	if p.ends[0].host == h {
		return &p.ends[0], &p.ends[1]
	}
	return &p.ends[1], &p.ends[0]
}

// reach runs f at the host of e when a message that leaves now arrives, if the host and its end of the link are still
// there.
func (e *end) reach(w *World, d time.Duration, f func()) {
	at := w.now.Add(d)
	if at.Before(e.last) {
		at = e.last
	}
	e.last = at
	w.After(at.Sub(w.now), func() {
		if e.host.linked && e.host.life == e.life && e.host.links[e.id] != nil {
			f()
		}
	})
}

// dial opens a link.
func (h *Host) dial(d node.Dial) {
	w := h.w
	target := w.target(d)
	switch {
	case target == nil || !target.Up && !target.silent || w.parted[pairOf(h, target)]:
		h.later(refusedDelay, func() {
			h.input("dial_failed", func() { h.Node.DialFailed(w.now, d.Dial, errRefused) })
		})
		return
	case target.silent:
		h.later(dialTimeout, func() {
			h.input("dial_failed", func() { h.Node.DialFailed(w.now, d.Dial, errTimeout) })
		})
		return
	}
	// Two round trips, as TCP and TLS 1.3 take.
	h.later(3*w.delay(w.c.MinDelay, w.c.MaxDelay), func() {
		if !target.Up || !d.Peer.IsZero() && d.Peer != target.ID {
			h.input("dial_failed", func() { h.Node.DialFailed(w.now, d.Dial, errRefused) })
			return
		}
		w.connect(h, target, d.Dial)
	})
}

func (w *World) target(d node.Dial) *Host {
	i := -1
	if d.Address != "" {
		name, _, _ := strings.Cut(strings.TrimPrefix(d.Address, "host"), ":")
		if k, err := strconv.Atoi(name); err == nil {
			i = k
		}
	} else if len(d.Candidates) > 0 {
		ip := d.Candidates[0].Address.Addr().As4()
		i = int(ip[1])<<16 | int(ip[2])<<8 | int(ip[3])
	}
	if i < 0 || i >= len(w.hosts) {
		return nil
	}
	return w.hosts[i]
}

func (w *World) connect(from, to *Host, dial node.DialID) {
	p := &pipe{}
	for i, h := range []*Host{from, to} {
		h.lastLink++
		p.ends[i] = end{host: h, life: h.life, id: h.lastLink}
		h.links[h.lastLink] = p
	}
	p.ends[0].reach(w, 0, func() {
		from.nodeInput("link_up", func() { from.Node.LinkUp(w.now, p.ends[0].id, to.identity(), dial) })
	})
	p.ends[1].reach(w, w.delay(w.c.MinDelay, w.c.MaxDelay), func() {
		to.nodeInput("link_up", func() { to.Node.LinkUp(w.now, p.ends[1].id, from.identity(), 0) })
	})
}

func (h *Host) identity() trust.Identity { return h.gateway.Identity }

// down has the other side see that the link is gone.
func (p *pipe) down(h *Host, d time.Duration) {
	near, far := p.sides(h)
	delete(h.links, near.id)
	far.reach(h.w, d, func() {
		delete(far.host.links, far.id)
		far.host.nodeInput("link_down", func() { far.host.Node.LinkDown(h.w.now, far.id, errReset) })
	})
}

// reset tells a host that the other one knows nothing of the link any more: it died unseen and has started again.
func (p *pipe) reset(near *end) {
	w := near.host.w
	near.reach(w, w.delay(w.c.MinDelay, w.c.MaxDelay), func() {
		delete(near.host.links, near.id)
		near.host.input("link_down", func() { near.host.Node.LinkDown(w.now, near.id, errReset) })
	})
}

func (h *Host) closeLink(id node.LinkID) {
	if p := h.links[id]; p != nil {
		p.down(h, h.w.delay(h.w.c.MinDelay, h.w.c.MaxDelay))
	}
}

// Cut breaks every link between two hosts, and both notice at once.
func (w *World) Cut(i, j int) {
	h := w.hosts[i]
	for _, id := range h.linkIDs() {
		if p := h.links[id]; p.ends[0].host.Index == j || p.ends[1].host.Index == j {
			p.down(h, 0)
			h.input("link_down", func() { h.Node.LinkDown(w.now, id, errReset) })
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

// pairOf is the same for both orders.
func pairOf(a, b *Host) [2]*Host {
	if a.ID.Compare(b.ID) > 0 {
		a, b = b, a
	}
	return [2]*Host{a, b}
}

// send carries a message over a link.
func (h *Host) send(f node.Forward) {
	p := h.links[f.Link]
	if p == nil {
		return
	}
	near, far := p.sides(h)
	if far.host.linked && far.host.life != far.life {
		p.reset(near)
		return
	}
	raw := slices.Clone(f.Raw)
	if h.Node != nil {
		h.w.checkMessage(h, raw)
	}
	if head, _, err := wire.ParseHeader(raw); err == nil && h.OnForward != nil {
		h.OnForward(head.Transaction)
	}
	for _, part := range h.w.cut(raw) {
		far.reach(h.w, h.w.delay(h.w.c.MinDelay, h.w.c.MaxDelay), func() {
			h.w.Messages++
			to := far.host
			h.w.noteMessage(h, to, part)
			to.receive(far.id, part)
		})
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
