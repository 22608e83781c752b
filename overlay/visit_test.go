package overlay

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A Visitor is no part of the ring: it fetches, and hands a document over, through a node that it has a link with.
//
// Conformance: F-43
func TestVisitor(t *testing.T) {
	w, signer := signed(t)
	ring := w.ring(t, 3)
	settle(t, ring)
	w.register(t, ring[0], "alice@example.org")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := &Visitor{Overlay: w.overlay, Self: signer, Addresses: []string{"127.0.0.1:1", ring[1].cfg.Listener.Addr().String()}}
	res := wire.ResourceIDOf("alice@example.org")
	values, err := v.Fetch(ctx, res, wire.KindSIPRegistration)
	if err != nil || len(values) != 1 || values[0].Signer.User != "alice@example.org" || values[0].Signer.Node != ring[0].NodeID() {
		t.Fatalf("%+v %v", values, err)
	}
	if values, err := v.Fetch(ctx, wire.ResourceIDOf("nobody"), wire.KindSIPRegistration); err != nil || len(values) > 0 {
		t.Errorf("%+v %v", values, err)
	}
	if _, err := v.Fetch(ctx, res, 0xf0001234); err == nil {
		t.Error("a Kind that is not known")
	}
	// A document that is not newer, and one that is.
	var refused *RemoteError
	if _, err := v.Configure(ctx, w.document); !errors.As(err, &refused) || refused.Code != wire.ErrorConfigTooOld {
		t.Errorf("the present document: %v", err)
	}
	doc, _ := w.publish(t, following(w.overlay, func(o *config.Overlay) { o.ChordUpdateInterval = time.Minute }), signer)
	if node, err := v.Configure(ctx, doc); err != nil || node != ring[1].NodeID() {
		t.Fatalf("%v %v", node, err)
	}
	for _, m := range ring {
		inTime(t, "all have the new document", func() bool { return m.Config().Sequence == 2 })
	}
	if _, err := v.Fetch(ctx, res, wire.KindSIPRegistration); !errors.As(err, &refused) || refused.Code != wire.ErrorConfigTooOld {
		t.Errorf("with the old configuration: %v", err)
	}
	v.Addresses = v.Addresses[:1]
	if _, err := v.Configure(ctx, doc); !errors.Is(err, ErrNobody) {
		t.Errorf("nobody there: %v", err)
	}
}
