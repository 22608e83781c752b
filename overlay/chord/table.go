package chord

import (
	"math"
	"math/bits"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Widen has the peer keep more links than RFC 6940 §10.7 asks for, up to links in all: 0 stands for DefaultLinks, and what is
// below it for the minimum. A fifth of them are successors, and a fifth predecessors. It returns r.
//
// In a ring of no more than links peers everybody is worth a link. In a larger one there are three kinds of peers that are:
// the near ones; one in each of many equal slots of the ring; and some between the near ones and the first slot. Since a
// link serves both its ends, and each peer knows how far the lists of the others reach, a message is with somebody who
// knows the owner after one hop in most cases.
func (r *Ring) Widen(links int) *Ring {
	if links == 0 {
		links = DefaultLinks
	}
	r.links = max(0, min(links, MaxLinks))
	r.near = max(Neighbors, min(r.links/5, MaxNear))
	return r
}

// Resize sets the lengths of the lists and the number of fingers of a peer that is tuned by e, and keeps no other links (RFC 7363
// §5.4: "This mechanism is used instead of the one specified by chord-reload").
func (r *Ring) Resize(e Estimates) { r.links, r.near, r.goal = 0, e.ListSize(), e.FingerSize() }

// Goal is the number of fingers up to which the peer looks for more: FingerGoal, or what Resize says.
func (r *Ring) Goal() int { return r.goal }

// Lists is the length of the successor list and of the predecessor list, in a ring that is large enough.
func (r *Ring) Lists() int { return r.near }

// Near reports whether a peer belongs in the successor list or the predecessor list, be it in it or not.
func (r *Ring) Near(id wire.NodeID) bool { return r.within(id, r.near) }

// Fitting are those of the list that would be in the successor list or the predecessor list if all of the list were known.
func (r *Ring) Fitting(list []wire.NodeID) (out []wire.NodeID) {
	all := Ring{self: r.self, at: r.at, near: r.near, peers: slices.Clone(r.peers)}
	for _, id := range list {
		all.Add(id)
	}
	for _, id := range list {
		if all.Near(id) {
			out = append(out, id)
		}
	}
	return out
}

// mesh reports whether the ring is small enough for a link with everybody.
func (r *Ring) mesh(size int) bool { return r.links > 0 && size <= r.links }

// slot is a part of the ring in which one peer is worth a link: an interval of distances from this peer, of which the
// upper 64 bits are enough.
type slot struct {
	start, width uint64
	middle       bool // it lies within the first of the far slots
}

// middleCost is what a middle link costs, in far ones: it is of use to one of its ends, and one of a far slot to both, though more of those
// than one come to lie in some slots. farShare is the part of the links besides the near ones that slots are laid out for: as the
// others look for theirs, links come where this peer needs none. Both were found by trying: see TestHopsOfWideTables.
const (
	middleCost = 1.4
	farShare   = 0.7
)

// kinds is how many far slots there are, and how many middle ones at most. A message gets to within the width of a far slot before its
// owner with the first hop. Of that the lists of the near ones of one peer cover so much that tiles of them make the ring, so there are to
// be tiles/far middle links. The more far slots the better, as long as far + middleCost*tiles/far is within what there is; when that can
// not be, the first slot is covered in part.
func (r *Ring) kinds(size int) (far, middle int) {
	budget := float64(r.links-2*r.near) * farShare
	tiles := float64(size) / float64(2*r.near)
	x := (budget + math.Sqrt(max(0, budget*budget-4*middleCost*tiles))) / 2
	return max(2, int(x)), int((budget - x) / middleCost)
}

// slots are the intervals, those that help most first.
func (r *Ring) slots() []slot {
	size := r.LaidOut()
	if r.links <= 2*r.near || r.mesh(size) {
		return nil
	}
	far, middle := r.kinds(size)
	out := make([]slot, 0, far+middle)
	width, _ := bits.Div64(1, 0, uint64(far))
	reach := uint64(float64(r.near) / float64(size) * (1 << 63) * 4) // of the lists of one peer, to both sides
	for j := 1; reach < width && j <= middle && uint64(j)*reach < width; j++ {
		out = append(out, slot{uint64(j) * reach, reach / 2, true})
	}
	for j := 1; j < far; j++ {
		out = append(out, slot{uint64(j) * width, width, false})
	}
	return out
}

// LaidOut is the number of peers that the slots are laid out for: a size estimate that was right to a quarter when it was last asked for.
// What was looked for in vain in one part of the ring is so not sought in another each time that a neighbour comes or goes.
func (r *Ring) LaidOut() int {
	if size := r.SizeEstimate(); size > r.laid*5/4 || r.laid > size*5/4 || r.mesh(size) != r.mesh(r.laid) {
		r.laid = size
	}
	return r.laid
}

// Gap is an interval of the ring in which a peer is worth a link and none is known. Limit is its length.
type Gap struct {
	Start, Limit Point
	middle       bool
}

// Gaps lists them, those that help most first, for a ring of Widen.
func (r *Ring) Gaps() []Gap {
	var out []Gap
	for _, s := range r.slots() {
		if !r.filled(s) {
			out = append(out, Gap{r.at.Add(Point{hi: s.start}), Point{hi: s.width}, s.middle})
		}
	}
	return out
}

func (r *Ring) filled(s slot) bool {
	k := r.find(Point{hi: s.start})
	return k < len(r.peers) && r.peers[k].dist.hi-s.start < s.width
}

// Mesh reports whether everybody is worth a link, because the ring is small.
func (r *Ring) Mesh() bool { return r.mesh(r.SizeEstimate()) }

// Spare is the peer whose link is worth least, when there are more links than Widen allows; more are those with others than the
// peers of the table. The near ones, and twice as many again, are never spared: others may need them.
func (r *Ring) Spare(more int) (id wire.NodeID, ok bool) {
	if r.links == 0 || len(r.peers)+more <= r.room(31) {
		return wire.NodeID{}, false
	}
	return r.least(2 * r.near)
}

// Least is the peer whose link is worth least, however many there are; it ok is false when there are
// none but the near ones.
func (r *Ring) Least() (id wire.NodeID, ok bool) {
	if id, ok = r.least(2 * r.near); ok {
		return id, ok
	}
	return r.least(r.near)
}

// least is the peer whose two neighbours in the table lie closest together, of those that are not among the first or last keep.
func (r *Ring) least(keep int) (id wire.NodeID, ok bool) {
	best := Point{^uint64(0), ^uint64(0)}
	for i := max(keep, 1); i < len(r.peers)-max(keep, 1); i++ {
		if gap := r.peers[i+1].dist.Sub(r.peers[i-1].dist); gap.Less(best) {
			id, ok, best = r.peers[i].id, true, gap
		}
	}
	return id, ok
}

// Enough reports whether there are so many links that nobody need be looked for in a gap: for a far slot somewhat fewer than others are
// accepted, and for a middle one, which few peers fit in, as many as there may be, since there are others to spare. more are links with
// others than the peers of the table.
func (r *Ring) Enough(g Gap, more int) bool {
	parts := 27
	if g.middle {
		parts = 31
	}
	return r.links > 0 && len(r.peers)+more >= r.links*parts/32
}

// Full reports whether there are as many links as a peer accepts, except for those that must not be refused: new neighbours.
func (r *Ring) Full(more int) bool { return r.links > 0 && len(r.peers)+more >= r.room(30) }

// Limit is how many links a peer has at most, whatever they are for; 0: Widen says nothing.
func (r *Ring) Limit() int { return r.links }

// room is so many parts of 32 of the links that Widen allows, or all in a mesh.
func (r *Ring) room(parts int) int {
	if r.Mesh() {
		return r.links
	}
	return r.links * parts / 32
}

// Place is how many peers are nearer to this one than id, on the side where there are fewer: 0 for the successor and the
// predecessor.
func (r *Ring) Place(id wire.NodeID) int {
	i := r.find(PointOf(id).Sub(r.at))
	return min(i, max(0, len(r.peers)-1-i))
}
