package overlay

import (
	"context"
	"crypto"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func TestLinkFromDialToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		a.effect(node.Effects{Dial: []node.Dial{{Dial: 7, Peer: b.NodeID(), Candidates: []wire.IceCandidate{at(t, b.address())}}}})
		up, other := a.next("link up"), b.next("link up")
		if up.id != 7 || up.peer.Node != b.NodeID() || other.id != 0 || other.peer.Node != a.NodeID() {
			t.Fatalf("dialing side: %+v\naccepting side: %+v", up, other)
		}

		// A signed message from a to b, checked there.
		ping := &wire.Message{Body: &wire.PingReq{}, Header: wire.Header{Overlay: w.overlay.ID(), Version: wire.Version,
			Fragment: wire.Unfragmented, TTL: 100, Destinations: wire.NewDestinationList(wire.ToNode(b.NodeID()))}}
		a.effect(node.Effects{Seal: []node.Seal{{Job: 1, Message: ping}}})
		sealed := a.next("sealed")
		if sealed.id != 1 || sealed.err != nil {
			t.Fatalf("%+v", sealed)
		}
		a.effect(node.Effects{Forward: []node.Forward{{Link: up.link, Raw: sealed.raw}, {Link: 99, Raw: sealed.raw}}})
		got := b.next("receive")
		if got.link != other.link {
			t.Errorf("received on link %d, want %d", got.link, other.link)
		}
		message, err := w.overlay.Schema().Parse(got.raw)
		if err != nil {
			t.Fatal(err)
		}
		b.effect(node.Effects{Verify: []node.Verify{{Job: 2, Message: message}}})
		if v := b.next("verified"); v.id != 2 || v.err != nil || v.v.Sender().Node != a.NodeID() {
			t.Errorf("%+v", v)
		}

		// No LinkDown is owed to the side that closes.
		a.effect(node.Effects{Close: []node.LinkID{up.link}})
		if down := b.next("link down"); down.link != other.link || !errors.Is(down.err, io.EOF) {
			t.Errorf("%+v", down)
		}
		synctest.Wait()
		a.none("link down")

		s, r := a.Stats(), b.Stats()
		if s.Messages[MessageKey{"out", "ping_req"}] != 1 || r.Messages[MessageKey{"in", "ping_req"}] != 1 ||
			s.Dropped[dropNoLink] != 1 || s.Events["link_closed"] != 1 || r.Events["link_lost"] != 1 || s.Links != 0 {
			t.Errorf("counters: %+v\n%+v", s, r)
		}
	})
}

// Conformance: A-22
func TestRFC6940_6_6_5_SilentLinkIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		// b reads through a node of ours no more: the connection is taken over by a reader that acknowledges nothing.
		conn, err := m.dial(t.Context(), "tcp", b.address())
		if err != nil {
			t.Fatal(err)
		}
		tc, _, err := a.tls.Client(t.Context(), conn, b.NodeID())
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, tc) }()
		up := b.next("link up")
		b.effect(node.Effects{Forward: []node.Forward{{Link: up.link, Raw: []byte("x")}}})
		time.Sleep(2 * time.Second)
		if n := b.Stats().Events["link_stalled"]; n != 1 {
			t.Errorf("%d stalls after two seconds, want 1", n)
		}
		if stalled := b.next("stalled true"); stalled.link != up.link {
			t.Errorf("%+v", stalled)
		}
		if down := b.next("link down"); !errors.Is(down.err, link.ErrDead) {
			t.Errorf("%+v", down)
		}
		_ = conn.Close()
	})
}

// Conformance: A-06
func TestDialRefusesTheWrongNodeAndItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		m.listeners["192.0.2.200:1"] = a.cfg.Listener.(*memoryListener) // another way to a
		otherLink := at(t, b.address())
		otherLink.Link = wire.LinkDTLSUDPSR
		for i, c := range []struct {
			dial node.Dial
			want error
		}{
			{node.Dial{Peer: a.NodeID(), Candidates: []wire.IceCandidate{at(t, b.address())}}, link.ErrWrongNode},
			{node.Dial{Address: a.address()}, node.ErrSelf},
			{node.Dial{Address: "192.0.2.200:1"}, node.ErrSelf},
			{node.Dial{Address: "192.0.2.99:1"}, context.DeadlineExceeded},
			{node.Dial{Candidates: []wire.IceCandidate{otherLink}}, errNoAddress},
			{node.Dial{}, errNoAddress},
		} {
			c.dial.Dial = node.DialID(i + 1)
			a.effect(node.Effects{Dial: []node.Dial{c.dial}})
			if got := a.next("dial failed"); got.id != uint64(i+1) || !errors.Is(got.err, c.want) {
				t.Errorf("dial %d: got %+v, want %v", i, got, c.want)
			}
		}
		synctest.Wait()
		b.none("link up")
	})
}

// Conformance: A-33
func TestDialTriesCandidatesInOrderOfPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		dead, alive := at(t, "192.0.2.99:1"), at(t, b.address())
		dead.Priority, alive.Priority = 2, 1
		start := time.Now()
		a.effect(node.Effects{Dial: []node.Dial{{Dial: 1, Peer: b.NodeID(), Candidates: []wire.IceCandidate{alive, dead}}}})
		a.next("link up")
		if d := time.Since(start); d != dialTimeout/2 {
			t.Errorf("up after %v; the preferred candidate gets half of %v", d, dialTimeout)
		}
	})
}

func TestDialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		var dials []node.Dial
		for i := range maxDials + 1 {
			dials = append(dials, node.Dial{Dial: node.DialID(i + 1), Address: "192.0.2.99:1"})
		}
		a.effect(node.Effects{Dial: dials})
		if c := a.next("dial failed"); c.id != maxDials+1 || !errors.Is(c.err, ErrOverload) {
			t.Errorf("got %+v, want the last one refused at once", c)
		}
	})
}

// slowKey blocks while it signs.
type slowKey struct {
	crypto.Signer
	release chan struct{}
}

func (k *slowKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	<-k.release
	return k.Signer.Sign(r, digest, o)
}

func TestJobsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		key := &slowKey{newKey(t), make(chan struct{})}
		by := w.signer(key)
		a := w.drive(newMemory(), nil)
		var jobs []node.Seal
		const extra = 64 // more than workers take
		for i := range maxJobs + extra {
			jobs = append(jobs, node.Seal{Job: node.JobID(i + 1), By: by, Message: &wire.Message{Body: &wire.PingReq{}}})
		}
		a.effect(node.Effects{Seal: jobs})
		if c := a.next("sealed"); !errors.Is(c.err, ErrOverload) {
			t.Fatalf("%+v", c)
		}
		synctest.Wait()
		refused := a.Stats().Dropped[dropJobs]
		if refused == 0 || refused > extra {
			t.Errorf("%d jobs were refused", refused)
		}
		close(key.release)
		for range maxJobs + extra - int(refused) {
			for c := a.next("sealed"); c.err != nil; c = a.next("sealed") {
			}
		}
	})
}

func TestOperationsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := a.Ping(ctx, wire.NewDestinationList(wire.ToNode(a.NodeID())))
		if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
		if did, c := a.next("do"), a.next("cancel"); c.id != did.id {
			t.Errorf("canceled %d, want %d", c.id, did.id)
		}
		if n := a.Stats().Requests[RequestKey{"ping", "timeout"}]; n != 1 {
			t.Errorf("%d timeouts counted", n)
		}
	})
}

func TestOperationsReportWhatHappened(t *testing.T) {
	w := newWorld(t)
	refusal := &trust.RefusalError{Reason: trust.WrongCA, Err: errors.New("x")}
	var remote *RemoteError
	for _, c := range []struct {
		done   node.Done
		want   func(error) bool
		result string
	}{
		{node.Done{Err: node.ErrTimeout}, is(ErrTimeout), "timeout"},
		{node.Done{Err: node.ErrNotJoined}, is(ErrNotJoined), "not_joined"},
		{node.Done{Err: node.ErrOverload}, is(ErrOverload), "overload"},
		{node.Done{Err: node.ErrUntrusted}, is(ErrUntrusted), "untrusted"},
		{node.Done{Err: refusal}, is(ErrUntrusted), "untrusted"},
		{node.Done{Refused: &wire.Error{ErrorCode: wire.ErrorForbidden}},
			func(err error) bool { return errors.As(err, &remote) && remote.Code == wire.ErrorForbidden }, "refused"},
	} {
		a := w.drive(newMemory(), nil)
		a.node.do = func(id node.OpID, op node.Op) {
			a.node.leaves(id, op)
			c.done.Op = id
			a.node.out.Done = append(a.node.out.Done, c.done)
		}
		_, err := a.Fetch(t.Context(), "resource", wire.KindSIPRegistration)
		if !c.want(err) {
			t.Errorf("%+v: got %v", c.done, err)
		}
		if a.Stats().Requests[RequestKey{"fetch", c.result}] != 1 {
			t.Errorf("%+v: counted as %v, want %s", c.done, a.Stats().Requests, c.result)
		}
		a.stop()
	}
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

// Conformance: H-14
func TestFetchLeavesTombstonesOut(t *testing.T) {
	a := newWorld(t).drive(newMemory(), nil)
	there := node.Value{StoredData: wire.StoredData{Value: wire.StoredValue{Exists: true, Key: "k"}}}
	a.node.do = func(id node.OpID, op node.Op) {
		a.node.leaves(id, op)
		if f, ok := op.(node.OpFetch); ok {
			if f.Specifier.Model != wire.Dictionary || f.Specifier.Kind != wire.KindSIPRegistration {
				t.Errorf("specifier %+v", f.Specifier)
			}
			a.node.out.Done = append(a.node.out.Done, node.Done{Op: id, Values: []node.Value{{}, there}})
		}
	}
	got, err := a.Fetch(t.Context(), "resource", wire.KindSIPRegistration)
	if err != nil || len(got) != 1 || got[0].Value.Key != "k" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMethodsAfterRunHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.drive(newMemory(), nil)
		a.stop()
		start := time.Now()
		dest := wire.NewDestinationList(wire.ToNode(a.NodeID()))
		_, fetch := a.Fetch(t.Context(), "r", wire.KindSIPRegistration)
		_, store := a.Store(t.Context(), a.cfg.Self, "r", wire.KindSIPRegistration, record(a.NodeID()), time.Now(), time.Hour)
		_, attach := a.AppAttach(t.Context(), dest, wire.ApplicationSIP)
		_, _, ping := a.Ping(t.Context(), dest)
		for i, err := range []error{fetch, store, attach, ping} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("method %d: %v, want ErrClosed", i, err)
			}
		}
		_, _ = a.Status(), a.Stats()
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
		if err := a.Run(t.Context()); err == nil {
			t.Error("Run runs twice")
		}
	})
}

func TestOperationUnderWayWhenThePeerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		result := make(chan error, 1)
		go func() {
			_, err := a.Fetch(t.Context(), "r", wire.KindSIPRegistration)
			result <- err
		}()
		synctest.Wait()
		a.stop()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

func TestLeaveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		a.node.do = nil // never done
		synctest.Wait()
		start := time.Now()
		a.stop()
		if d := time.Since(start); d != leaveTimeout {
			t.Errorf("Run returned after %v, want %v", d, leaveTimeout)
		}
	})
}

func TestFullInboxIsOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		release := make(chan struct{})
		synctest.Wait()
		a.post(t.Context(), func(time.Time, *loop) { <-release })
		synctest.Wait()
		for len(a.inbox) < maxInbox {
			a.post(t.Context(), func(time.Time, *loop) {})
		}
		start := time.Now()
		_, err := a.Fetch(t.Context(), "r", wire.KindSIPRegistration)
		if d := time.Since(start); !errors.Is(err, ErrOverload) || d != postTimeout {
			t.Errorf("got %v after %v, want ErrOverload after %v", err, d, postTimeout)
		}
		if a.Stats().InboxDepth != maxInbox {
			t.Errorf("inbox depth %d, want %d", a.Stats().InboxDepth, maxInbox)
		}
		start = time.Now()
		if s := a.Status(); s.State != node.Starting || time.Since(start) != statusTimeout {
			t.Errorf("status %v after %v; want the last one known after %v", s.State, time.Since(start), statusTimeout)
		}
		close(release)
	})
}

func TestDeadlineBecomesATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).drive(newMemory(), nil)
		a.next("tick") // the one that starts the node
		start := time.Now()
		a.post(t.Context(), func(now time.Time, l *loop) { a.node.at = now.Add(time.Hour) })
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case c := <-a.node.calls:
			if c.input != "tick" {
				t.Errorf("got %+v", c)
			}
		default:
			t.Errorf("no tick after %v", time.Since(start))
		}
	})
}
