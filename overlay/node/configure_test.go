package node_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// signedRing is a settled world whose first host signs configuration documents.
func signedRing(t testing.TB, n int, sequence uint16, edit ...func(*sim.Config)) (*sim.World, *config.Overlay) {
	t.Helper()
	o := sim.Overlay()
	o.Sequence = sequence
	w := ring(t, n, append(edit, func(c *sim.Config) { c.Overlay = o })...)
	// Hosts are made with the world: the signer is known only now, and a document of the same sequence tells nobody.
	o.ConfigurationSigners = []wire.NodeID{w.Host(0).ID}
	return w, o
}

// next is o with the next sequence and a change.
func next(o *config.Overlay, change func(*config.Overlay)) *config.Overlay {
	n := *o
	n.Sequence = (o.Sequence + 1) % (config.MaxSequence + 1)
	if change != nil {
		change(&n)
	}
	return &n
}

// configure hands a document to a host.
func configure(t testing.TB, w *sim.World, h *sim.Host, document []byte) error {
	t.Helper()
	return do(t, w, h, node.OpConfigure{Document: document}).Err
}

func allHave(w *sim.World, sequence uint16) func() bool {
	return func() bool {
		for _, h := range w.Living() {
			if h.Node.Overlay().Sequence != sequence {
				return false
			}
		}
		return true
	}
}

// TestRFC6940_6_5_4_ADocumentGivenToOnePeerReachesAll: while it spreads, every store and every fetch succeeds.
//
// Conformance: C-26 C-27 C-28
func TestRFC6940_6_5_4_ADocumentGivenToOnePeerReachesAll(t *testing.T) {
	w, o := signedRing(t, 32, 7, func(c *sim.Config) { c.MaxDelay = 50 * time.Millisecond })
	var records []*sim.Record
	for i := range 32 {
		r := w.NewRecord("user"+string(rune('a'+i)), w.Host(i))
		records = append(records, r)
		store(t, w, r)
	}
	failed := 0
	count := func(d node.Done) {
		if d.Err != nil || d.Refused != nil {
			failed++
			t.Errorf("at %v: %v %v", w.Elapsed(), d.Err, d.Refused)
		}
	}
	for i := range 400 {
		r, h := records[i%32], w.Host(i*7%32)
		w.After(time.Duration(i)*2*time.Millisecond, func() {
			h.Do(r.OpFetch(), count)
			other := w.NewRecord("other"+strconv.Itoa(i), h)
			h.Do(other.OpStore(w.Next(other)), count)
		})
	}
	if err := configure(t, w, w.Host(9), w.Document(next(o, nil), w.Host(0))); err != nil {
		t.Fatal(err)
	}
	begun := w.Elapsed()
	if !w.RunUntil(20*time.Second, 10*time.Millisecond, allHave(w, 8)) {
		t.Fatal("somebody has the old configuration still")
	}
	t.Logf("all have it after %v", w.Elapsed()-begun)
	w.Run(20 * time.Second)
	if err := w.Check(records); err != nil || failed > 0 {
		t.Fatal(err, failed)
	}
}

// Conformance: C-29
func TestRFC6940_6_3_2_1_AfterSequence65534Comes0(t *testing.T) {
	w, o := signedRing(t, 3, config.MaxSequence)
	if err := configure(t, w, w.Host(1), w.Document(next(o, nil), w.Host(0))); err != nil {
		t.Fatal(err)
	}
	// At once: nobody waits for a ping that is due.
	if !w.RunUntil(100*time.Millisecond, 10*time.Millisecond, allHave(w, 0)) {
		t.Fatal("somebody has the old configuration still")
	}
	if err := configure(t, w, w.Host(1), w.Document(o, w.Host(0))); !errors.Is(err, node.ErrNotNewer) {
		t.Errorf("65534 after 0: %v", err)
	}
}

// update is a ConfigUpdate of a client.
func update(c *sim.Client, document []byte) *wire.Message {
	return c.Message(&wire.ConfigUpdateReq{Type: wire.ConfigUpdateConfig, Config: document})
}

// Conformance: C-28 C-30 F-36
func TestRFC6940_6_5_4_2_OnlyNewerAndSignedDocumentsAreProcessed(t *testing.T) {
	w, o := signedRing(t, 3, 7)
	usurped := next(o, func(n *config.Overlay) { n.ConfigurationSigners = []wire.NodeID{w.Host(2).ID} })
	spoiled := w.Document(next(o, nil), w.Host(0))
	spoiled = []byte(replaceOnce(string(spoiled), "<initial-ttl>100<", "<initial-ttl>99<"))
	other := next(o, func(n *config.Overlay) { n.InstanceName = "other.example" })
	for _, c := range []struct {
		name     string
		document []byte
		want     any
	}{
		{"stale", w.Document(next(o, func(n *config.Overlay) { n.Sequence = 6 }), w.Host(0)), wire.ErrorConfigTooOld},
		{"of the same sequence", w.Document(o, w.Host(0)), wire.ErrorConfigTooOld},
		{"unsigned", w.Document(next(o, nil), nil), wire.ErrorForbidden},
		{"of a signer that is not listed", w.Document(next(o, nil), w.Host(1)), wire.ErrorForbidden},
		{"of a signer that only the new document lists", w.Document(usurped, w.Host(2)), wire.ErrorForbidden},
		{"changed after it was signed", spoiled, wire.ErrorForbidden},
		{"of another overlay", w.Document(other, w.Host(0)), wire.ErrorInvalidMessage},
		{"not a document", []byte("<overlay"), wire.ErrorInvalidMessage},
		{"good", w.Document(next(o, nil), w.Host(0)), wire.CodeConfigUpdateAns},
		{"good, and known", w.Document(next(o, nil), w.Host(0)), wire.ErrorConfigTooOld},
	} {
		client := w.NewClient(w.Host(1))
		m := update(client, c.document)
		m.Header.Destinations = wire.NewDestinationList(wire.ToNode(w.Host(1).ID))
		m.Header.ConfigSequence = wire.ConfigSequenceAny
		if got := code(client.Call(m)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if s := w.Host(1).Node.Overlay().Sequence; s != 7 && c.want != any(wire.CodeConfigUpdateAns) && c.name != "good, and known" {
			t.Errorf("%s: accepted, sequence %d", c.name, s)
		}
	}
	var refusal *trust.RefusalError
	if err := configure(t, w, w.Host(2), w.Document(next(next(o, nil), nil), nil)); !errors.As(err, &refusal) {
		t.Errorf("an unsigned document of the operator: %v", err)
	}
}

// TestRFC6940_6_3_2_1_AnOlderRequesterGetsTheDocument, once in 30 s, whatever it sends.
//
// Conformance: C-27 C-28 C-34
func TestRFC6940_6_3_2_1_AnOlderRequesterGetsTheDocument(t *testing.T) {
	w, o := signedRing(t, 3, 7)
	document := w.Document(next(o, nil), w.Host(0))
	if err := configure(t, w, w.Host(1), document); err != nil {
		t.Fatal(err)
	}
	w.Run(time.Second)
	client := w.NewClient(w.Host(1))
	updates := func() (n int) {
		for _, m := range client.Got {
			if u, ok := m.Body.(*wire.ConfigUpdateReq); ok {
				n++
				if string(u.Config) != string(document) || m.Header.ConfigSequence != wire.ConfigSequenceAny {
					t.Errorf("ConfigUpdate of %d octets with sequence %d", len(u.Config), m.Header.ConfigSequence)
				}
			}
		}
		return n
	}
	for range 20 {
		if got := code(client.Call(client.Message(&wire.PingReq{}, wire.ToNode(w.Host(1).ID)))); got != wire.ErrorConfigTooOld {
			t.Fatal(got)
		}
	}
	if n := updates(); n == 0 {
		t.Error("no ConfigUpdate")
	}
	newer := client.Message(&wire.PingReq{}, wire.ToNode(w.Host(1).ID))
	newer.Header.ConfigSequence = 9
	if got := code(client.Call(newer)); got != wire.ErrorConfigTooNew {
		t.Error(got)
	}
	ids := map[wire.TransactionID]bool{}
	for _, m := range client.Got {
		if m.Body.Code() == wire.CodeConfigUpdateReq {
			ids[m.Header.Transaction] = true
		}
	}
	if len(ids) != 1 {
		t.Errorf("%d ConfigUpdates within 30 s", len(ids))
	}
	w.Run(31 * time.Second)
	before := updates()
	client.Call(client.Message(&wire.PingReq{}, wire.ToNode(w.Host(1).ID)))
	w.Run(time.Second)
	if updates() == before {
		t.Error("no second ConfigUpdate after 30 s")
	}
}

// Conformance: B-37
func TestRFC6940_11_1_ABadNodeLosesItsLinksAndItsValues(t *testing.T) {
	w, o := signedRing(t, 8, 7)
	bad := w.Host(5)
	r, own := w.NewRecord("other", w.Host(2)), w.NewRecord("bad", bad)
	store(t, w, r)
	store(t, w, own)
	w.Run(2 * time.Second)
	o2 := next(o, func(n *config.Overlay) { n.BadNodes = append(n.BadNodes, bad.ID) })
	if err := configure(t, w, w.Host(3), w.Document(o2, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(time.Second)
	for _, h := range w.Living() {
		if h == bad {
			continue
		}
		for _, l := range h.Status().Links {
			if l.Peer == bad.ID {
				t.Errorf("host %d is linked with the bad node", h.Index)
			}
		}
		if h.Node.Holds(own.Resource) {
			t.Errorf("host %d holds what the bad node has signed", h.Index)
		}
	}
	w.Run(30 * time.Second)
	bad.Up = false
	if err := w.Check([]*sim.Record{r}); err != nil {
		t.Error(err)
	}
	if v := fetch(t, w, own, w.Host(1)); len(v) > 0 {
		t.Error("a value of the bad node was found")
	}
}

// Conformance: C-32 F-38
func TestRFC6940_6_5_4_2_ANodeReconfiguresItself(t *testing.T) {
	w, o := signedRing(t, 4, 7)
	updates := 0
	o2 := next(o, func(n *config.Overlay) { n.ChordUpdateInterval, n.InitialTTL = 2*time.Second, 50 })
	if err := configure(t, w, w.Host(3), w.Document(o2, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(2 * time.Second)
	w.Host(1).Tamper = func(m *wire.Message) {
		if m.Body.Code() == wire.CodeUpdateReq {
			updates++
			if m.Header.TTL != 50 {
				t.Errorf("TTL %d", m.Header.TTL)
			}
		}
	}
	w.Run(20 * time.Second)
	if updates < 8*3 {
		t.Errorf("%d Updates in 20 s to 3 neighbours, one every 2 s", updates)
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
	o3 := next(o2, func(n *config.Overlay) { n.TopologyPlugin = "OTHER" })
	if err := configure(t, w, w.Host(3), w.Document(o3, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(20 * time.Second)
	for _, h := range w.Hosts() {
		if h.Node.State() != node.Left {
			t.Errorf("host %d is %s in an overlay of another topology", h.Index, h.Node.State())
		}
	}
}

// TestRFC6940_6_3_2_1_AJoiningNodeWithAnotherConfigurationGetsIn, and whoever has the older one gets the newer.
//
// Conformance: C-27
func TestRFC6940_6_3_2_1_AJoiningNodeWithAnotherConfigurationGetsIn(t *testing.T) {
	w, o := signedRing(t, 5, 7)
	o2 := next(o, nil)
	if err := configure(t, w, w.Host(2), w.Document(o2, w.Host(0))); err != nil {
		t.Fatal(err)
	}
	w.Run(5 * time.Second)
	join := func(sequence uint16) {
		t.Helper()
		h := w.AddHost()
		h.Start(false)
		if err := w.Settle(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		w.Run(10 * time.Second)
		if !allHave(w, sequence)() {
			t.Errorf("not all have sequence %d", sequence)
		}
		if err := w.Check(nil); err != nil {
			t.Error(err)
		}
	}
	join(8) // the new host has sequence 7
	o3 := next(o2, nil)
	w.Use(o3, w.Document(o3, w.Host(0)))
	join(9) // and this one brings sequence 9
}

func replaceOnce(s, old, new string) string {
	before, after, _ := strings.Cut(s, old)
	return before + new + after
}
