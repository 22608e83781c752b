package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What a node stores and fetches for itself is found by others, is refused like anything else, and needs no message signature.
func TestOwnRequestsAreNotSigned(t *testing.T) {
	w := ring(t, 1)
	h := w.Host(0)
	r := homed(w, h, h)
	store(t, w, r)
	if got := fetch(t, w, r, h); len(got) != 1 || got[0].Signer.User != r.User || got[0].Signer.Node != h.ID {
		t.Errorf("fetched %+v", got)
	}
	h.Node.Do(w.Now(), r.OpFetch())
	if e := h.Node.Take(); len(e.Done) != 1 || len(e.Done[0].Values) != 1 || len(e.Seal)+len(e.Verify)+len(e.Forward) > 0 {
		t.Errorf("a Fetch: %+v", e)
	}
	h.Node.Do(w.Now(), r.OpStore(w.Next(r)))
	if e := h.Node.Take(); len(e.Verify) != 1 || e.Verify[0].By == nil || len(e.Seal)+len(e.Forward) > 0 {
		t.Errorf("a Store: %+v", e)
	}
}

// Conformance: D-05
func TestOwnStoresAreExamined(t *testing.T) {
	w := ring(t, 1)
	h := w.Host(0)
	r, other := homed(w, h, h), w.NewRecord("other", h)
	op := r.OpStore(w.Next(r))
	op.Resource = other.Resource
	if d := do(t, w, h, op); d.Refused == nil || d.Refused.ErrorCode != wire.ErrorForbidden || d.From != h.ID {
		t.Errorf("a record under another user's Resource-ID: %+v", d)
	}
	wrong := r.OpFetch()
	wrong.Specifier.Model = wire.SingleValue
	if d := do(t, w, h, wrong); d.Refused == nil {
		t.Errorf("a Fetch with another data model: %+v", d)
	}
}

// A Store that was ours to answer when it began, and not any more when its certificate has been looked at, goes to the new owner.
func TestOwnStoreOfARangeThatIsGivenAway(t *testing.T) {
	w := ring(t, 2)
	h, other := w.Host(0), w.Host(1)
	r := homed(w, h, other)
	w.Kill(1, sim.Crash)
	w.Run(5 * time.Second)
	h.Node.Do(w.Now(), r.OpStore(w.Next(r)))
	asked := h.Node.Take().Verify[0]
	other.Start(false)
	if !w.RunUntil(10*time.Second, time.Millisecond, func() bool { return other.Node.Responsible(wire.ToResource(r.Resource)) }) {
		t.Fatal("the range was not given away")
	}
	w.Run(time.Second)
	h.Node.Verified(w.Now(), asked.Job, trust.Assume(asked.Message, trust.Identity{Node: h.ID, User: r.User}), nil)
	if e := h.Node.Take(); len(e.Seal) != 1 || e.Seal[0].Message != asked.Message || e.Seal[0].By != asked.By || len(e.Done) > 0 {
		t.Errorf("%+v", e)
	}
}

// The driver's refusals end the operation at once.
func TestOwnStoreWithoutAGoodCertificate(t *testing.T) {
	for _, c := range []struct {
		got, want error
	}{
		{&trust.RefusalError{Reason: trust.Expired, Err: errors.New("test")}, node.ErrUntrusted},
		{errors.New("queue is full"), node.ErrOverload},
	} {
		w := ring(t, 1)
		h := w.Host(0)
		r := homed(w, h, h)
		h.Node.Do(w.Now(), r.OpStore(w.Next(r)))
		h.Node.Verified(w.Now(), h.Node.Take().Verify[0].Job, trust.Verified{}, c.got)
		if e := h.Node.Take(); len(e.Done) != 1 || !errors.Is(e.Done[0].Err, c.want) {
			t.Errorf("%v: %+v", c.got, e.Done)
		}
	}
}

// A Fetch is answered between inputs only as Do would have answered it at once.
func TestFetchOwnIsWhatDoAnswersAtOnce(t *testing.T) {
	w := ring(t, 2)
	h := w.Host(0)
	r := homed(w, h, h)
	store(t, w, r)
	want := fetch(t, w, r, h)
	got, ok := h.Node.FetchOwn(w.Now(), r.OpFetch())
	if !ok || len(got) != 1 || len(want) != 1 || got[0].Signer.User != want[0].Signer.User {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	if e := h.Node.Take(); len(e.Done)+len(e.Seal)+len(e.Verify)+len(e.Forward)+len(e.Events) > 0 {
		t.Errorf("effects %+v", e)
	}
	wrong := r.OpFetch()
	wrong.Specifier.Model = wire.SingleValue
	if _, ok := h.Node.FetchOwn(w.Now(), wrong); ok {
		t.Error("an error is an answer")
	}
	h.Node.Do(w.Now(), node.OpLeave{})
	w.Run(10 * time.Second)
	if _, ok := h.Node.FetchOwn(w.Now(), r.OpFetch()); ok {
		t.Error("a node that has left answers")
	}
}
