package trust_test

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var privateKind = config.Kind{ID: 0xf0000077, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 100}

// kindBlock is k as by signs it, read from the octets that a ConfigUpdate carries.
func kindBlock(t testing.TB, o *config.Overlay, k config.Kind, by *trust.Signer) config.KindBlock {
	t.Helper()
	b, err := trust.SignKind(o, k, by)
	if err != nil {
		t.Fatal(err)
	}
	read, err := config.ParseKindBlock(config.AppendKindBlock(nil, &b))
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// RFC 6940 §6.5.4.2: "it MUST be processed only if it is correctly digitally signed by an acceptable Kind signer"; "if the
// Kind update conflicts with an existing known Kind (i.e., it is signed by a different signer), then it should be rejected".
//
// Conformance: C-31 F-37
func TestRFC6940_6_5_4_2_KindUpdate(t *testing.T) {
	w := newWorld(t, trust.P256)
	second := w.secondSigner(t)
	o := parseConfig(t, w.signed(t)).Overlay
	both := *o
	both.KindSigners = append(both.KindSigners, second.Identity().Node)

	b := kindBlock(t, o, privateKind, w.node)
	if err := trust.VerifyKindBlock(now, &b, o); err != nil {
		t.Fatal(err)
	}
	with, err := both.WithKind(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := with.Kind(privateKind.ID); !ok || got != privateKind {
		t.Errorf("%+v", got)
	}
	changed := privateKind
	changed.MaxSize = 200
	again, usurped := kindBlock(t, o, changed, w.node), kindBlock(t, o, changed, second)
	if err := trust.VerifyKindBlock(now, &again, with); err != nil {
		t.Errorf("an update by the same signer: %v", err)
	}
	wantReason(t, trust.VerifyKindBlock(now, &usurped, with), trust.OtherSigner)
	wantReason(t, trust.VerifyKindBlock(now, &usurped, o), trust.UnknownSigner)
	ours := o.Kinds[1]
	documented := kindBlock(t, o, ours, second)
	wantReason(t, trust.VerifyKindBlock(now, &documented, &both), trust.OtherSigner)
	// What an earlier document said of a Kind, and was signed by who signs Kinds still, does not come back.
	earlier := ours
	earlier.MaxCount++
	old := kindBlock(t, o, earlier, w.node)
	wantReason(t, trust.VerifyKindBlock(now, &old, o), trust.Documented)
	same := kindBlock(t, o, ours, w.node)
	if err := trust.VerifyKindBlock(now, &same, o); err != nil {
		t.Errorf("what the document says: %v", err)
	}
	unsigned, spoiled := b, b
	unsigned.Signature = nil
	wantReason(t, trust.VerifyKindBlock(now, &unsigned, o), trust.Unsigned)
	spoiled.Signed = append([]byte(nil), again.Signed...)
	wantReason(t, trust.VerifyKindBlock(now, &spoiled, o), trust.BadSignature)

	// A new document keeps what ConfigUpdates have brought, as long as who signed it may still sign.
	if _, ok := trust.KeepKinds(o, with).Kind(privateKind.ID); !ok {
		t.Error("the Kind is gone, and its signer is not")
	}
	rotated := *o
	rotated.KindSigners = []wire.NodeID{second.Identity().Node}
	if _, ok := trust.KeepKinds(&rotated, with).Kind(privateKind.ID); ok {
		t.Error("the Kind is there, and its signer has lost its right")
	}
}
