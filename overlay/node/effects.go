package node

import (
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Effects is what the driver owes after an input, to be carried out in the order of the fields. The slices are the
// driver's.
type Effects struct {
	Forward []Forward
	Close   []LinkID // no LinkDown is owed for these
	Seal    []Seal
	Verify  []Verify
	// Configure and Reconfigured are about configuration documents (RFC 6940 §6.5.4). Reconfigured comes before all else.
	Configure    []Configure
	Reconfigured []Reconfigured
	// Release ends sessions of ICE. Gather, Await and Release are for overlays with ICE only.
	Release []SessionID
	Gather  []Gather
	Await   []Await
	Dial    []Dial
	Apps    []AppDial
	Done    []Done
	Events  []Event
	Persist []store.Record // what is stored now where something has changed, with Config.Durable
}

// Forward sends octets, a whole RELOAD message, on a link. The octets must not be changed: they may be sent again.
type Forward struct {
	Link LinkID
	Raw  []byte
}

// Seal asks for a message to be signed and encoded: by By, or by the node's own signer when By is nil.
type Seal struct {
	Job     JobID
	By      *trust.Signer
	Message *wire.Message
}

// Verify asks for the signatures of a message to be checked. Asked is the Resource-ID that a FetchAns is about, which
// its octets do not say and the signatures of its values cover; it is empty for other messages.
//
// With By, the message is a StoreReq of this node to itself, not signed and not encoded: By is who would have signed it, as it
// has signed the values. It is enough that By's certificate is good today.
type Verify struct {
	Job     JobID
	Message *wire.Message
	Asked   wire.ResourceID
	By      *trust.Signer
}

// Dial asks for a link, to one of Candidates or to the bootstrap Address, or, when Session is not zero, over the pair that
// this session finds with what the other side has offered. Peer, when it is not zero, is the Node-ID that
// the certificate must hold (RFC 6940 §6.5.1.13). LinkUp or DialFailed is owed for it.
type Dial struct {
	Dial       DialID
	Peer       wire.NodeID
	Candidates []wire.IceCandidate
	Address    string
	Session    SessionID
	Offer      Offer
}

// AppDial asks the driver to open the connection of an application that a peer asked for with AppAttach; this side
// is the TLS client (RFC 6940 §6.5.2, §6.5.1.13). Session and Offer are as in Dial.
type AppDial struct {
	Peer        wire.NodeID
	Application wire.ApplicationID
	Candidates  []wire.IceCandidate
	Session     SessionID
	Offer       Offer
}

// job is a Seal or Verify effect that is being carried out.
type job struct {
	verified   func(trust.Verified, error)
	sealed     func([]byte, error)
	configured func(*config.Overlay, error)
	link       LinkID // from which the message to be verified came
}

func (n *Node) newJob(j *job) (JobID, bool) {
	if len(n.jobs) >= maxJobs {
		return 0, false
	}
	n.lastJob++
	n.jobs[n.lastJob] = j
	return n.lastJob, true
}

func (n *Node) takeJob(id JobID) *job {
	j := n.jobs[id]
	delete(n.jobs, id)
	if j != nil && j.verified != nil {
		if c := n.conns[j.link]; c != nil {
			c.verifying--
		}
	}
	return j
}

// seal has a message signed. done is not called when too much is being sealed already: then seal reports false.
func (n *Node) seal(by *trust.Signer, m *wire.Message, done func(raw []byte, err error)) bool {
	id, ok := n.newJob(&job{sealed: done})
	if !ok {
		return false
	}
	n.out.Seal = append(n.out.Seal, Seal{Job: id, By: by, Message: m})
	return true
}

// verify has the signatures of a message that came from c, nil for our own, checked.
func (n *Node) verify(c *conn, m *wire.Message, asked wire.ResourceID, done func(trust.Verified, error)) {
	j := &job{verified: done}
	if c != nil {
		if c.verifying >= maxVerifyingPerLink {
			n.drop(c.node, DropOverload)
			n.missedCopy(m)
			return
		}
		j.link = c.id
	}
	id, ok := n.newJob(j)
	if !ok {
		n.drop(n.c.Self, DropOverload)
		n.missedCopy(m)
		return
	}
	if c != nil {
		c.verifying++
	}
	n.out.Verify = append(n.out.Verify, Verify{Job: id, Message: m, Asked: asked})
}
