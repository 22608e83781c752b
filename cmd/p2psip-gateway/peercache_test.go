package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Both bootstrap nodes of the document are gone, the ring lives. A node that starts again finds it through the peers that it remembers.
//
// Conformance: G-03 G-04
func TestProcessesFindBackWithoutBootstrapNodes(t *testing.T) {
	users := []string{"2001", "2002", "2003", "2004"}
	r := newRing(t, program(t, ""), len(users), users)
	phones := r.homes(t, users)
	living, back := r.members[2], r.members[3]
	file := filepath.Join(r.dir, "data3", "peers.json")
	eventually(t, "the other peer to be remembered", func() error {
		var f struct{ Peers []string }
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &f); err != nil {
			return err
		}
		for _, a := range f.Peers { // nobody but peers, where they listen
			if !slices.ContainsFunc(r.members[:3], func(m *ringNode) bool { return m.overlay == a }) {
				t.Fatalf("%s in %q", a, f.Peers)
			}
		}
		if !slices.Contains(f.Peers, living.overlay) {
			return fmt.Errorf("%q", f.Peers)
		}
		return nil
	})
	back.kill()
	r.members[0].kill()
	r.members[1].kill()
	r.start(t, back)
	eventually(t, "a call", func() error { return phones[2].call(phones[3].aor()) })
	if err := phones[3].call(phones[2].aor()); err != nil {
		t.Error(err)
	}
}
