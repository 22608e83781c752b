package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// SessionID names one use of ICE. The node allots them, from 1, never twice.
type SessionID uint64

// Offer is what one side of an Attach or AppAttach tells the other (RFC 6940 §6.5.1.7). RFC 6940 §6.5.1.12: "An agent MUST NOT
// send a subsequent offer or answer": there is one of each.
type Offer struct {
	Ufrag, Password string
	Candidates      []wire.IceCandidate
}

// Gather asks the driver to gather candidates for a session (RFC 6940 §6.5.1.5); Gathered is owed for it.
type Gather struct {
	Session SessionID
	// Controlling is the role (RFC 6940 §6.5.1.9).
	Controlling bool
	// App is set for a connection of an application, which does not share a socket with links.
	App bool
}

// Await asks the driver to do the connectivity checks of a session whose offer has been answered and then to be the DTLS
// server, for a client whose certificate holds Peer (RFC 6940 §6.5.1.13). LinkUp, with no Dial, or AwaitFailed is owed for it.
type Await struct {
	Session SessionID
	Peer    wire.NodeID
	Answer  Offer
}

// iceOnly is what candidates of an overlay with ICE are.
var iceOnly = []wire.LinkType{wire.LinkDTLSUDPSR}

// gather has candidates gathered. done is called once, not within gather; the session is its user's unless err is set.
func (n *Node) gather(g Gather, done func(SessionID, Offer, error)) SessionID {
	if len(n.gathering) >= maxGathering {
		n.after(func() { done(0, Offer{}, ErrOverload) })
		return 0
	}
	n.lastSession++
	g.Session = n.lastSession
	n.gathering[g.Session] = done
	n.out.Gather = append(n.out.Gather, g)
	return g.Session
}

// Gathered answers a Gather effect. With err there is no session; the offer is the node's from now on.
func (n *Node) Gathered(now time.Time, id SessionID, offer Offer, err error) {
	done := n.gathering[id]
	delete(n.gathering, id)
	if !n.begin(now) || done == nil {
		n.releaseSession(id)
		return
	}
	done(id, offer, err)
	n.settle()
}

// releaseSession ends a session that is not used. It must not be one of which an Await or Dial effect told.
func (n *Node) releaseSession(id SessionID) {
	if id != 0 {
		n.out.Release = append(n.out.Release, id)
	}
}

// offerAttach gathers candidates and then sends the Attach a. RFC 6940 §6.5.1.9: "the offerer (the entity sending the Attach
// request) will always be controlling".
func (n *Node) offerAttach(a *attach, dest wire.DestinationList, link LinkID) {
	n.gather(Gather{Controlling: true}, func(id SessionID, offer Offer, err error) {
		switch {
		case err != nil && a.stage == asking:
			n.endAttach(a, err)
		case err != nil:
		case a.stage != asking || a.over:
			n.releaseSession(id)
		default:
			a.session = id
			n.sendAttach(a, dest, link, n.attachBody(wire.RolePassive, offer))
		}
	})
}

// answerOffer gathers candidates, answers an AttachReq, and connects. RFC 6940 §6.5.1.9: "the answerer (the entity sending
// the Attach response) will always be controlled".
func (n *Node) answerOffer(in *inbound, req *wire.AttachReq) {
	d := n.newDial(in.sender, req.SendUpdate)
	n.gather(Gather{}, func(id SessionID, offer Offer, err error) {
		if err != nil {
			delete(n.dials, d.id)
			n.dialFailed(d, err)
			n.forbid(in, "no candidates")
			return
		}
		n.respond(in, &wire.AttachAns{Attach: n.attachBody(wire.RoleActive, offer)}, nil)
		n.out.Dial = append(n.out.Dial, Dial{Dial: d.id, Peer: d.node, Session: id,
			Offer: Offer{req.Ufrag, req.Password, req.Candidates}})
	})
}

// answerAppOffer is answerOffer for an AppAttachReq.
func (n *Node) answerAppOffer(in *inbound, req *wire.AppAttachReq) {
	n.gather(Gather{App: true}, func(id SessionID, offer Offer, err error) {
		if err != nil {
			n.forbid(in, "no candidates")
			return
		}
		n.respond(in, &wire.AppAttachAns{AppAttach: n.appAttachBody(req.Application, wire.RoleActive, offer)}, nil)
		n.out.Apps = append(n.out.Apps, AppDial{Peer: in.sender, Application: req.Application, Session: id,
			Offer: Offer{req.Ufrag, req.Password, req.Candidates}})
	})
}

// await goes on with the answer to an Attach. It reports false when the answer offers nothing.
func (n *Node) await(a *attach, ans *wire.AttachAns) bool {
	switch {
	case a.session == 0:
		return true // without ICE
	case n.dialable(ans.Candidates, iceOnly):
		n.out.Await = append(n.out.Await, Await{a.session, a.node, Offer{ans.Ufrag, ans.Password, ans.Candidates}})
		a.awaited, a.session = a.session, 0
	case n.peers[a.node] != nil && n.peers[a.node].links != nil:
		// There is a link already, and the other side wants no other one: it may take the one that we opened to a
		// bootstrap node for that of an Attach of its own.
		n.releaseSession(a.session)
		a.session = 0
	default:
		return false
	}
	return true
}

// AwaitFailed reports that an Await effect led to nothing.
func (n *Node) AwaitFailed(now time.Time, id SessionID, err error) {
	if !n.begin(now) {
		return
	}
	for _, a := range n.attaches {
		if a.awaited == id {
			n.endAttach(a, ErrLinkDown)
			break
		}
	}
	n.settle()
}

// Renew asks for another link in the place of one that may not carry much more, by an Attach that leaves over the link itself.
// RFC 6940 §6.5.1.12 has no restart of ICE. Nothing follows when an Attach is under way.
func (n *Node) Renew(now time.Time, id LinkID) {
	c := n.conns[id]
	if !n.begin(now) || c == nil {
		return
	}
	n.attachTo(toNode(c.node), id, func(wire.NodeID, error) {})
	n.settle()
}
