package node

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Why a configuration document is not accepted, besides a *trust.RefusalError.
var (
	// ErrDocument means that the octets are no document with one configuration of this overlay.
	ErrDocument = errors.New("node: not a configuration document of this overlay")
	// ErrNotNewer means that the present configuration is as new, or newer (RFC 6940 §6.5.4.2).
	ErrNotNewer = errors.New("node: the configuration document is not newer")
)

// Configure asks for a configuration document to be read and checked: that it holds one configuration, that this one is
// newer than Previous, and that a configuration-signer of Previous has signed it. Configured is owed for it.
//
// Or it asks for Kinds, kind-blocks, to be read and checked: that a kind-signer of Previous has signed each, and the same one
// as before where Previous knows the Kind. Configured then brings Previous with these Kinds.
type Configure struct {
	Job      JobID
	Document []byte
	Kinds    [][]byte // instead of a document
	Previous *config.Overlay
}

// Reconfigured says that Overlay, which Document holds, is the configuration from now on. What the driver checks is to be
// checked against it, and the document is to be kept for the next start. Document is nil when only Kinds were added.
type Reconfigured struct {
	Overlay  *config.Overlay
	Document []byte
	// Leave says why the node leaves the overlay now; a new one may be made with this configuration. Empty: it stays.
	// A Done effect with the OpID 0 follows when it has left.
	Leave string
}

// OpConfigure hands a configuration document over. Done has Err when it is not accepted: ErrDocument, ErrNotNewer,
// ErrOverload or a *trust.RefusalError.
type OpConfigure struct{ Document []byte }

func (OpConfigure) isOp() {}

// configuring is what has to do with changes of the configuration.
type configuring struct {
	candidates []*candidate // the first is being examined
	pushed     map[wire.NodeID]push
	spread     map[wire.KindID]time.Time // when a Kind was spread
}

// candidate is a document that may become the configuration, or Kinds that may become part of it.
type candidate struct {
	document []byte
	kinds    [][]byte
	in       *inbound // what brought it; nil for one of an operation
	op       OpID
}

// Overlay is the present configuration.
func (n *Node) Overlay() *config.Overlay { return n.c.Overlay }

// answerConfigUpdate takes a ConfigUpdate (RFC 6940 §6.5.4).
func (n *Node) answerConfigUpdate(in *inbound, req *wire.ConfigUpdateReq) {
	switch {
	case req.Type == wire.ConfigUpdateConfig:
		n.consider(&candidate{document: req.Config, in: in})
	case req.Type == wire.ConfigUpdateKind && len(req.Kinds) > 0 && len(req.Kinds) <= maxKindBlocks:
		n.consider(&candidate{kinds: req.Kinds, in: in})
	default:
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "type of ConfigUpdate not supported"))
	}
}

// consider has a document examined, when those before it have been.
func (n *Node) consider(c *candidate) {
	if len(n.configuring.candidates) >= maxCandidates {
		n.considered(c, nil, ErrOverload)
		return
	}
	n.configuring.candidates = append(n.configuring.candidates, c)
	if len(n.configuring.candidates) == 1 {
		n.examineNext()
	}
}

func (n *Node) examineNext() {
	for len(n.configuring.candidates) > 0 {
		c := n.configuring.candidates[0]
		id, ok := JobID(0), false
		err := ErrNotNewer
		if c.kinds != nil || !bytes.Equal(c.document, n.c.Document) {
			id, ok = n.newJob(&job{configured: func(o *config.Overlay, err error) { n.examined(c, o, err) }})
			err = ErrOverload
		}
		if ok {
			n.out.Configure = append(n.out.Configure, Configure{Job: id, Document: c.document, Kinds: c.kinds,
				Previous: n.c.Overlay})
			return
		}
		n.configuring.candidates = n.configuring.candidates[1:]
		n.considered(c, nil, err)
	}
}

// Configured answers a Configure effect. o is what the document holds, as far as it could be read.
func (n *Node) Configured(now time.Time, id JobID, o *config.Overlay, err error) {
	if j := n.takeJob(id); n.begin(now) && j != nil && j.configured != nil {
		j.configured(o, err)
		n.settle()
	}
}

func (n *Node) examined(c *candidate, o *config.Overlay, err error) {
	n.configuring.candidates = n.configuring.candidates[1:]
	old := n.c.Overlay
	switch {
	case err != nil:
	case c.kinds != nil:
		n.acceptKinds(o)
	case o.InstanceName != old.InstanceName:
		err = ErrDocument
	case !config.Newer(o.Sequence, old.Sequence):
		// RFC 6940 §6.5.4.2: "it MUST be processed only if [...] The sequence number in the document is greater than the
		// current configuration sequence number."
		err = ErrNotNewer
	default:
		n.accept(o, c.document)
	}
	n.considered(c, o, err)
	n.examineNext()
}

// considered says what became of a document. RFC 6940 §6.5.4.2: "Otherwise, appropriate errors MUST be generated."
func (n *Node) considered(c *candidate, o *config.Overlay, err error) {
	if c.in == nil {
		n.finishOp(Done{Op: c.op, Err: err})
		return
	}
	var refusal *trust.RefusalError
	switch {
	case err == nil:
		n.respond(c.in, &wire.ConfigUpdateAns{}, nil)
	case errors.Is(err, ErrNotNewer):
		n.refuse(c.in, wire.NewError(wire.ErrorConfigTooOld, "document is not newer"))
		if o != nil && config.Newer(n.c.Overlay.Sequence, o.Sequence) {
			n.pushBack(c.in)
		}
	case errors.As(err, &refusal):
		n.event(EventConfigRefused, c.in.sender, string(refusal.Reason))
		n.forbid(c.in, string(refusal.Reason))
	case errors.Is(err, ErrDocument):
		n.event(EventConfigRefused, c.in.sender, "document")
		n.refuse(c.in, wire.NewError(wire.ErrorInvalidMessage, "document"))
	default:
		n.drop(c.in.sender, DropOverload)
	}
}

// accept makes o the configuration. RFC 6940 §6.5.4.2: "If the update is acceptable, then the node MUST reconfigure
// itself to match the new information."
func (n *Node) accept(o *config.Overlay, document []byte) {
	old := n.c.Overlay
	n.c.Overlay, n.c.Document = o, document
	n.event(EventConfigured, n.c.Self, "sequence "+strconv.Itoa(int(o.Sequence)))
	leave := n.mustLeave(old, o)
	n.out.Reconfigured = append(n.out.Reconfigured, Reconfigured{Overlay: o, Document: document, Leave: leave})
	n.schema = o.Schema()
	// A smaller initial-ttl is for what is made here. Others may not know of it yet, and go on to be heard.
	n.rules.InitialTTL = max(n.rules.InitialTTL, o.InitialTTL)
	n.table.SetTimer(o.ReliabilityTimer)
	n.answers.SetKeep(requestLifetime(o))
	n.store.Configure(o)
	n.fragments.SetMax(o.MaxMessageSize)
	n.setIntervals(old, o)
	for _, id := range o.BadNodes {
		// RFC 6940 §11.1: certificates of a bad node are not valid, so neither is what was let in by them.
		if p := n.peers[id]; p != nil {
			n.event(EventLinkRefused, id, badNodeText)
			n.closePeer(p)
		}
	}
	if leave != "" {
		n.event(EventConfigLeave, n.c.Self, leave)
		n.after(n.leaveForConfiguration)
		return
	}
	n.releaseHeld()
	n.spread()
}

const badNodeText = "bad_node"

// requestLifetime is how long a request may be on its way.
func requestLifetime(o *config.Overlay) time.Duration {
	return max(route.MaxRequestLifetime, route.Transmissions*o.ReliabilityTimer)
}

// mustLeave says why this node can not go on in an overlay whose configuration has become o, or nothing. RFC 6940 §11.1:
// "If a node is not capable of supporting the new requirements, it MUST exit the overlay." §6.5.4.2: "or even, in extreme
// circumstances, exiting and re-entering the overlay, if, for instance, the DHT algorithm has changed."
func (n *Node) mustLeave(old, o *config.Overlay) string {
	switch err := o.Supported(); {
	case n.bad(n.c.Self):
		return badNodeText
	case err != nil:
		return err.Error()
	case n.c.Client && !o.ClientsPermitted:
		return "clients-permitted false"
	}
	if d, must := config.Rejoin(old, o); must {
		return d.Element + " changed"
	}
	return ""
}

// bad reports whether the configuration names id a bad node (RFC 6940 §11.1).
func (n *Node) bad(id wire.NodeID) bool { return slices.Contains(n.c.Overlay.BadNodes, id) }

// leaveForConfiguration leaves in order when there is a ring to leave.
func (n *Node) leaveForConfiguration() {
	if n.state.Serves() {
		n.leave(0)
	} else if n.leaving == nil {
		n.leaving = &leaving{}
		n.left()
	}
}

// setIntervals has new intervals begin now; longer ones begin when the present ones end.
func (n *Node) setIntervals(old, o *config.Overlay) {
	if !n.member() || n.tuned() {
		return // the next period goes by them
	}
	if o.ChordUpdateInterval != old.ChordUpdateInterval {
		n.timers[timerUpdate] = earlier(n.timers[timerUpdate], n.now.Add(n.jitter(o.ChordUpdateInterval)))
	}
	if o.ChordPingInterval != old.ChordPingInterval {
		n.timers[timerFingers] = earlier(n.timers[timerFingers], n.now.Add(n.jitter(o.ChordPingInterval)))
	}
}

// spread shows every linked node that we have a new configuration, with a ping: who has an older one says so, and gets it.
func (n *Node) spread() {
	for _, p := range n.sortedPeers() {
		if !p.pinging && !p.left {
			n.ping(p)
		}
	}
}
