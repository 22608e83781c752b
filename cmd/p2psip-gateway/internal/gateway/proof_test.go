package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/proof"
)

func (fakeNode) proof(_ context.Context, aor location.AOR) ([]byte, error) {
	switch aor {
	case "slow@d":
		return nil, location.ErrUnavailable
	case "nobody@d":
		return nil, location.ErrNotFound
	}
	return []byte("{}\n"), nil
}

// Each gateway writes a proof of where somebody is registered, whoever holds the record, and it holds in the hands of who knows the document only.
func TestAProofOfARegistrationHoldsOffline(t *testing.T) {
	gs := ring(t, 3, 1)
	p := newPhone(t, "1001", gs[1])
	if res := p.register(300); res.StatusCode != 200 {
		t.Fatalf("REGISTER: %d", res.StatusCode)
	}
	for _, g := range gs {
		eventually(t, "the record of 1001", func() error { return found(g, "1001", gs[1]) })
		b, err := g.proof(t.Context(), "1001@"+testDomain)
		if err != nil {
			t.Fatal(err)
		}
		f, err := proof.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		r := f.Verify(time.Now(), g.Overlay())
		if err := r.Err(); err != nil {
			t.Errorf("%v: %+v", err, r.Checks)
		}
		recs := f.Records()
		if len(recs) != 1 || recs[0].Gateway != gs[1].peer.NodeID() || recs[0].Certificate == nil {
			t.Errorf("%+v", recs)
		}
	}
	if _, err := gs[0].proof(t.Context(), "1002@"+testDomain); !errors.Is(err, location.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
