package overlay

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A replica that holds an older copy, or less, does not count.
func TestReplicasHoldTheSameValues(t *testing.T) {
	value := func(at uint64, signature string) wire.StoredData {
		return wire.StoredData{StorageTime: at, Signature: wire.Signature{Value: []byte(signature)}}
	}
	want := []wire.StoredData{value(2, "a"), value(2, "b")}
	for _, c := range []struct {
		have []wire.StoredData
		want bool
	}{
		{[]wire.StoredData{value(2, "b"), value(1, "c"), value(2, "a")}, true}, {want[:1], false}, {nil, false},
		{[]wire.StoredData{value(2, "a"), value(1, "b")}, false}, {[]wire.StoredData{value(2, "a"), value(2, "x")}, false},
	} {
		if got := covers(c.have, want); got != c.want {
			t.Errorf("%v: %v", c.have, got)
		}
	}
}

// Whoever asks gets the same values with certificates that prove them, from the peer that is responsible, and its two successors say that they hold
// them too.
func TestEvidenceNamesWhoHoldsAValueAndProvesIt(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 4)
	const user = "alice@example.org"
	res := w.register(t, ring[1], user)
	replicated(t, ring, 1)
	verifier := trust.NewVerifier(ring[0].Config())
	var first Evidence
	for i, m := range ring {
		var e Evidence
		eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var err error
			if e, err = m.Evidence(ctx, res, wire.KindSIPRegistration); err != nil {
				t.Fatal(err)
			}
			return len(e.Replicas) == 2
		}, func() string { return "not all replicas answered" })
		body := &wire.StoreReq{Resource: res, Kinds: []wire.StoreKindData{{Kind: wire.KindSIPRegistration, Values: e.Values}}}
		signers := verifier.VerifyValues(time.Now(), body, e.Certificates)
		if len(signers) != 1 || signers[0].Err != nil || signers[0].Identity.User != user || signers[0].Identity.Node != ring[1].NodeID() {
			t.Errorf("peer %d: signed by %+v", i, signers)
		}
		if i == 0 {
			first = e
		}
		if e.Responsible != first.Responsible || !slices.Equal(e.Replicas, first.Replicas) || slices.Contains(e.Replicas, e.Responsible) {
			t.Errorf("peer %d: held by %v and %v, peer 0 said %v and %v", i, e.Responsible, e.Replicas, first.Responsible, first.Replicas)
		}
	}
	if e, err := ring[0].Evidence(t.Context(), wire.ResourceIDOf("nobody@example.org"), wire.KindSIPRegistration); err != nil || len(e.Values) != 0 {
		t.Errorf("of nobody: %+v, %v", e, err)
	}
	if _, err := ring[0].Evidence(t.Context(), res, 1<<31); err == nil {
		t.Error("of a Kind that the overlay does not have")
	}
}
