package gateway

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// maxKindsFile bounds what is read: 64 Kinds of some KB each.
const maxKindsFile = 1 << 20

// keptKinds are the Kinds that the overlay has learned besides those of its document (RFC 6940 §6.5.4), in a file: a node that starts again
// holds their values as before.
type keptKinds struct {
	path    string
	overlay string
	list    [][]byte // kind-blocks, signed
}

// kindsFile is the file. A Kind says nothing in another overlay.
type kindsFile struct {
	Overlay string   `json:"overlay"`
	Kinds   []string `json:"kinds"`
}

// openKinds reads the file. One that is damaged is as good as none: others tell what it has held.
func openKinds(path, overlay string) (*keptKinds, error) {
	k := &keptKinds{path: path, overlay: overlay}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil || info.Size() > maxKindsFile {
		return k, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f kindsFile
	if json.Unmarshal(b, &f) != nil || !strings.EqualFold(f.Overlay, overlay) {
		return k, nil
	}
	for _, block := range f.Kinds {
		k.list = append(k.list, []byte(block))
	}
	return k, nil
}

// keepKinds writes the file anew.
func (g *Gateway) keepKinds(kinds [][]byte) {
	f := kindsFile{Overlay: g.kinds.overlay}
	for _, block := range kinds {
		f.Kinds = append(f.Kinds, string(block))
	}
	if err := saveJSON(g.kinds.path, f); err != nil {
		g.o.Log.Error().Str("component", "config").Str("file", g.kinds.path).Err(err).Msg("the new Kinds are in force, but were not written")
	}
}
