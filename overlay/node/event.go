package node

import (
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// EventType is a closed set: metric label and log phrase.
type EventType string

// The events.
const (
	EventFirst          EventType = "first"           // the node is the first of its overlay
	EventJoined         EventType = "joined"          // the node is part of the ring; Peer is its successor
	EventJoinFailed     EventType = "join_failed"     // an attempt came to nothing; Text says where and why
	EventAdmitted       EventType = "admitted"        // Peer joined before us
	EventNeighborUp     EventType = "neighbor_up"     // Peer became a neighbour
	EventNeighborLost   EventType = "neighbor_lost"   // Peer is no longer alive, or left
	EventPeerLost       EventType = "peer_lost"       // the same for a peer that was no neighbour
	EventAlone          EventType = "alone"           // the last peer was lost
	EventLinkRefused    EventType = "link_refused"    // a link was closed at once; Text says why
	EventDropped        EventType = "dropped"         // a message; Text is the reason
	EventRefused        EventType = "refused"         // we answered a request of Peer with an error; Text names it
	EventStoreRefused   EventType = "store_refused"   // a StoreReq of Peer; Text is the reason, of a closed set
	EventStoreAhead     EventType = "store_ahead"     // a value of Peer was stored under a time that is far ahead of ours
	EventValueRefused   EventType = "value_refused"   // a fetched value that Peer answered with; Text is the reason
	EventAnswerRefused  EventType = "answer_refused"  // an answer from a node that was not asked
	EventAttachFailed   EventType = "attach_failed"   // Text says how
	EventReplicaRefused EventType = "replica_refused" // Peer would not take a copy; Text is the error
	EventCopyDiffers    EventType = "copy_differs"    // Peer holds something else than we do, as a survey has found; it is made the same
	EventFlood          EventType = "flood"           // Peer sent more than a link may carry, and lost its links
	EventConfigured     EventType = "configured"      // a new configuration is in force; Text names its sequence
	EventConfigRefused  EventType = "config_refused"  // a configuration document from Peer; Text is the reason
	EventConfigLeave    EventType = "config_leave"    // the new configuration demands that the node leaves; Text says why
	EventPartition      EventType = "partition"       // Peer is in a ring that we are not in; the two are being merged
	// EventUncertain is for those who have stored something: it may have no copy left, and is to be stored again. Many peers were lost within
	// a short time, or came back.
	EventUncertain EventType = "uncertain"
	EventRerouted  EventType = "rerouted" // a request that was passed on went another way, by Peer: its hop is gone
	EventClock     EventType = "clock"    // our clock is not that of the neighbours; Text is by how much theirs are ahead
	EventLeft      EventType = "left"
)

// Event is something for logs and counters; it has no effect on the protocol.
type Event struct {
	Type EventType
	Peer wire.NodeID
	Text string // reason from a closed set, or detail
	Code wire.MessageCode
}

// Reasons of EventDropped, besides those of package route and trust.Reason.
const (
	DropUnknownLink   = "unknown_link"
	DropSyntax        = "syntax"
	DropTooLarge      = "too_large"
	DropNotJoined     = "not_joined"
	DropNoRoute       = "no_route"
	DropNoTransaction = "no_transaction" // an answer to nothing, or too late
	DropOverload      = "overload"
	DropReplay        = "replay"
	DropViaTooLong    = "via_too_long"
	DropDiagnostics   = "diagnostics" // a request of RFC 7851 that must not go on
	DropFlood         = "flood"       // more than a link may carry
)

func (n *Node) event(t EventType, peer wire.NodeID, text string) {
	n.out.Events = append(n.out.Events, Event{Type: t, Peer: peer, Text: text})
}

func (n *Node) drop(from wire.NodeID, reason string) { n.event(EventDropped, from, reason) }

func (n *Node) dropFor(from wire.NodeID, reason route.Reason) { n.drop(from, string(reason)) }
