package overlay

import (
	"bytes"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// withKinds is the configuration of c with the Kinds that are kept from an earlier run. They are examined like those of a ConfigUpdate:
// what the document says by now counts, and so do its signers.
func (c *Config) withKinds(now time.Time) *config.Overlay {
	o := c.Overlay
	for _, block := range c.Kinds {
		with, err := examineKinds(now, node.Configure{Kinds: [][]byte{block}, Previous: o})
		if err != nil {
			c.Log.Info().Str("component", "config").Err(err).Msg("a Kind that was kept is not good any more")
			continue
		}
		o = with
	}
	return o
}

// updatedKinds are the kind-blocks of o that ConfigUpdates have brought, in the order of their Kind-IDs.
func updatedKinds(o *config.Overlay) [][]byte {
	var blocks [][]byte
	for _, k := range slices.SortedFunc(slices.Values(o.KindBlocks), func(a, b config.KindBlock) int { return int(int64(a.Kind.ID) - int64(b.Kind.ID)) }) {
		if k.Update {
			blocks = append(blocks, config.AppendKindBlock(nil, &k))
		}
	}
	return blocks
}

// latest puts what is to be kept where one goroutine takes it, in the place of something older that it has not taken yet. Only the loop does.
func latest[T any](to chan T, what T) {
	select {
	case <-to:
	default:
	}
	to <- what // has room: only the loop sends
}

// keepKinds has the Kinds kept when they are others than those before.
func (l *loop) keepKinds(o *config.Overlay) {
	if l.p.cfg.KindsChanged == nil {
		return
	}
	if kinds := updatedKinds(o); !slices.EqualFunc(kinds, l.kinds, bytes.Equal) {
		l.kinds = kinds
		latest(l.p.kinds, kinds)
	}
}
