package overlay

import (
	"context"
	"sync"
	"time"
)

// eventCompany is the first link with another node since the start, and eventNotReady one that was not kept waiting any longer.
const (
	eventCompany  = "company"
	eventNotReady = "company_not_ready"
)

// company is whether this peer was ever linked with another node. Every link begins in carry, those that it has dialled to find others as well:
// so nobody can ask it anything before that, and who is to be kept waiting until it is ready is kept waiting there, where no message of his was read.
type company struct {
	first, open sync.Once
	came        chan struct{}
	welcome     chan struct{}
	since       time.Time // when it came
}

func newCompany() company {
	return company{came: make(chan struct{}), welcome: make(chan struct{})}
}

// Company is closed with the first link to another node of the overlay since the start: a peer, one that joins, a client, a command. Before that
// nobody can ask this peer for anything. It stays closed when they are gone again.
func (p *Peer) Company() <-chan struct{} { return p.company.came }

// Welcome says that what others may look for at this peer stands in the overlay: see Config.Prepares. It may be called more than once.
func (p *Peer) Welcome() {
	p.company.open.Do(func() { close(p.company.welcome) })
}

// greet is for a new link. While this peer gets ready for the first that comes, all links wait: the other side sees a node that is slow to answer, for
// less long than its requests live (RFC 6940 §6.2.1: 15 s).
func (p *Peer) greet(ctx context.Context, f fresh) {
	if p.isSelf(f.peer) {
		return // the node refuses it
	}
	c := &p.company
	c.first.Do(func() {
		p.count.event(eventCompany)
		c.since = time.Now()
		if !p.cfg.Prepares || !p.isRunning() {
			p.Welcome() // who is not in a ring has to be let in to one
		}
		close(c.came)
	})
	select {
	case <-c.welcome:
		return
	default:
	}
	t := time.NewTimer(time.Until(c.since.Add(welcomeWait)))
	defer t.Stop()
	select {
	case <-c.welcome:
	case <-t.C:
		p.count.event(eventNotReady)
		p.Welcome()
	case <-ctx.Done():
	case <-p.stopped:
	}
	p.cfg.Log.Info().Str("component", "overlay").Str("peer_id", f.peer.Node.Short()).Dur("waited", time.Since(c.since)).Msg("not alone any more")
}
