// Package sipusage is the SIP usage of RELOAD (RFC 7904) as a gateway needs it: registrations of its users published as one signed
// record per address-of-record (§3), lookups (§4), connections to other nodes that carry SIP (§5) and GRUUs that name them (§6).
//
// A gateway has one Node-ID and, for each of its users, a certificate with the user's address-of-record and that Node-ID. So the
// record of a user says {this gateway: route to this gateway}, and phones, contacts and flows stay in the gateway's own table.
//
// Service looks up and connects; Publisher keeps the records in the overlay. Both are made by the gateway, stand between an
// overlay.Peer and the registrar, proxy and redirect server, and are safe for concurrent use.
package sipusage

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Peer is what this package needs of the overlay: *overlay.Peer.
type Peer interface {
	Store(ctx context.Context, by *trust.Signer, res wire.ResourceID, kind wire.KindID, value wire.StoredValue,
		storageTime time.Time, lifetime time.Duration) (replicas []wire.NodeID, err error)
	Fetch(ctx context.Context, res wire.ResourceID, kind wire.KindID) ([]overlay.Value, error)
	// FetchOwn is Fetch as far as it is answered by this peer itself; it does not block.
	FetchOwn(res wire.ResourceID, kind wire.KindID) ([]overlay.Value, bool)
	AppAttach(ctx context.Context, dest wire.DestinationList, app wire.ApplicationID) (overlay.AppConn, error)
	NodeID() wire.NodeID
	// AllowsUser reports whether the overlay takes records of a user name (RFC 7904 §3.4).
	AllowsUser(user string) bool
	// Ranges is the shapes of the overlay's number ranges, read-only.
	Ranges() numbers.Plan
	Joined() <-chan struct{}
	// Uncertain has a value when what was stored may be lost.
	Uncertain() <-chan struct{}
	// Company is closed when there is, or was, somebody else who can ask for what is stored here.
	Company() <-chan struct{}
	// Welcome says that he finds everything now.
	Welcome()
	// Stored is how many values of a Kind this peer holds.
	Stored(kind wire.KindID) int
}

// Keyring holds the certificates of users: user name = address-of-record, Node-ID = the gateway's. Any error means that there is
// none for aor.
type Keyring interface {
	Signer(aor string) (*trust.Signer, error)
	// Has reports whether Signer is likely to have one at any time, without reading it.
	Has(aor string) bool
}
