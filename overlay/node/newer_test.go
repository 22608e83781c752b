package node_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// RFC 6940 §6.5.4.2: a document is processed only if its "sequence number [..] is greater than the current configuration sequence number". The node
// says so itself, whatever a driver that checks the signature makes of it.
//
// Conformance: C-30
func TestRFC6940_6_5_4_2_ANodeTakesNoDocumentThatIsNotNewer(t *testing.T) {
	self, err := wire.NodeIDFromBytes(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		have, given uint16
		taken       bool
	}{
		{7, 6, false}, {7, 7, false}, {7, 8, true}, {config.MaxSequence, 0, true}, {0, config.MaxSequence, false},
	} {
		o := config.New("example.org")
		o.NoICE, o.Sequence = true, c.have
		n := node.New(node.Config{Overlay: o, Self: self, First: true, Rand: rand.New(rand.NewPCG(1, 1))})
		n.Do(now, node.OpConfigure{Document: []byte("another document")})
		asked := n.Take().Configure
		if len(asked) != 1 {
			t.Fatalf("%+v", asked)
		}
		given := *o
		given.Sequence = c.given
		n.Configured(now, asked[0].Job, &given, nil) // a driver that objects to nothing
		e := n.Take()
		want := c.have
		if c.taken {
			want = c.given
		}
		if len(e.Done) != 1 || errors.Is(e.Done[0].Err, node.ErrNotNewer) == c.taken || n.Overlay().Sequence != want || (e.Reconfigured != nil) != c.taken {
			t.Errorf("%d after %d: %+v, sequence %d, %+v", c.given, c.have, e.Done, n.Overlay().Sequence, e.Reconfigured)
		}
	}
}
