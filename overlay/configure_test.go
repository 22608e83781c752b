package overlay

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// signed is a world whose overlay was read from a document that the signer has signed.
func signed(t *testing.T) (*world, *trust.Signer) {
	t.Helper()
	w := newWorld(t)
	signer := w.signer(newKey(t))
	id := signer.Identity().Node
	w.overlay.ConfigurationSigners, w.overlay.KindSigners = []wire.NodeID{id}, []wire.NodeID{id}
	w.document, w.overlay = w.publish(t, w.overlay, signer)
	return w, signer
}

func (w *world) publish(t *testing.T, o *config.Overlay, by *trust.Signer) ([]byte, *config.Overlay) {
	t.Helper()
	doc, err := trust.SignDocument(o, by)
	if err != nil {
		t.Fatal(err)
	}
	d, err := config.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, d.Configurations[0].Overlay
}

// following is the next configuration, changed.
func following(o *config.Overlay, change func(*config.Overlay)) *config.Overlay {
	n := *o
	n.Sequence++
	change(&n)
	return &n
}

func inTime(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("in vain: " + what)
		}
	}
}

// TestRFC6940_6_5_4_RealPeersFollowANewDocument: the document goes to one of five peers; all have it, keep it, and no
// longer talk to the node that it names bad.
//
// Conformance: C-27 C-30 C-32 B-37
func TestRFC6940_6_5_4_RealPeersFollowANewDocument(t *testing.T) {
	w, signer := signed(t)
	kept := make(chan []byte, 16)
	w.changed = func(d []byte) { kept <- d }
	ring := w.ring(t, 5)
	bad := ring[4]
	doc, _ := w.publish(t, following(w.overlay, func(o *config.Overlay) {
		o.BadNodes = append(o.BadNodes, bad.NodeID())
		o.ChordUpdateInterval = time.Minute
	}), signer)

	var refusal *trust.RefusalError
	stranger, _ := w.publish(t, following(w.overlay, func(o *config.Overlay) {
		o.ConfigurationSigners = []wire.NodeID{ring[1].cfg.Self.Identity().Node}
		o.KindSigners = o.ConfigurationSigners
	}), ring[1].cfg.Self)
	if err := ring[2].Configure(t.Context(), stranger); !errors.As(err, &refusal) || refusal.Reason != trust.UnknownSigner {
		t.Errorf("a document of a signer that only the document lists: %v", err)
	}
	if err := ring[2].Configure(t.Context(), w.document); !errors.Is(err, node.ErrNotNewer) {
		t.Errorf("the present document again: %v", err)
	}
	if err := ring[2].Configure(t.Context(), []byte("<overlay/>")); !errors.Is(err, node.ErrDocument) {
		t.Errorf("no document: %v", err)
	}
	if err := ring[2].Configure(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	inTime(t, "all have the new document", func() bool {
		for _, m := range ring[:4] {
			if m.Config().Sequence != 2 {
				return false
			}
		}
		return true
	})
	for range 4 {
		select {
		case d := <-kept:
			if !bytes.Equal(d, doc) {
				t.Error("another document is kept")
			}
		case <-time.After(patience):
			t.Fatal("the document is not kept")
		}
	}
	inTime(t, "nobody is linked with the bad node", func() bool {
		for _, m := range ring[:4] {
			for _, l := range m.Status().Links {
				if l.Peer == bad.NodeID() {
					return false
				}
			}
		}
		return true
	})
	if _, from, err := ring[0].Ping(t.Context(), wire.NewDestinationList(wire.ToNode(ring[3].NodeID()))); err != nil || from != ring[3].NodeID() {
		t.Errorf("ping: %v from %v", err, from)
	}
}

// TestRFC6940_11_1_APeerThatCanNotMeetADemandLeaves: Run ends with ErrRestart.
//
// Conformance: C-32
func TestRFC6940_11_1_APeerThatCanNotMeetADemandLeaves(t *testing.T) {
	w, signer := signed(t)
	c := Config{Overlay: w.overlay, Document: w.document, Self: w.signer(newKey(t)), First: true,
		Listener: listen(t), AppListener: listen(t)}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context()) }()
	<-p.Joined()
	doc, _ := w.publish(t, following(w.overlay, func(o *config.Overlay) {
		o.MandatoryExtensions = []string{"urn:example:unknown"}
	}), signer)
	if err := p.Configure(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrRestart) {
			t.Errorf("Run ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on")
	}
}

// Conformance: C-31
func TestKindBlocksAreReadAndChecked(t *testing.T) {
	w := newWorld(t)
	by, stranger := w.signer(newKey(t)), w.signer(newKey(t))
	o := *w.overlay
	o.KindSigners = []wire.NodeID{by.Identity().Node}
	kind := config.Kind{ID: 0xf0000077, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 100}
	block := func(by *trust.Signer) []byte {
		b, err := trust.SignKind(&o, kind, by)
		if err != nil {
			t.Fatal(err)
		}
		return config.AppendKindBlock(nil, &b)
	}
	with, err := examine(time.Now(), node.Configure{Kinds: [][]byte{block(by)}, Previous: &o})
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := with.Kind(kind.ID); !ok || k != kind || len(o.Kinds) == len(with.Kinds) {
		t.Errorf("%+v", k)
	}
	var refusal *trust.RefusalError
	if _, err := examine(time.Now(), node.Configure{Kinds: [][]byte{block(stranger)}, Previous: &o}); !errors.As(err, &refusal) {
		t.Errorf("of a stranger: %v", err)
	}
	if _, err := examine(time.Now(), node.Configure{Kinds: [][]byte{[]byte("<kind/>")}, Previous: &o}); !errors.Is(err, node.ErrDocument) {
		t.Errorf("no kind-block: %v", err)
	}
}

// TestKindsOutliveARestart: a peer that has learned a Kind knows it when it starts again, from what it was given to keep.
func TestKindsOutliveARestart(t *testing.T) {
	w, signer := signed(t)
	kind := config.Kind{ID: 0xf0000077, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 100}
	b, err := trust.SignKind(w.overlay, kind, signer)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan [][]byte, 1)
	start := func(kinds [][]byte) (p *Peer, stop func()) {
		p, err := New(Config{Overlay: w.overlay, Document: w.document, Self: signer, First: true, Listener: listen(t), AppListener: listen(t),
			Kinds: kinds, KindsChanged: func(k [][]byte) { kept <- k }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		<-p.Joined()
		return p, func() {
			cancel()
			<-ended
		}
	}
	knows := func(p *Peer) bool {
		k, ok := p.Config().Kind(kind.ID)
		return ok && k == kind
	}
	p, stop := start([][]byte{[]byte("<kind-block/>")}) // not one, and left out
	learned := input(func(now time.Time, l *loop) {
		o, err := examine(now, node.Configure{Kinds: [][]byte{config.AppendKindBlock(nil, &b)}, Previous: p.Config()})
		if err != nil {
			t.Error(err)
			return
		}
		l.reconfigure(node.Reconfigured{Overlay: o})
	})
	if knows(p) || !p.post(t.Context(), learned) {
		t.Fatal("it knows the Kind, or does not run")
	}
	kinds := <-kept
	stop()
	p, stop = start(kinds)
	defer stop()
	if !knows(p) {
		t.Fatal("the Kind is gone")
	}
	if len(kept) > 0 {
		t.Error("nothing is new, and is to be kept")
	}
}
