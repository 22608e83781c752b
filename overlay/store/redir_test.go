package store

import (
	"errors"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var voiceMail = redir.Tree{Namespace: "voice-mail", Branching: 10}

// record is the entry that h stores in a tree node.
func (h holder) record(at redir.Place) wire.StoredData {
	r := redir.NewProvider(voiceMail, h.Node).Record(at)
	return h.entry(string(r.AppendTo(nil)), 1, 600)
}

// Conformance: D-45 I-01 I-11
func TestRFC7374_5_NodeIDMatch(t *testing.T) {
	own, _ := voiceMail.At(2, alice.Node)
	res := voiceMail.Resource(own)
	deep, _ := voiceMail.At(voiceMail.MaxLevel(), alice.Node)
	beside := redir.Place{Level: 2, Node: own.Node + 1}
	under := alice.record(own)
	under.Value.Key = peer.key()
	removed := alice.record(own)
	removed.Value.Exists, removed.Value.Data = false, nil
	for _, c := range []struct {
		name   string
		res    wire.ResourceID
		d      wire.StoredData
		signer trust.Identity
		want   *refusal
	}{
		{"own", res, alice.record(own), alice.Identity, nil},
		{"own, root", voiceMail.Resource(redir.Place{}), alice.record(redir.Place{}), alice.Identity, nil},
		{"own, last level", voiceMail.Resource(deep), alice.record(deep), alice.Identity, nil},
		{"under the key of another", res, under, alice.Identity, errKey},
		{"signed by another", res, alice.record(own), peer.Identity, errKey},
		{"signed by nobody", res, alice.record(own), trust.Identity{}, errKey},
		{"in a tree node of others", voiceMail.Resource(beside), alice.record(beside), alice.Identity, errTreeNode},
		{"below the last level", wire.RedirResource("voice-mail", 5, 0), alice.record(redir.Place{Level: 5}), alice.Identity, errTreeNode},
		{"at another Resource-ID", voiceMail.Resource(redir.Place{}), alice.record(own), alice.Identity, errTreeResource},
		{"of another service", wire.RedirResource("turn-server", own.Level, own.Node), alice.record(own), alice.Identity, errTreeResource},
		{"no record", res, alice.entry("x", 1, 600), alice.Identity, errProvider},
		{"removed", res, removed, alice.Identity, nil},
		{"removed elsewhere", alice.resource(), removed, alice.Identity, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, ok := testOverlay().Kind(wire.KindREDIR)
			if !ok {
				t.Fatal("REDIR is not known")
			}
			err := CheckAccess(testOverlay(), k, c.res, &c.d, c.signer)
			if (c.want == nil) != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// Conformance: D-45 I-07 I-11
func TestRFC7374_5_TheStoringPeerChecks(t *testing.T) {
	own, _ := voiceMail.At(2, alice.Node)
	res, elsewhere := voiceMail.Resource(own), voiceMail.Resource(redir.Place{})
	s := New(testOverlay())
	put := func(res wire.ResourceID, d wire.StoredData) *wire.Error {
		m := storeReq(alice, res, 0, kindData(wire.KindREDIR, 0, d)).Message()
		_, e := s.Put(at0(0), trust.Assume(m, alice.Identity, trust.ValueSigner{Identity: alice.Identity}), true)
		return e
	}
	refused(t, put(elsewhere, alice.record(own)), wire.ErrorForbidden, "tree_mismatch")
	if e := put(res, alice.record(own)); e != nil {
		t.Fatalf("%s", e.Info)
	}
	req := &wire.FetchReq{Resource: res, Specifiers: []wire.Specifier{{Kind: wire.KindREDIR, Model: wire.Dictionary}}}
	// RFC 7374 §4.4: "If a record expires, it MUST be dropped from the dictionary by the peer storing the tree node."
	for _, c := range []struct {
		at   float64
		want int
	}{{599, 1}, {601, 0}} {
		if ans, _, e := s.Fetch(at0(c.at), req); e != nil || len(ans.Kinds[0].Values) != c.want {
			t.Errorf("after %v s: %+v, %v", c.at, ans, e)
		}
	}
}

// Who provides services chooses the Resource-IDs of its records by their names, and may have only so many.
func TestNamesOfServicesFillNoPeer(t *testing.T) {
	s := New(testOverlay())
	s.maxChosen = 3
	put := func(by holder, name string, exists bool) *wire.Error {
		tree := redir.Tree{Namespace: name, Branching: 10}
		r := redir.NewProvider(tree, by.Node).Record(redir.Place{})
		d := by.value(wire.StoredValue{Model: wire.Dictionary, Key: by.key(), Exists: exists, Data: r.AppendTo(nil)}, 1, hour)
		_, e := s.Put(at0(0), storeReq(by, tree.Resource(redir.Place{}), 0, kindData(wire.KindREDIR, 0, d)), true)
		return e
	}
	for _, name := range []string{"a", "b", "c"} {
		if e := put(alice, name, true); e != nil {
			t.Fatal(e)
		}
	}
	refused(t, put(alice, "d", true), wire.ErrorDataTooLarge, "signer_quota")
	refused(t, put(alice, "e", false), wire.ErrorDataTooLarge, "signer_quota") // a tombstone stands anywhere, too
	if e := put(peer, "d", true); e != nil {
		t.Errorf("another provider: %v", e)
	}
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	if s.Expire(at0(hour)); len(s.chosen) != 0 {
		t.Errorf("%v left after expiry", s.chosen)
	}
	if e := put(alice, "d", true); e != nil {
		t.Errorf("when the others have ended: %v", e)
	}
}
