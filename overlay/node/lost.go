package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// lostPeer is one that went without a word, and where it was to be found. It may be dead; or it is in another part of the
// network, in a ring that we are not in, and knows no more of our bootstrap nodes than we do of its.
type lostPeer struct {
	id      wire.NodeID
	address string
	at      time.Time // when it was lost
}

// rememberLost notes where a peer was to be found, if it was near or there are few: in a large ring those near it look for it.
func (n *Node) rememberLost(p *peer) {
	if len(p.candidates) == 0 || n.bad(p.id) || n.isBanned(p.id) || n.ring.Len() > closePlaces && n.ring.Place(p.id) >= closePlaces {
		return
	}
	i := slices.IndexFunc(p.candidates, func(c wire.IceCandidate) bool {
		return c.Type == wire.CandidateHost && c.Address.IsValid()
	})
	if i < 0 {
		return
	}
	n.forgetLost(p.id)
	l := lostPeer{p.id, p.candidates[i].Address.String(), n.now}
	if len(n.lost) < maxLost {
		n.lost = append(n.lost, l)
	} else {
		n.lost[n.c.Rand.IntN(len(n.lost))] = l
	}
	if n.state == Joined {
		n.timers[timerProbe] = earlier(n.timers[timerProbe], n.now.Add(n.jitter(lostInterval)))
	}
}

// forgetLost is for a peer that has come back; known says that it was remembered.
func (n *Node) forgetLost(id wire.NodeID) (known bool) {
	before := len(n.lost)
	n.lost = slices.DeleteFunc(n.lost, func(l lostPeer) bool { return l.id == id })
	return len(n.lost) < before
}

// lostAddresses are where lost peers may be found, the latest first.
func (n *Node) lostAddresses() (list []string) {
	n.lost = slices.DeleteFunc(n.lost, func(l lostPeer) bool { return n.now.Sub(l.at) > lostTime })
	for _, l := range slices.Backward(n.lost) {
		list = append(list, l.address)
	}
	return list
}

// probeAddress draws where to look for another ring this time, and says how soon to look again.
func (n *Node) probeAddress() (address string, again time.Duration) {
	list, again := n.lostAddresses(), n.c.ProbeInterval
	if slices.ContainsFunc(n.lost, func(l lostPeer) bool { return n.now.Sub(l.at) <= lostHaste }) {
		again = min(again, lostInterval)
	}
	if b := n.bootstrapAddresses(); len(b) > 0 { // they are in random order
		list = append(list, b[0])
	}
	if len(list) == 0 {
		return "", again
	}
	return list[n.c.Rand.IntN(len(list))], again
}
