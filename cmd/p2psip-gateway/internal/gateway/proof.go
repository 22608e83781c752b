package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/proof"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// prover makes proof files.
type prover interface {
	canonical(aor string) (location.AOR, error)
	// proof is a proof file of what the overlay holds of aor; the error wraps location.ErrNotFound when that is nothing.
	proof(ctx context.Context, aor location.AOR) ([]byte, error)
}

func (g *Gateway) proof(ctx context.Context, aor location.AOR) ([]byte, error) {
	_ = g.publisher.Show(ctx, aor) // what has failed is not there
	e, err := g.peer.Evidence(ctx, wire.ResourceIDOf(string(aor)), wire.KindSIPRegistration)
	if err != nil {
		return nil, err
	}
	if len(e.Values) == 0 {
		return nil, fmt.Errorf("%s is not registered anywhere: %w", aor, location.ErrNotFound)
	}
	return proof.Seal(proof.Observation{
		Overlay: g.Overlay().InstanceName, AOR: string(aor), Fetched: time.Now(), Responsible: e.Responsible, Replicas: e.Replicas,
		Values: e.Values, Certificates: e.Certificates,
	}, g.peer.Signer())
}

func handleProofs(mux *http.ServeMux, s prover) {
	mux.HandleFunc("GET /api/v1/proof", about(s.canonical, func(ctx context.Context, w http.ResponseWriter, _ *http.Request, aor location.AOR) {
		b, err := s.proof(ctx, aor)
		switch {
		case errors.Is(err, location.ErrNotFound):
			writeJSON(w, 404, ErrorReport{err.Error()})
		case err != nil:
			writeJSON(w, 504, ErrorReport{err.Error()})
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(b) // as it is: no other way of writing it is a proof
		}
	}))
}
