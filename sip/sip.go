// Package sip is the seam between our SIP stack (message, flow, transaction, digest, resolve below it) and the cores on top of
// it (registrar, proxy, redirect): what a transaction is to a core, and how a core sends (RFC 3261 §17, RFC 6026). The cores
// import this package, sip/message and location, and nothing else of the stack.
package sip

import (
	"net/netip"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// ServerTransaction is a request that came in and wants an answer (RFC 3261 §17.2). Its methods do not block and may be called from
// any goroutine.
type ServerTransaction interface {
	// Request is the request as received, with received and rport filled in in its top Via (RFC 3261 §18.2.1, RFC 3581 §4). It is shared: do not change it.
	Request() *message.Message
	// Source is where it came from; the way to send a request back to the same phone.
	Source() location.Hop
	// Respond sends a response: provisional ones any number of times, one final. A 2xx to INVITE may follow a 2xx (RFC 6026 §7.1). What
	// comes after the final response otherwise is dropped and counted. res is the transaction's from now on.
	Respond(res *message.Message)
	// Trying sends 100 for an INVITE at once instead of after 200 ms; for anything else it does nothing.
	Trying()
}

// Handler is a core, or the dispatcher in front of the cores. The stack calls it in wire order for each connection, and over UDP for each
// Call-ID. It must not block.
type Handler interface {
	// Request takes a new request other than ACK and CANCEL.
	Request(tx ServerTransaction)
	// ACK takes an ACK that belongs to no transaction of ours: one for a 2xx, to be forwarded (RFC 3261 §13.2.2.4).
	ACK(ack *message.Message, from location.Hop)
	// Cancel takes a CANCEL that matches tx, an INVITE transaction without final response. The stack has answered the CANCEL with 200; the
	// INVITE is the core's to answer (RFC 3261 §9.2, §16.10).
	Cancel(tx ServerTransaction, cancel *message.Message)
	// Ended tells that tx ended: its final response is sent, and where the stack repeats that until there is an ACK, acknowledged or given up. Nothing
	// more will come of it; after a 2xx to INVITE the core may send others for 64*T1.
	Ended(tx ServerTransaction)
	// Relay takes a 2xx to an INVITE of ours that came behind the first, and makes it what is to be sent instead of it over the server
	// transaction that the sip.RelayingUser named with this note; false: nothing is. res may be changed, note is valid during the call.
	Relay(res *message.Message, note []byte) bool
}

// ClientTransaction is a request that we sent (RFC 3261 §17.1).
type ClientTransaction interface {
	// Cancel sends CANCEL for an INVITE: at once when a provisional response has come, else when one comes (RFC 3261 §9.1). A second call
	// does nothing. reason, when not empty, is the value of a Reason header field (RFC 3326).
	Cancel(reason string)
	// Abandon ends the transaction without a further word to its user.
	Abandon()
}

// ClientUser takes what becomes of a request. Calls for one transaction come one after the other, in wire order; they must not block.
type ClientUser interface {
	// Response takes each response except 100 up to the final one. res is the user's from now on. What follows the final one ends in the stack;
	// only a RelayingUser is concerned with the 2xx behind a first one.
	Response(res *message.Message)
	// Failed takes the end without a final response: ErrTimeout, ErrTransport. It is the last call.
	Failed(err error)
}

// RelayingUser is a ClientUser of an INVITE that sends the 2xx responses on over a server transaction. RFC 6026 §7.2 has every 2xx passed on for 64*T1
// behind the first, retransmissions included. For that long no user is kept, but some octets: each 2xx goes to Handler.Relay with them.
type RelayingUser interface {
	ClientUser
	// Relays is asked with the first 2xx, while locks are held: it must take none. note is what Relay has to know; nil and no tx: nothing is to be
	// sent on.
	Relays() (tx ServerTransaction, note []byte)
}

// TryingUser is a ClientUser that is told of a 100 too: the other side has the request.
type TryingUser interface {
	ClientUser
	Trying()
}

// Sender sends requests. Its methods do not block: connections are dialled behind them.
type Sender interface {
	// Send starts a client transaction towards to. req has no Via of ours; one with branch ("" lets the stack draw one) is put on top. req is
	// the transaction's from now on.
	Send(req *message.Message, to location.Hop, branch string, user ClientUser) ClientTransaction
	// SendStateless sends an ACK for a 2xx, with a Via of ours on top.
	SendStateless(req *message.Message, to location.Hop, branch string) error
	// Address is how the other side of to is to reach us: what Record-Route and Path say there. For an overlay hop Host is empty: see Hop.Node.
	Address(to location.Hop) Address
	// Alive reports whether the connection of to still stands; true for UDP.
	Alive(to location.Hop) bool
}

// Address is one of our own addresses as others are to write it.
type Address struct {
	Transport string
	Host      string // name or IP address, IPv6 without brackets
	Port      uint16
	Local     netip.AddrPort // the socket behind it
}
