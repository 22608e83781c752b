package node

import (
	"errors"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// attach is an Attach of ours (RFC 6940 §6.5.1). It ends when there is a link with the node that answered.
type attach struct {
	request *request
	node    wire.NodeID // to whom it goes or, once it is answered, who answered; zero before for a resource
	stage   attachStage
	update  bool // the answer asks for our Update
	// candidates are those of the answer: where the node listens.
	candidates []wire.IceCandidate
	expires    time.Time // from stage answered on
	session    SessionID // that an answer is expected for; zero without ICE, or when it is somebody else's
	awaited    SessionID // that the driver connects
	over       bool
	done       func(node wire.NodeID, err error)
}

type attachStage uint8

const (
	asking   attachStage = iota // with ICE, candidates are gathered first: request is nil then
	answered                    // the other side dials
	yielded                     // the Attaches crossed and theirs goes on (RFC 6940 §6.5.1.2)
)

func (n *Node) advance(a *attach, s attachStage) {
	wait := linkWait
	if !n.c.Overlay.NoICE {
		wait = iceLinkWait
	}
	a.stage, a.expires = s, n.now.Add(wait)
}

// cede gives up an Attach of ours in favour of one of the other side.
func (n *Node) cede(a *attach) {
	n.forget(a.request)
	n.releaseSession(a.session)
	a.session = 0
	n.advance(a, yielded)
}

// dial is a Dial effect that is being carried out.
type dial struct {
	id        DialID
	bootstrap bool
	probe     string      // address that is dialled to look for a partition
	node      wire.NodeID // whom an answered Attach came from
	update    bool        // it wants our Update
	// candidates are those of its Attach: where it listens.
	candidates []wire.IceCandidate
	whole      bool // with the fingers
}

const attachTexts = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/" // ice-char (RFC 5245 §15.1)

// randomText is for ICE credentials, which mean nothing without ICE but are part of the structure.
func (n *Node) randomText(length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = attachTexts[n.c.Rand.IntN(len(attachTexts))]
	}
	return string(b)
}

// listening is what a node says that uses no ICE, or makes no link.
func (n *Node) listening(candidates []wire.IceCandidate) Offer {
	return Offer{n.randomText(ufragLen), n.randomText(passwordLen), candidates}
}

func (n *Node) attachBody(role string, o Offer) wire.Attach {
	return wire.Attach{Ufrag: o.Ufrag, Password: o.Password, Role: role, Candidates: o.Candidates, SendUpdate: true}
}

func (n *Node) appAttachBody(app wire.ApplicationID, role string, o Offer) wire.AppAttach {
	return wire.AppAttach{Ufrag: o.Ufrag, Password: o.Password, Application: app, Role: role, Candidates: o.Candidates}
}

// attachTo asks the last node of dest for a link. done is called once, not within attachTo. It reports false, and does
// nothing, when there is one under way already or there are too many.
func (n *Node) attachTo(dest wire.DestinationList, link LinkID, done func(wire.NodeID, error)) bool {
	last, _ := dest.Last()
	if len(n.attaches) >= maxAttaches || last.Type == wire.DestNode && n.attaching(last.Node) {
		return false
	}
	a := &attach{node: last.Node, done: done}
	if !n.c.Overlay.NoICE {
		n.offerAttach(a, dest, link)
	} else if !n.sendAttach(a, dest, link, n.attachBody(wire.RolePassive, n.listening(n.c.Candidates))) {
		return false
	}
	n.attaches = append(n.attaches, a)
	return true
}

// sendAttach sends the AttachReq of a. It reports false when there is too much to do; attachAnswered follows then, too.
func (n *Node) sendAttach(a *attach, dest wire.DestinationList, link LinkID, body wire.Attach) bool {
	a.request = n.request(outgoing{dest: dest, link: link, body: &wire.AttachReq{Attach: body},
		done: func(r result) { n.attachAnswered(a, r) }})
	return a.request != nil
}

// attaching reports whether an Attach to id is under way.
func (n *Node) attaching(id wire.NodeID) bool {
	return slices.ContainsFunc(n.attaches, func(a *attach) bool { return a.node == id })
}

func (n *Node) attachAnswered(a *attach, r result) {
	if !slices.Contains(n.attaches, a) {
		return
	}
	ans, ok := r.body.(*wire.AttachAns)
	switch {
	case ok && ans.Role == wire.RoleActive:
		a.node, a.update, a.candidates = r.from, ans.SendUpdate, ans.Candidates
		if !n.await(a, ans) {
			n.endAttach(a, ErrUntrusted)
			return
		}
		n.advance(a, answered)
	case r.refused != nil && r.refused.ErrorCode == wire.ErrorInProgress && !a.node.IsZero():
		n.cede(a)
	case r.refused != nil:
		n.endAttach(a, &refusedError{r.refused})
		return
	case r.err != nil:
		n.endAttach(a, r.err)
		return
	default:
		n.endAttach(a, ErrUntrusted)
		return
	}
	n.nameAnswered(a.node)
	n.attachLinked(a.node)
}

// refusedError is an ErrorResponse as the reason of a failure.
type refusedError struct{ e *wire.Error }

func (r *refusedError) Error() string { return "node: refused: " + r.e.ErrorCode.String() }

// attachLinked ends the Attaches that wanted the link that is there now.
func (n *Node) attachLinked(id wire.NodeID) {
	p := n.peers[id]
	if p == nil || p.links == nil {
		return
	}
	for _, a := range slices.Clone(n.attaches) {
		if a.stage != asking && a.node == id {
			p.link().attached = true
			if len(a.candidates) > 0 {
				p.candidates = a.candidates
			}
			if a.update && n.member() && n.announced.ready {
				// The answer asked for an Update.
				t := wire.ChordNeighbors
				if n.tuned() {
					t = wire.ChordPeerReady // RFC 7363 §5.2
				} else if n.ring.Mesh() {
					t = wire.ChordFull
				}
				n.update(p, t)
			}
			n.endAttach(a, nil)
		}
	}
}

func (n *Node) endAttach(a *attach, err error) {
	n.attaches = slices.DeleteFunc(n.attaches, func(o *attach) bool { return o == a })
	n.forget(a.request)
	n.releaseSession(a.session)
	a.session, a.over = 0, true
	if err != nil {
		n.event(EventAttachFailed, a.node, err.Error())
		n.leaveAlone(a.node, n.pauseAfter(a.node, err))
	}
	n.after(func() { a.done(a.node, err) })
}

// pauseAfter is for how long a node that could not be attached to is left alone. One that has enough links, and that we need no more
// than others, has so for a while.
func (n *Node) pauseAfter(id wire.NodeID, err error) time.Duration {
	var refused *refusedError
	if errors.As(err, &refused) && refused.e.ErrorCode == wire.ErrorForbidden && !n.ring.Near(id) {
		return n.jitter(refusedPause)
	}
	return avoidTime
}

// leaveAlone keeps the node from trying id again at once.
func (n *Node) leaveAlone(id wire.NodeID, pause time.Duration) {
	if id.IsZero() || n.peers[id] != nil {
		return
	}
	for k, until := range n.avoid { // the order does not matter
		if !until.After(n.now) {
			delete(n.avoid, k)
		}
	}
	if len(n.avoid) < maxAvoid {
		n.avoid[id] = n.now.Add(pause)
	}
}

// avoided reports whether a node is not to be tried now. One that had enough links does not refuse a neighbour.
func (n *Node) avoided(id wire.NodeID) bool {
	if n.hasEnough(id) && n.ring.Near(id) && !n.isBanned(id) {
		return n.bad(id)
	}
	return n.avoid[id].After(n.now) || n.bad(id)
}

// expireAttaches gives up those whose link did not come.
func (n *Node) expireAttaches() {
	for _, a := range slices.Clone(n.attaches) {
		if !a.expires.IsZero() && !a.expires.After(n.now) {
			n.endAttach(a, ErrLinkDown)
		}
	}
}

// answerAttach answers an AttachReq and dials its sender: "passive" is who asks, "active" who answers (RFC 6940
// §6.5.1.1).
func (n *Node) answerAttach(in *inbound, req *wire.AttachReq) {
	if req.Role != wire.RolePassive || !n.dialable(req.Candidates, n.c.LinkTypes) {
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "role or candidates"))
		return
	}
	last, _ := in.header.Destinations.Last()
	switch {
	case last == wire.ToResource(joinPoint(in.sender)):
		n.entering(in.sender, in.link)
		n.yieldJoin(in.sender)
		n.yieldAttaches(in.sender)
	case last.Type == wire.DestNode && !in.direct() && n.staleLink(in.sender):
		// One that comes over the link knows of it, and wants another one: see Renew.
		n.entering(in.sender, in.link)
	}
	if !n.crossing(in.sender) {
		n.refuse(in, wire.NewError(wire.ErrorInProgress, ""))
		n.attachBack(in)
		return
	}
	// Who seeks the owner of a resource may be linked with it: a second link would carry nothing. Who names us has no
	// link, even if we have not noticed yet that it is down.
	linked := last.Type == wire.DestResource && n.linkedByAttach(in.sender)
	if !linked && (len(n.dials) >= maxDials || n.dialling(in.sender) >= maxLinksPerNode) {
		// RFC 6940 §6.5.1.2: "If the peer is overloaded [...], it MAY generate an error instead of an AttachReqAns."
		n.forbid(in, "too many links")
		return
	}
	if n.peers[in.sender] == nil && n.member() && n.ring.Full(n.others()+len(n.dials)) && last != wire.ToResource(joinPoint(in.sender)) &&
		!n.ring.Near(in.sender) {
		n.forbid(in, "enough links") // it looks for somebody in this part of the ring: another will do
		return
	}
	delete(n.avoid, in.sender)
	if !linked && !n.c.Overlay.NoICE {
		n.answerOffer(in, req)
		return
	}
	n.respond(in, &wire.AttachAns{Attach: n.attachBody(wire.RoleActive, n.listening(n.c.Candidates))}, nil)
	switch {
	case !linked:
		d := n.newDial(in.sender, req.SendUpdate)
		d.candidates = req.Candidates
		d.whole = n.ring.Mesh() || last == wire.ToResource(joinPoint(in.sender))
		n.out.Dial = append(n.out.Dial, Dial{Dial: d.id, Peer: d.node, Candidates: req.Candidates})
	case req.SendUpdate && n.member():
		n.update(n.peers[in.sender], wire.ChordFull)
	}
}

// dialling counts the dials to one node that are under way. Where they lead it says itself: one member whose addresses lead nowhere is
// not to keep all others from linking with us.
func (n *Node) dialling(id wire.NodeID) (count int) {
	for _, d := range n.dials {
		if d.node == id {
			count++
		}
	}
	return count
}

// linkedByAttach reports whether there is a link with id that an Attach has made.
func (n *Node) linkedByAttach(id wire.NodeID) bool {
	p := n.peers[id]
	return p != nil && slices.ContainsFunc(p.links, func(c *conn) bool { return c.attached })
}

// staleLink reports whether there has been a link with a node for longer than its Attach, which names us, can have been
// on its way: then it knows nothing of the link, and has started again.
func (n *Node) staleLink(id wire.NodeID) bool {
	p := n.peers[id]
	return p != nil && p.ready && n.now.Sub(p.link().made) > crossingTime
}

// entering is for a node that attaches to where it wants to join: what we know of an earlier life of it is void, except
// the link over which we hear that.
//
// A copy of the Attach with which it entered in this life may have been on its way until now, for as long as others send it
// again. No link with it is old then.
func (n *Node) entering(id wire.NodeID, link LinkID) {
	p := n.peers[id]
	if p == nil || !p.ready || n.now.Sub(p.links[0].made) <= crossingTime {
		return
	}
	for _, c := range slices.Clone(p.links) {
		if c.id != link {
			n.out.Close = append(n.out.Close, c.id)
			n.dropConn(c)
		}
	}
	if p.ready {
		n.notReady(p, true)
	}
}

// yieldAttaches ends what we asked of a node that now looks for its place: it is no peer, so on the ring our Attach can
// not have reached it, and does not cross its own in the sense of RFC 6940 §6.5.1.2. Our links with a neighbour that was
// lost and starts again would wait for that request to time out.
func (n *Node) yieldAttaches(to wire.NodeID) {
	for _, a := range n.attaches {
		if a.node == to && a.stage == asking {
			n.cede(a)
		}
	}
}

// crossing decides about an Attach from a node to which we have sent one ourselves (RFC 6940 §6.5.1.2). It reports
// whether theirs is to be answered.
func (n *Node) crossing(from wire.NodeID) bool {
	for _, a := range n.attaches {
		switch {
		case a.node != from || a.stage == yielded:
		case a.stage == answered:
			// "If the peer has already sent an Attach request to and received the response from the originating peer
			// [...], it SHOULD generate an Error_In_Progress error".
			return n.peers[from] != nil
		case a.request == nil:
			n.cede(a) // it has not been sent yet, so they do not cross
		case n.c.Self.Compare(from) > 0 && n.table.Left(a.request.tx) == 0:
			// Deviation: nor do they cross when ours was sent as often as it may be, to a node that has started since.
			n.cede(a)
		case n.c.Self.Compare(from) > 0:
			// "If the peer's own Node-ID is larger [...], it MUST generate an Error_In_Progress error".
			return false
		default:
			// "If the peer's own Node-ID is smaller [...], it MUST cancel retransmission of its own incomplete Attach
			// request. It MUST then process this Attach request". Ours ends when the link is up.
			n.cede(a)
		}
	}
	return true
}

// attachBack sends our own Attach, which goes on, to the sender of the one that we have just refused, along the way that it
// came. The way that ours took may have ended nowhere: it may have been sent when the other had failed, to one that has
// started again since.
func (n *Node) attachBack(in *inbound) {
	for _, a := range n.attaches {
		if a.node != in.sender || a.stage != asking || a.request == nil || a.request.raw == nil || !n.table.Again(n.now, a.request.tx) {
			continue
		}
		r := a.request
		r.dest = n.returnPath(in)
		r.raw = route.Readdress(r.raw, r.dest)
		n.transmit(r)
	}
}

// dialable reports whether some candidate is of one of these types, and none of a kind that this overlay does not use. RFC 6940 §6.5.1.1:
// "A single AttachReqAns MUST NOT include both candidates whose OverlayLinkType protocols use ICE (the default) and
// candidates that specify "No-ICE"."
func (n *Node) dialable(candidates []wire.IceCandidate, types []wire.LinkType) bool {
	usable := false
	for _, c := range candidates {
		if (c.Link == wire.LinkDTLSUDPSR) == n.c.Overlay.NoICE {
			return false
		}
		usable = usable || c.Address.IsValid() && slices.Contains(types, c.Link)
	}
	return usable
}

// newDial is for the Dial effect that an AttachReq of node leads to.
func (n *Node) newDial(node wire.NodeID, update bool) *dial {
	n.lastDial++
	d := &dial{id: n.lastDial, node: node, update: update}
	n.dials[d.id] = d
	return d
}

// dialDone goes on when a link that we dialled is up.
func (n *Node) dialDone(d *dial, c *conn) {
	if d.probe != "" {
		n.probeUp(d.probe, c)
		return
	}
	if d.bootstrap {
		n.bootstrapUp(d.id, c)
		return
	}
	if len(d.candidates) > 0 {
		n.peers[c.node].candidates = d.candidates
	}
	if d.update && n.member() {
		// RFC 6940 §6.4.2.3: "it MUST send an Update message back to the sender of the Attach request after completion
		// of the corresponding ICE check and TLS connection. Note that the sender of such an Attach request may not have
		// joined".
		t := wire.ChordNeighbors
		if d.whole {
			t = wire.ChordFull
		}
		n.update(n.peers[c.node], t)
	}
}

// ErrSelf means that a bootstrap address is the node's own.
var ErrSelf = errors.New("node: the address is this node's own")

// errLinkRefused: EventLinkRefused says why.
var errLinkRefused = errors.New("a link with this node is refused here")

// DialFailed reports that a Dial effect led to nothing. What err says of a bootstrap address is shown to operators.
func (n *Node) DialFailed(now time.Time, id DialID, err error) {
	d := n.dials[id]
	if !n.begin(now) || d == nil {
		return
	}
	delete(n.dials, id)
	n.dialFailed(d, err)
	n.settle()
}

func (n *Node) dialFailed(d *dial, err error) {
	if d.probe != "" {
		return // another address is tried the next time
	}
	if d.bootstrap {
		n.bootstrapFailed(d.id, err)
		return
	}
	n.event(EventAttachFailed, d.node, "dial")
}

// answerAppAttach answers an AppAttachReq and has the connection opened (RFC 6940 §6.5.2).
func (n *Node) answerAppAttach(in *inbound, req *wire.AppAttachReq) {
	switch {
	case !slices.Contains(n.c.Applications, req.Application):
		// RFC 6940 §6.5.2.2: "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found
		// error."
		n.refuse(in, wire.NewError(wire.ErrorNotFound, "application"))
	case req.Role != wire.RolePassive || !n.dialable(req.Candidates, n.c.LinkTypes):
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "role or candidates"))
	case !n.c.Overlay.NoICE:
		n.answerAppOffer(in, req)
	default:
		n.respond(in, &wire.AppAttachAns{AppAttach: n.appAttachBody(req.Application, wire.RoleActive, n.listening(n.c.AppCandidates))}, nil)
		n.out.Apps = append(n.out.Apps, AppDial{Peer: in.sender, Application: req.Application, Candidates: req.Candidates})
	}
}
