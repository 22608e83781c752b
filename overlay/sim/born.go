package sim

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Born makes all hosts, none of which has started, peers of one ring that has settled: with the neighbours and the fingers that
// they would have found, and without a message.
func (w *World) Born() {
	hosts := slices.Clone(w.hosts)
	slices.SortFunc(hosts, func(a, b *Host) int { return a.ID.Compare(b.ID) })
	for _, h := range w.hosts {
		h.start(false, h.bootstrap(w.hosts))
	}
	links := make([][]node.BornLink, len(hosts)) // by index of the host
	for i, h := range hosts {
		for _, k := range tables(hosts, i) {
			far := hosts[k]
			if slices.ContainsFunc(links[far.Index], func(l node.BornLink) bool { return l.Peer == h.ID }) {
				continue // it wanted the link as well
			}
			p := w.join(h, far)
			links[h.Index] = append(links[h.Index], node.BornLink{ID: p.ends[0].id, Peer: far.ID})
			links[far.Index] = append(links[far.Index], node.BornLink{ID: p.ends[1].id, Peer: h.ID})
		}
	}
	for _, h := range w.hosts {
		h.input("born", func() { h.Node.Born(h.now(), links[h.Index]) })
	}
}

// tables lists those with whom the i'th host of a ring, in order of Node-IDs, has links of its own making.
func tables(ring []*Host, i int) (out []int) {
	n := len(ring)
	r := chord.New(ring[i].ID)
	add := func(k int) {
		if k != i && r.Add(ring[k].ID) {
			out = append(out, k)
		}
	}
	for d := 1; d <= min(chord.Neighbors, n-1); d++ {
		add((i + d) % n)
		add((i + n - d) % n)
	}
	for _, f := range r.Missing() {
		add(ownerOf(ring, r.FingerStart(f)))
	}
	return out
}

// ownerOf is the index, in a ring in order of Node-IDs, of the host that is responsible for a position.
func ownerOf(ring []*Host, at chord.Point) int {
	id, _ := wire.NodeIDFromBytes([]byte(at.Resource()))
	k, _ := slices.BinarySearchFunc(ring, id, func(h *Host, id wire.NodeID) int { return h.ID.Compare(id) })
	return k % len(ring)
}
