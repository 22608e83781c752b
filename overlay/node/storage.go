package node

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// answerStore carries out a StoreReq (RFC 6940 §7.4.1).
func (n *Node) answerStore(in *inbound, req *wire.StoreReq) {
	at, ok := chord.PointOfResource(req.Resource)
	if !ok {
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "Resource-ID is not of 128 bits"))
		return
	}
	original := req.Replica == 0
	if reason := n.mayStore(in, at, original); reason != "" {
		n.event(EventStoreRefused, in.sender, reason)
		n.forbid(in, reason)
		return
	}
	ans, e := n.put(in, at, original)
	if e != nil {
		n.event(EventStoreRefused, in.sender, store.RefusalReason(e))
		n.refuse(in, e)
		return
	}
	if original && n.ahead(req) {
		n.event(EventStoreAhead, in.sender, "")
	}
	if original {
		// RFC 6940 §7.4.1.2: "a list of the peers where the data will be replicated by the node processing the request".
		for i := range ans.Kinds {
			ans.Kinds[i].Replicas = n.ring.Replicas()
		}
	}
	whole := n.store.Held(req.Resource) == valuesOf(req)
	n.stored(req.Resource, in.sender, original, whole)
	if original {
		n.acknowledge(in, req.Resource, ans)
	} else {
		if whole {
			n.confirm(req.Resource, in.sender)
		}
		n.respond(in, ans, nil)
	}
	n.joinProgress()
}

// put stores. A copy for a Resource-ID of ours may come from anybody: see forOwner.
func (n *Node) put(in *inbound, at chord.Point, original bool) (*wire.StoreAns, *wire.Error) {
	if !original && n.member() && n.responsible(at) {
		return n.store.TakeBack(n.now, in.v)
	}
	return n.store.Put(n.now, in.v, original)
}

// ahead reports whether some value of req was stored, by its storage time, long after now. It is good nevertheless: only the
// order of the times of one owner matters (RFC 6940 §7.4.1.1). But its owner can not replace it with a clock that is right, so that
// somebody has to know.
func (n *Node) ahead(req *wire.StoreReq) bool {
	limit := uint64(n.now.Add(storageTimeAhead).UnixMilli())
	for i := range req.Kinds {
		if slices.ContainsFunc(req.Kinds[i].Values, func(d wire.StoredData) bool { return d.StorageTime > limit }) {
			return true
		}
	}
	return false
}

func valuesOf(req *wire.StoreReq) (values int) {
	for i := range req.Kinds {
		values += len(req.Kinds[i].Values)
	}
	return values
}

// mayStore says why not, or nothing.
func (n *Node) mayStore(in *inbound, at chord.Point, original bool) string {
	switch {
	case original && (!n.member() || !n.responsible(at)):
		// RFC 6940 §7.4.1.1: "For original (non-replica) stores, the peer MUST check [...] that it is responsible".
		return "not_responsible"
	case original:
		return ""
	case !n.member():
		// A joining node is filled by its admitting peer (RFC 6940 §10.5).
		if n.joining == nil || n.joining.ap != in.sender {
			return "implausible_sender"
		}
		return ""
	case n.leaving != nil:
		return "leaving"
	case n.forOwner(in, at):
		return ""
	}
	// RFC 6940 §10.4: "The peers receiving these SHOULD check that they came from an appropriate predecessor in their
	// Neighbor Table and that they are in a range that this predecessor is responsible for." The data of a joining node
	// comes from its successor instead; so sender and receiver are both to be the owner or among the three peers after
	// it.
	if in.sender != n.c.Self && n.ring.Rank(at, in.sender) > chord.Neighbors || n.ring.Rank(at, n.c.Self) > chord.Neighbors {
		return "implausible_sender"
	}
	return ""
}

// answerFetch answers a FetchReq, also for values of which this peer holds a copy when it is addressed itself: how
// replicas are checked (RFC 6940 §7.4.1.2).
func (n *Node) answerFetch(in *inbound, req *wire.FetchReq) {
	if n.awaitsStore(in, req.Resource) {
		return
	}
	ans, certs, e := n.store.Fetch(n.now, req)
	if e != nil {
		n.refuse(in, e)
		return
	}
	n.respond(in, ans, certs)
}

func (n *Node) answerStat(in *inbound, req *wire.StatReq) {
	ans, e := n.store.Stat(n.now, req)
	if e != nil {
		n.refuse(in, e)
		return
	}
	n.respond(in, ans, nil)
}

// answerFind answers a FindReq. RFC 6940 §7.4.4.1: "If a peer is not responsible for the specified Resource-ID, it
// SHOULD return an Error_Not_Found error response."
func (n *Node) answerFind(in *inbound, req *wire.FindReq) {
	own := func(r wire.ResourceID) bool { return n.Responsible(wire.ToResource(r)) }
	if !own(req.Resource) {
		n.refuse(in, wire.NewError(wire.ErrorNotFound, "not responsible"))
		return
	}
	if rate := max(1, findWork/(1+n.store.Len())); !n.finds.take(n.now, rate, burst*rate) {
		n.drop(in.sender, DropOverload)
		return
	}
	ans, e := n.store.Find(n.now, req, own)
	if e != nil {
		n.refuse(in, e)
		return
	}
	n.respond(in, ans, nil)
}

// Probe information types (RFC 6940 §6.4.2.5.2).
const (
	probeResponsibleSet = 1
	probeNumResources   = 2
	probeUptime         = 3
)

// answerProbe answers what was asked and is known, in the order of the request (RFC 6940 §6.4.2.5).
func (n *Node) answerProbe(in *inbound, req *wire.ProbeReq) {
	if !n.exchange(in) {
		return
	}
	ans := &wire.ProbeAns{}
	for _, t := range req.Requested {
		switch t {
		case probeResponsibleSet: // "the fraction of the overlay for which [...] responsible in parts per billion"
			share := 0.0
			if n.member() {
				share = n.ring.Share()
			}
			ans.Info = append(ans.Info, wire.ProbeInfo{Type: t, Value: uint32(share * 1e9)})
		case probeNumResources:
			ans.Info = append(ans.Info, wire.ProbeInfo{Type: t, Value: uint32(n.store.Len())})
		case probeUptime:
			ans.Info = append(ans.Info, wire.ProbeInfo{Type: t, Value: n.uptime()})
		}
	}
	n.respond(in, ans, nil)
}

// uptime is in seconds since the node started.
func (n *Node) uptime() uint32 { return uint32(n.now.Sub(n.started).Seconds()) }

// answerRouteQuery names "the next peer to which the responding peer would have routed the request" (RFC 6940 §10.8).
func (n *Node) answerRouteQuery(in *inbound, req *wire.RouteQueryReq) {
	next := n.c.Self
	if c := n.nextLink(req.Destination); c != nil {
		next = c.node
	}
	n.respond(in, &wire.RouteQueryAns{NextPeer: next}, nil)
	if p := n.peers[in.sender]; p != nil && req.SendUpdate && n.member() {
		// RFC 6940 §10.8: "the responder SHOULD initiate an Update immediately after sending the RouteQueryAns".
		n.update(p, wire.ChordFull)
	}
}
