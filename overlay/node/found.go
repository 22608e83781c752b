package node

import "slices"

// OpFound adds addresses, "host:port", of nodes that were found while this one runs: on the local network. They are bootstrap
// addresses like the others, and the latest of maxFound. A node that looks for a way into the ring tries them at once. Done has no Err.
type OpFound struct{ Addresses []string }

func (OpFound) isOp() {}

func (n *Node) noteFound(addresses []string) {
	var fresh []string
	for _, a := range addresses[:min(len(addresses), maxFound)] {
		if !slices.Contains(n.found, a) && !slices.Contains(fresh, a) {
			fresh = append(fresh, a)
		}
	}
	n.found = append(n.found, fresh...)
	n.found = n.found[max(0, len(n.found)-maxFound):]
	j := n.joining
	if j == nil || len(fresh) == 0 {
		return
	}
	j.addresses = slices.Insert(j.addresses, min(j.next, len(j.addresses)), fresh...)
	if over := len(j.addresses) - maxBootstrap - maxKnown - maxFound; over > 0 {
		j.addresses = j.addresses[:len(j.addresses)-over]
	}
	if j.phase == phasePause {
		j.pause = 0
		n.joinTry()
	}
}
