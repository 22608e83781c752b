package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func TestKindsAreKeptInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kinds.json")
	read := func(overlay string) [][]byte {
		t.Helper()
		k, err := openKinds(path, overlay)
		if err != nil {
			t.Fatal(err)
		}
		return k.list
	}
	if l := read("example.org"); l != nil {
		t.Errorf("%q without a file", l)
	}
	g := &Gateway{kinds: &keptKinds{path: path, overlay: "example.org"}}
	g.o.Log = zerolog.Nop()
	want := [][]byte{[]byte("<kind-block>\n1</kind-block>"), []byte("<kind-block>2</kind-block>")}
	g.keepKinds(want)
	if d := cmp.Diff(want, read("Example.org")); d != "" {
		t.Error(d)
	}
	if l := read("example.net"); l != nil {
		t.Errorf("%q in another overlay", l)
	}
	g.keepKinds(nil)
	if l := read("example.org"); l != nil {
		t.Errorf("%q when there are none any more", l)
	}
	for _, text := range []string{"", "{", string(make([]byte, maxKindsFile+1))} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l := read("example.org"); l != nil {
			t.Errorf("%q of a damaged file", l)
		}
	}
}
