package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// Limits of what is remembered of other peers.
const (
	maxKnown      = 10 // RFC 6940 §11.4: "The suggested number of peers to cache is 10."
	maxKnownFile  = 16 << 10
	rememberEvery = 5 * time.Second
)

// knownPeers is the list of peers that this node was linked with, in a file: through them it finds back into the overlay when the
// bootstrap nodes are gone. RFC 6940 §11.4: "Peers that are not directly connected MUST NOT be cached."
type knownPeers struct {
	path    string
	overlay string
	list    []string // "ip:port", those that there were links with last first
}

// knownFile is the file. An address says nothing in another overlay.
type knownFile struct {
	Overlay string   `json:"overlay"`
	Peers   []string `json:"peers"`
}

// openKnown reads the file. One that is damaged is as good as none.
func openKnown(path, overlay string) (*knownPeers, error) {
	k := &knownPeers{path: path, overlay: overlay}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil || info.Size() > maxKnownFile {
		return k, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f knownFile
	if json.Unmarshal(b, &f) != nil || f.Overlay != overlay {
		return k, nil
	}
	for _, a := range f.Peers[:min(len(f.Peers), maxKnown)] {
		if ap, err := netip.ParseAddrPort(a); err == nil && ap.Port() != 0 {
			k.list = append(k.list, a)
		}
	}
	return k, nil
}

// meet takes the links that stand: those with peers whose address is known come first, earlier ones follow while there is room. It
// reports whether the list is another one now.
func (k *knownPeers) meet(links []overlay.LinkInfo) bool {
	var next []string
	add := func(a string) {
		if a != "" && len(next) < maxKnown && !slices.Contains(next, a) {
			next = append(next, a)
		}
	}
	for _, l := range links {
		if l.Ready {
			add(l.Listens)
		}
	}
	slices.Sort(next) // not by age: that would write the file at each new link
	for _, a := range k.list {
		add(a)
	}
	if slices.Equal(next, k.list) {
		return false
	}
	k.list = next
	return true
}

// save writes the file.
func (k *knownPeers) save() error { return saveJSON(k.path, knownFile{k.overlay, k.list}) }

// rememberPeers keeps the list of peers until ctx ends.
func (g *Gateway) rememberPeers(ctx context.Context) {
	t := time.NewTicker(rememberEvery)
	defer t.Stop()
	failed := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if !g.known.meet(g.peer.Links()) {
			continue
		}
		if err := g.known.save(); err != nil && !failed {
			failed = true
			g.o.Log.Warn().Str("component", "gateway").Str("file", g.known.path).Err(err).Msg("peers for the next start are not remembered")
		}
	}
}
