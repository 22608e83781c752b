package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var privateKind = config.Kind{ID: 0xf0000077, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 100}

// kindUpdate is a ConfigUpdate of a client.
func kindUpdate(c *sim.Client, to *sim.Host, block []byte) *wire.Message {
	return c.Message(&wire.ConfigUpdateReq{Type: wire.ConfigUpdateKind, Kinds: [][]byte{block}}, toHost(to))
}

func allKnow(w *sim.World, kind wire.KindID, size int) func() bool {
	return func() bool {
		for _, h := range w.Living() {
			if k, ok := h.Node.Overlay().Kind(kind); !ok || k.MaxSize != size {
				return false
			}
		}
		return true
	}
}

// private is a value of privateKind under the name of r's owner.
func private(w *sim.World, r *sim.Record) node.OpStore {
	op := r.OpStore(w.Next(r))
	d := &op.Values[0]
	d.Value = wire.StoredValue{Model: wire.SingleValue, Exists: true, Data: []byte("value")}
	r.SignValue(privateKind.ID, d)
	op.Kind = privateKind.ID
	return op
}

// TestRFC6940_6_5_4_2_KindsSpread hands a Kind to one host: all others learn it, and go on with it when another document
// comes, until that takes the right away from who has signed it. Then it is gone, with what is stored of it.
//
// Conformance: C-31 F-37
func TestRFC6940_6_5_4_2_KindsSpread(t *testing.T) {
	w, o := signedRing(t, 12, 7)
	o.KindSigners = []wire.NodeID{w.Host(0).ID, w.Host(1).ID}
	client := w.NewClient(w.Host(5))
	bigger := privateKind
	bigger.MaxSize = 200
	for _, step := range []struct {
		name string
		kind config.Kind
		by   int
		want any
		size int
	}{
		{"a signer that is none", privateKind, 2, wire.ErrorForbidden, 0},
		{"a signer", privateKind, 0, wire.CodeConfigUpdateAns, 100},
		{"the same again", privateKind, 0, wire.CodeConfigUpdateAns, 100},
		{"another signer", bigger, 1, wire.ErrorForbidden, 100},
		{"the same signer", bigger, 0, wire.CodeConfigUpdateAns, 200},
	} {
		before := w.Messages
		if got := code(client.Call(kindUpdate(client, w.Host(5), w.KindBlock(step.kind, w.Host(step.by))))); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
		w.RunUntil(time.Second, 10*time.Millisecond, allKnow(w, privateKind.ID, step.size))
		if step.size > 0 && !allKnow(w, privateKind.ID, step.size)() {
			t.Errorf("%s: not all hosts have a Kind with max-size %d", step.name, step.size)
		}
		w.Run(31 * time.Second)
		if n := w.Messages - before; n > 2500 {
			t.Errorf("%s: %d messages", step.name, n)
		}
	}
	r := w.NewRecord("alice", w.Host(3))
	if d := do(t, w, r.Home, private(w, r)); d.Err != nil || d.Refused != nil {
		t.Fatal(d.Err, d.Refused)
	}
	holder := owner(w, r.Resource)[0]
	kept := next(o, nil)
	if err := configure(t, w, w.Host(4), w.Document(kept, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(20 * time.Second)
	if !allKnow(w, privateKind.ID, 200)() || !holder.Node.Holds(r.Resource) {
		t.Error("a new document has ended the Kind, or its values")
	}
	ended := next(kept, func(o *config.Overlay) { o.KindSigners = o.KindSigners[1:] })
	if err := configure(t, w, w.Host(4), w.Document(ended, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(20 * time.Second)
	for _, h := range w.Living() {
		if _, ok := h.Node.Overlay().Kind(privateKind.ID); ok || h.Node.Holds(r.Resource) {
			t.Errorf("host %d: knows it: %v, holds a value: %v", h.Index, ok, h.Node.Holds(r.Resource))
		}
	}
}

// TestRFC6940_7_4_1_2_APeerThatLacksAKindLearnsIt: it has started with the document, which does not have the Kind.
//
// Conformance: C-33
func TestRFC6940_7_4_1_2_APeerThatLacksAKindLearnsIt(t *testing.T) {
	w, o := signedRing(t, 3, 7)
	o.KindSigners = []wire.NodeID{w.Host(0).ID}
	client := w.NewClient(w.Host(1))
	if got := code(client.Call(kindUpdate(client, w.Host(1), w.KindBlock(privateKind, w.Host(0))))); got != wire.CodeConfigUpdateAns {
		t.Fatal(got)
	}
	w.Run(time.Second)
	var lacking *sim.Host
	for range 5 {
		lacking = w.AddHost()
		lacking.Start(false)
		if err := w.Settle(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	w.Run(5 * time.Second)
	if _, ok := lacking.Node.Overlay().Kind(privateKind.ID); ok {
		t.Fatal("it knows the Kind already")
	}
	r := w.NewRecord("alice", w.Host(0))
	for i := 0; owner(w, r.Resource)[0] != lacking; i++ {
		r = w.NewRecord("user"+string(rune('a'+i%26))+string(rune('a'+i/26)), w.Host(0))
	}
	if d := do(t, w, r.Home, private(w, r)); d.Err != nil || d.Refused != nil {
		t.Errorf("%v %v", d.Err, d.Refused)
	}
	if !lacking.Node.Holds(r.Resource) {
		t.Error("the peer holds no value")
	}
	stranger := r.OpFetch()
	stranger.Specifier = wire.Specifier{Kind: 0xf0000099, Model: wire.SingleValue}
	if d := do(t, w, r.Home, stranger); d.Refused == nil || d.Refused.ErrorCode != wire.ErrorUnknownKind {
		t.Errorf("a Kind that nobody knows: %v %v", d.Err, d.Refused)
	}
}
