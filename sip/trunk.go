package sip

import (
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Origin is what is known of the trunk that a request comes from. The zero Origin is none.
type Origin struct {
	Trunk   string // its name; "": it comes from none
	Trusted bool   // what it says of identities is believed (RFC 3325)
	// Identity is who calls, as P-Asserted-Identity; "": what the trunk wrote. Own: the caller's number is published as one of the trunk, so that
	// other gateways believe it.
	Identity string
	Own      bool
	// User is the user part of the Request-URI, translated. Ours: the host there is the trunk's own, which stands for our domain.
	User string
	Ours bool
	// From is what From says from here on, "" when it stays: the trunk's own address in it is of no use to others.
	From string
	// Refusal: whoever sends it says to be a trunk and is not, or calls where it may not.
	Refusal *Refusal
}

// Dialled is a request that a core asks the way over trunks for.
type Dialled struct {
	User, Domain string // of the Request-URI; Domain is "" when it is ours
	Origin       string // the trunk that it comes from
	Caller       location.AOR
	Node         string // gr value of the gateway that it comes from; "": it comes from elsewhere
	Standing     Standing
	Emergency    bool // urn:service:sos or one of its services (RFC 5031)
	Again        bool // the request was counted before: it goes on to another way
	Request      *message.Message
}

// Standing is how the sender of a request is known.
type Standing uint8

// The standings.
const (
	Stranger Standing = iota // not at all
	Peer                     // a gateway of the overlay
	PeerOf                   // a gateway of the overlay that holds the certificate of the caller
	Known                    // a user, a trusted network or a trunk
)

// TrunkRoute is the answer: the ways in the order in which they are to be tried, or why there is none.
type TrunkRoute struct {
	Ways      []Way
	Refusal   *Refusal
	Pattern   string // of the route that decides
	Prefix    int    // how many characters of the number it says; -1 when it is about this number alone
	Emergency bool   // limits do not hold
}

// Way is one place where a trunk takes calls.
type Way struct {
	Trunk   string
	URI     string            // Request-URI
	Next    string            // URI to be resolved in its place; "": none
	Node    string            // gr value of the gateway that sends it on, in the place of a target of its own; "": none
	Binding *location.Binding // of the PBX when it registered here: the way is that to a phone
	Wait    time.Duration     // for any response; then the next way has its turn
	Down    bool              // known to be down
	// Charge is the user whose caps the call counts for, "" when it counts for nobody's.
	Charge location.AOR
	// Emergency calls have no limits.
	Emergency bool
	// Write changes the header of the copy that goes there.
	Write func(m *message.Message)
}

// WayResult is what became of a request on a way.
type WayResult struct {
	Hop    location.Hop // zero: none was tried
	Status int          // of the final response
	Err    error        // instead of one
	Moved  bool         // the request goes on to another address or way
}

// Talk is a call that is up. What it holds are hashes, which are equal or not.
type Talk struct {
	Tags uint64 // of both tags of the dialog
	// In is the way that requests within the dialog take to who called, Out to who was called: route set and remote target. 0: not known.
	In, Out uint64
}

// Hangup is a BYE.
type Hangup struct {
	Tags, Way   uint64 // as in Talk
	Trunk, Node string // the trunk, or the gr value of the gateway, that it comes from; "": another
	Status      int    // of the final response; 0: there is none yet
}

// NoLine is what both trunks and who hears of them from another gateway say of a trunk that takes no more calls.
var NoLine = &Refusal{Status: 503, Word: "TRK503B", Text: "all lines of the trunk are busy"}
