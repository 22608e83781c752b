package overlay

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// Found tells the peer of addresses, "host:port", at which there may be nodes of the overlay. They are tried at once when it looks for
// a way in, and later to find a ring that it is not part of (RFC 6940 §10.7.4.4). It returns when the peer knows, or ctx ends.
func (p *Peer) Found(ctx context.Context, addresses []string) {
	p.post(ctx, func(now time.Time, l *loop) { l.node.Do(now, node.OpFound{Addresses: addresses}) })
}
