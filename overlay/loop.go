package overlay

import (
	"context"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// machine is *node.Node, or what a test puts in its place to see what the driver does.
type machine interface {
	Receive(now time.Time, from node.LinkID, raw []byte)
	Verified(now time.Time, job node.JobID, v trust.Verified, err error)
	Sealed(now time.Time, job node.JobID, raw []byte, err error)
	Configured(now time.Time, job node.JobID, o *config.Overlay, err error)
	LinkUp(now time.Time, id node.LinkID, peer trust.Identity, dial node.DialID)
	LinkDown(now time.Time, id node.LinkID, err error)
	Reroute(now time.Time, raw []byte)
	LinkStalled(now time.Time, id node.LinkID, stalled bool)
	DialFailed(now time.Time, dial node.DialID, err error)
	Gathered(now time.Time, id node.SessionID, offer node.Offer, err error)
	AwaitFailed(now time.Time, id node.SessionID, err error)
	Renew(now time.Time, id node.LinkID)
	Do(now time.Time, op node.Op) node.OpID
	Cancel(now time.Time, id node.OpID)
	FetchOwn(now time.Time, op node.OpFetch) ([]node.Value, bool)
	Held(now time.Time, op node.OpFetch) ([]wire.StoredData, []wire.Certificate)
	Tick(now time.Time)
	Deadline() time.Time
	Take() node.Effects
	Status(now time.Time) node.Status
	Restore(now time.Time, r store.Record, signers []trust.ValueSigner) int
	Records() []store.Record
}

// input is something that happened. It runs on the loop's goroutine, in its turn, and calls at most one input method of the node.
type input func(now time.Time, l *loop)

// loop is the state that only the loop's goroutine touches.
type loop struct {
	p       *Peer
	node    machine
	sockets context.Context // ends after the loop: for the goroutines that effects start
	links   map[node.LinkID]link.Link
	waiting map[node.OpID]*waiter
	again   []input // what carrying out effects led to at once
	// appDials counts the connections of applications that are being opened to each node, which says itself where they lead.
	appDials map[wire.NodeID]int
	leaving  node.OpID
	kinds    [][]byte // that are kept
	over     bool
	exit     error // why the node leaves on its own
}

func newLoop(p *Peer, sockets context.Context) *loop {
	return &loop{p: p, node: p.node, sockets: sockets,
		links: make(map[node.LinkID]link.Link), waiting: make(map[node.OpID]*waiter), appDials: make(map[wire.NodeID]int), kinds: updatedKinds(p.Config())}
}

// run is the event loop. It returns when ctx has ended and the node has left, or leaveTimeout after ctx has ended.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0) // the first Tick starts the node
	defer timer.Stop()
	stop := ctx.Done()
	var giveUp <-chan time.Time
	for waiting := true; waiting; { // what was said before Run comes before the start
		select {
		case f := <-l.p.inbox:
			l.step(f)
		default:
			waiting = false
		}
	}
	for !l.over {
		select {
		case f := <-l.p.inbox:
			l.step(f)
		case <-l.p.aside.wake:
			for _, f := range l.p.aside.take() {
				l.step(f)
			}
		case <-timer.C:
			l.step(func(now time.Time, l *loop) { l.node.Tick(now) })
		case <-stop:
			stop, giveUp = nil, time.After(leaveTimeout)
			l.step(func(now time.Time, l *loop) { l.leaving = l.node.Do(now, node.OpLeave{}) })
		case <-giveUp:
			return
		}
		l.arm(timer)
	}
}

// step does one input and all that follows from it at once. The node's contract: one input, then the effects, then
// the next input.
func (l *loop) step(f input) {
	l.p.turn.Lock()
	defer l.p.turn.Unlock()
	l.again = append(l.again[:0], f)
	for i := 0; i < len(l.again); i++ {
		l.again[i](time.Now(), l)
		l.act(l.node.Take())
	}
	clear(l.again)
}

func (l *loop) arm(timer *time.Timer) {
	l.p.turn.Lock()
	at := l.node.Deadline()
	l.p.turn.Unlock()
	if at.IsZero() {
		timer.Stop()
		return
	}
	timer.Reset(max(0, time.Until(at)))
}

// act carries out effects, in the order of the fields. Nothing here waits.
func (l *loop) act(e node.Effects) {
	for _, r := range e.Reconfigured {
		l.reconfigure(r)
	}
	for _, f := range e.Forward {
		l.forward(f)
	}
	for _, id := range e.Close {
		if c, ok := l.links[id]; ok {
			c.Close()
			delete(l.links, id)
		}
	}
	for _, s := range e.Seal {
		l.seal(s)
	}
	for _, v := range e.Verify {
		l.verify(v)
	}
	for _, c := range e.Configure {
		l.configure(c)
	}
	for _, id := range e.Release {
		l.release(id)
	}
	for _, g := range e.Gather {
		l.gather(g)
	}
	for _, a := range e.Await {
		l.await(a)
	}
	for _, d := range e.Dial {
		l.dial(d)
	}
	for _, a := range e.Apps {
		l.dialApp(a)
	}
	for _, d := range e.Done {
		l.done(d)
	}
	for _, ev := range e.Events {
		l.p.event(ev)
	}
	l.p.saver.put(e.Persist)
}

func (l *loop) done(d node.Done) {
	if d.Op == l.leaving && (l.leaving != 0 || l.exit != nil) {
		l.over = true
	}
	if w, ok := l.waiting[d.Op]; ok {
		delete(l.waiting, d.Op)
		w.reply <- d // has room: one Done per operation
	}
}

// post gives f to the loop, waiting for room. It reports false when ctx or the loop ends first.
func (p *Peer) post(ctx context.Context, f input) bool {
	select {
	case p.inbox <- f:
		return true
	case <-ctx.Done():
		return false
	case <-p.stopped:
		return false
	}
}

// aside is for inputs whose sender can not wait and that must not be lost. Each sender has few of them, so the list
// is bounded by their number: three for a link, one for an operation, one for a connection that is being opened.
type aside struct {
	mu   sync.Mutex
	list []input
	wake chan struct{} // holds one token while list is not empty
}

func (a *aside) put(f input) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, f)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *aside) take() []input {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}
