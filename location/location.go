// Package location holds the words that registrar, proxy, redirect and trunk share: address-of-record, hop, binding, errors,
// and the table of local bindings (RFC 3261 §10). It knows neither SIP transactions nor RELOAD.
package location

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// AOR is a canonical address-of-record without scheme, "alice@example.org": parameters, password and port dropped, escapes
// folded, host in lower case, user part as it is (RFC 3261 §10.3 step 5, RFC 7904 §2). It is the resource name of the
// registration in the overlay.
type AOR string

// Hop says where a message came from or is to go: over which transport, to which address, on which flow. It is a value and
// comparable; the zero Hop is none. A Hop with Node is a gateway of the overlay.
type Hop struct {
	Transport string         // "UDP", "TCP", "TLS", "WS" or "WSS"
	Remote    netip.AddrPort // the other end
	Local     netip.AddrPort // our end: the socket to send from; zero lets the SIP stack choose
	Flow      uint64         // number of a connection of this process; 0 is none. Never reused, never 0 for a stream that was received on
	Host      string         // name that the certificate of a dialled TLS connection must hold; empty: the address; AnyHost: none
	Node      string         // base64 destination list (a GRUU's gr value) of a node of the overlay; empty for plain SIP
}

// AnyHost, as the Host of a Hop, takes any certificate: that of a phone which is dialled at an address and has no name to prove.
const AnyHost = "*"

// Binding is one contact of an AOR (RFC 3261 §10.3).
type Binding struct {
	Contact    string // URI, exactly as it was sent, without angle brackets
	Params     string // header parameters as sent, ";"-led, without q and expires
	Q          int    // thousandths, 1000 when absent
	Expires    time.Time
	CallID     string
	CSeq       uint32
	Path       []string // Path values, topmost first (RFC 3327)
	Hop        Hop      // where the REGISTER came from: the way back to the phone
	UserAgent  string
	Registered time.Time // when the binding first appeared
	Updated    time.Time
	Instance   string // URN of the device, from +sip.instance, without quotes and angle brackets (RFC 5626 §4.1); "": none
	RegID      uint32 // which of the flows of the device this is (RFC 5626 §4.2); 0: not registered as a flow
	Bulk       bool   // Contact stands for all numbers that lead to the AOR, and not for the AOR (RFC 6140)
	// Request stands for the request that made or refreshed the binding, among those of this process; 0: none is known. It is not kept on the disk.
	Request uint64
	Since   time.Time // since when the device registers under this Call-ID: temporary GRUUs from before are void (RFC 5627 §5.1)
}

// Errors of a lookup. Wrap them; test with errors.Is.
var (
	ErrNotFound    = errors.New("no such user")
	ErrForbidden   = errors.New("not allowed")
	ErrUnavailable = errors.New("location service unavailable") // the overlay did not answer: never the same as "not found"

	ErrNotOffered = errors.New("the overlay does not offer this") // its document has to

	ErrForwardLoop  = errors.New("forwarding leads back")       // all that is registered are forwardings, and they lead to each other
	ErrForwardDepth = errors.New("forwarded more than 5 times") // likewise, and the way is too long
)

// Remote is a place outside this gateway at which an AOR can be reached: exactly one of Node and URI is set.
type Remote struct {
	Node  string // a gateway of the overlay, as in Hop.Node
	URI   string // another URI, to be resolved as any URI
	Depth int    // with URI: how many forwardings led there; 0 is 1
	// Range is the name of the number range that Node serves and the AOR is a number of; empty: the AOR is registered there itself. The places of
	// one range lead to the same: only one of them is to ring.
	Range AOR
}

// Holding says who holds certificates of an address-of-record, of those that the overlay knows.
type Holding uint8

// The holdings.
const (
	HeldByOthers Holding = iota // and not by the gateway asked about
	Held                        // by the gateway asked about
	HeldByNobody
)

// Locator answers where an AOR can be reached.
type Locator interface {
	// Known reports whether aor is a user of ours, registered or not: 480 instead of 404 (RFC 3261 §16.5). It does not block.
	Known(aor AOR) bool
	// Local lists the bindings at this gateway that have not expired. It does not block. The slice is shared: do not modify it.
	Local(aor AOR) []Binding
	// Remote asks the overlay where else aor is registered, this gateway left out. It blocks until the overlay answers or ctx ends.
	// No entry and no error: known AOR or not, nothing is registered elsewhere.
	Remote(ctx context.Context, aor AOR) ([]Remote, error)
	// RemoteCached is Remote as far as a fresh answer is at hand; it does not block.
	RemoteCached(aor AOR) (r []Remote, ok bool)
}
