package overlay

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/rs/zerolog"
)

// TestRFC6940_6_3_2_TransactionIDsCannotBeForeseen makes two peers of one configuration: what their nodes draw comes from the
// operating system's randomness and not from what is known of them.
//
// Conformance: B-06
func TestRFC6940_6_3_2_TransactionIDsCannotBeForeseen(t *testing.T) {
	w, m := newWorld(t), newMemory()
	c := Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Log: zerolog.Nop(), Listener: m.listen(), AppListener: m.listen()}
	seen := make(map[uint64]bool)
	const peers, draws = 8, 4
	for range peers {
		if _, err := newPeer(c, func(n node.Config) machine {
			for range draws {
				seen[n.Rand.Uint64()] = true
			}
			return node.New(n)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != peers*draws {
		t.Errorf("%d different numbers of %d", len(seen), peers*draws)
	}
}
