package overlay

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// Status is a snapshot of the node. When the loop is busy for longer than statusTimeout, or gone, it is the previous one.
func (p *Peer) Status() node.Status {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	reply := make(chan struct{}, 1)
	if p.post(ctx, func(now time.Time, l *loop) { l.snapshot(now); reply <- struct{}{} }) {
		select {
		case <-reply:
		case <-ctx.Done():
		case <-p.stopped:
		}
	}
	return *p.last.Load()
}

func (l *loop) snapshot(now time.Time) {
	s := l.node.Status(now)
	for i, k := range s.Links {
		e, _ := l.p.ends.get(k.ID)
		s.Links[i].Transport, s.Links[i].Pair = e.transport, e.pairText()
		c, ok := l.links[k.ID]
		if !ok {
			continue
		}
		if rtt := c.Stats().RTT; rtt > 0 {
			s.Links[i].RTT = rtt // the framing header measures it more often than the node's pings do
		}
	}
	l.p.last.Store(&s)
}
