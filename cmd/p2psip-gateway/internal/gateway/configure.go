package gateway

import (
	"context"
	"errors"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// ErrNotNewer means that the document is the present one, or older.
var ErrNotNewer = errors.New("the configuration document is not newer than the present one")

// Configure hands a new configuration document to the overlay, over which it spreads (RFC 6940 §6.5.4). It returns when the
// document is in force here, or refused.
func (g *Gateway) Configure(ctx context.Context, document []byte) error {
	err := g.peer.Configure(ctx, document)
	if errors.Is(err, node.ErrNotNewer) {
		return ErrNotNewer
	}
	return err
}
