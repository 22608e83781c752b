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
	listen := make([][]wire.IceCandidate, len(hosts))
	for i, h := range hosts {
		listen[i] = h.Candidates()
	}
	links := make([][]node.BornLink, len(hosts)) // by place in the ring
	for i, near := range w.tables(hosts) {
		h := hosts[i]
		for _, k := range near {
			if int(k) < i {
				continue // it has made the link
			}
			p := w.join(h, hosts[k])
			links[i] = append(links[i], node.BornLink{ID: p.ends[0].id, Peer: hosts[k].ID, Candidates: listen[k]})
			links[k] = append(links[k], node.BornLink{ID: p.ends[1].id, Peer: h.ID, Candidates: listen[i]})
		}
	}
	for i, h := range hosts {
		for k := range links[i] {
			l := &links[i][k]
			l.Predecessors, l.Successors = ends(hosts, h, l.Peer)
		}
		h.input("born", func() { h.Node.Born(h.now(), links[i]) })
		links[i] = nil
	}
}

// ends are the first and the last of the lists of a peer of h.
func ends(ring []*Host, h *Host, id wire.NodeID) (predecessors, successors []wire.NodeID) {
	k, _ := slices.BinarySearchFunc(ring, id, func(h *Host, id wire.NodeID) int { return h.ID.Compare(id) })
	n := len(ring)
	far := min(chord.New(id).Widen(h.w.c.Links).Lists(), n-1)
	at := func(d int) wire.NodeID { return ring[(k+n+d)%n].ID }
	return []wire.NodeID{at(-1), at(-far)}, []wire.NodeID{at(far)}
}

// bornTries is how often the hosts of a ring that has settled have tried to fill a gap: with the pauses of a node, in an hour.
const bornTries = 6

// tables lists those with whom each host of a ring, in order of Node-IDs, has links.
func (w *World) tables(ring []*Host) [][]int32 {
	n := len(ring)
	t := make([][]int32, n)
	link := func(i, k int) {
		if at, ok := slices.BinarySearch(t[i], int32(k)); !ok && i != k {
			t[i] = slices.Insert(t[i], at, int32(k))
			at, _ = slices.BinarySearch(t[k], int32(i))
			t[k] = slices.Insert(t[k], at, int32(i))
		}
	}
	near := chord.New(ring[0].ID).Widen(w.c.Links).Lists()
	for i := range ring {
		for d := 1; d <= min(near, n-1); d++ {
			link(i, (i+d)%n)
		}
	}
	tries := bornTries // who was refused has asked others later
	if w.c.Links < 0 {
		tries = 1 // nobody is refused
	}
	for range tries {
		for _, i := range w.rand.Perm(n) {
			w.fingers(ring, t, i, link)
		}
	}
	return t
}

// fingers has the i'th host of a ring look for the links that it misses.
func (w *World) fingers(ring []*Host, t [][]int32, i int, link func(i, k int)) {
	r := chord.New(ring[i].ID).Widen(w.c.Links)
	for _, k := range t[i] {
		r.Add(ring[k].ID)
	}
	room := func(k int) bool { return w.c.Links < 0 || len(t[k]) < w.c.links() }
	add := func(k int) {
		if room(i) && room(k) && r.Add(ring[k].ID) {
			link(i, k)
		}
	}
	if r.Mesh() {
		for k := range ring {
			add(k)
		}
		return
	}
	for _, f := range r.Missing() {
		add(ownerOf(ring, r.FingerStart(f)))
	}
	for _, g := range r.Gaps() {
		k := ownerOf(ring, g.Start.Add(g.Limit.Scale(w.rand.Float64())))
		if !r.Enough(g, 0) && !r.Full(len(t[k])-r.Len()) {
			add(k)
		}
	}
}

// ownerOf is the index, in a ring in order of Node-IDs, of the host that is responsible for a position.
func ownerOf(ring []*Host, at chord.Point) int {
	id, _ := wire.NodeIDFromBytes([]byte(at.Resource()))
	k, _ := slices.BinarySearchFunc(ring, id, func(h *Host, id wire.NodeID) int { return h.ID.Compare(id) })
	return k % len(ring)
}
