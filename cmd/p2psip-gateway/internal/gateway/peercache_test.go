package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// RFC 6940 §11.4: "Peers that are not directly connected MUST NOT be cached. The suggested number of peers to cache is 10."
//
// Conformance: G-04
func TestRFC6940_11_4_OnlyPeersWithALinkAreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	open := func(name string) *knownPeers {
		t.Helper()
		k, err := openKnown(path, name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := open("example.org")
	links := []overlay.LinkInfo{{Ready: true, Listens: "192.0.2.2:6084"}, {Ready: false, Listens: "192.0.2.9:6084"}, // one that has not joined
		{Ready: true}, {Ready: true, Listens: "192.0.2.1:6084"}, {Ready: true, Listens: "192.0.2.2:6084"}}
	if !k.meet(links) || k.meet(links) {
		t.Error("a change is one, once")
	}
	if !k.meet(links[:1]) {
		t.Error("the order is another one")
	}
	want := []string{"192.0.2.2:6084", "192.0.2.1:6084"} // the second: of an earlier link
	if d := cmp.Diff(want, k.list); d != "" {
		t.Error(d)
	}
	if err := k.save(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, open("example.org").list); d != "" {
		t.Error(d)
	}
	if l := open("example.net").list; len(l) > 0 {
		t.Errorf("in another overlay: %q", l)
	}
	var many []overlay.LinkInfo
	for i := range 30 {
		many = append(many, overlay.LinkInfo{Ready: true, Listens: fmt.Sprintf("192.0.2.%d:6084", 100+i)})
	}
	if k.meet(many); len(k.list) != maxKnown {
		t.Errorf("%d are remembered", len(k.list))
	}
	for _, text := range []string{"", "{", `{"overlay":"example.org","peers":["x","192.0.2.1:0","192.0.2.1"]}`, string(make([]byte, maxKnownFile+1))} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l := open("example.org").list; len(l) > 0 {
			t.Errorf("of %.20q: %q", text, l)
		}
	}
}
