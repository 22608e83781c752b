package gateway

import "context"

// Configure hands a new configuration document to the overlay, over which it spreads (RFC 6940 §6.5.4). It returns when the
// document is in force here, or refused.
func (g *Gateway) Configure(ctx context.Context, document []byte) error {
	return g.peer.Configure(ctx, document)
}
