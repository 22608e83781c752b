package redir

import (
	"encoding/binary"
	"math/bits"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Tree is the tree of one service. It divides the Node-IDs among the nodes of each level, and those of each node among
// its intervals (RFC 7374 §3). It is a value; its methods are pure.
type Tree struct {
	Namespace string
	Branching int // the branching factor b, at least 2: intervals of a node, and its children
}

// Place is one node of a tree: the level, counted from the root, and the node's position from the left.
type Place struct{ Level, Node uint16 }

// Resource is where the tree node stands in the overlay.
func (t Tree) Resource(p Place) wire.ResourceID {
	return wire.RedirResource(t.Namespace, p.Level, p.Node)
}

// MaxLevel is the last level whose nodes can all be numbered: RedirServiceProvider.node has 16 bits.
func (t Tree) MaxLevel() uint16 {
	level, nodes := uint16(0), t.branching()
	for nodes <= maxNodes {
		level++
		nodes *= t.branching()
	}
	return level
}

// At is the node of a level that is responsible for id. ok is false when there is no such level.
func (t Tree) At(level uint16, id wire.NodeID) (p Place, ok bool) {
	nodes, ok := t.nodes(level)
	return Place{level, uint16(part(id, nodes))}, ok
}

// interval is the number of the interval I(level, id), counted over the whole level.
//
// RFC 7374 §3: "Each node (level,j) in the ReDiR tree contains b intervals of the DHT's identifier space as follows:
// [2^numBitsInNodeId*b^(-level)*(j+(b'/b)), 2^numBitsInNodeId*b^(-level)*(j+((b'+1)/b))), for 0<=b'<b".
// So interval j*b+b' holds each id for which floor(id * b^(level+1) / 2^numBitsInNodeId) is that number.
func (t Tree) interval(level uint16, id wire.NodeID) uint64 {
	nodes, _ := t.nodes(level)
	return part(id, nodes*t.branching())
}

// nodes is how many nodes a level has room for; false: more than can be numbered.
func (t Tree) nodes(level uint16) (n uint64, ok bool) {
	n = 1
	for range level {
		if n *= t.branching(); n > maxNodes {
			return maxNodes, false
		}
	}
	return n, true
}

// branching is b between what makes a tree and what can be counted.
func (t Tree) branching() uint64 { return uint64(min(max(t.Branching, MinBranching), MaxBranching)) }

// part is floor(id * n / 2^128), exactly: which of n equal parts of the ring id falls into. n is at most 2^32.
func part(id wire.NodeID, n uint64) uint64 {
	octets := id.Array16()
	low, _ := bits.Mul64(binary.BigEndian.Uint64(octets[8:]), n)
	high, mid := bits.Mul64(binary.BigEndian.Uint64(octets[:8]), n)
	_, carry := bits.Add64(low, mid, 0)
	return high + carry
}
