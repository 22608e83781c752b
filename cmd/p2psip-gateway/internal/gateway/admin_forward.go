package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
)

// forwarder is the part of an adminSource that forwards calls.
type forwarder interface {
	sortedForwards() []ForwardReport
	forward(ctx context.Context, aor location.AOR, uri string) (ForwardReport, error)
	explain(ctx context.Context, aor location.AOR) ([]StepReport, error)
}

// ForwardsReport is GET /api/v1/forwards.
type ForwardsReport struct {
	Forwards []ForwardReport `json:"forwards"`
}

// ForwardReport is where the calls go that would ring at this gateway: also the answer to PUT and DELETE of /api/v1/forwards/AOR.
type ForwardReport struct {
	AOR   string    `json:"aor"`
	URI   string    `json:"uri"` // empty: the user's phones ring
	Since time.Time `json:"since,omitzero"`
	State string    `json:"state"`           // of the record in the overlay: stored | alone | pending | local-only; empty: there is none
	Error string    `json:"error,omitempty"` // why the overlay does not have it yet; it is tried again
}

// ForwardRequest is the body of PUT /api/v1/forwards/AOR.
type ForwardRequest struct {
	URI string `json:"uri"` // a SIP URI, or a user of the domain
}

// StepReport is one URI that the record of a user leads to.
type StepReport struct {
	AOR      string   `json:"aor"` // whose record it is
	URI      string   `json:"uri"`
	Depth    int      `json:"depth"`    // how many forwardings led there
	Result   string   `json:"result"`   // followed | outside | loop | again | too deep | no answer
	Gateways []string `json:"gateways"` // Node-IDs of those where the one behind it is registered
}

const (
	forwardBodyMax = 4 << 10
	forwardWait    = 3 * time.Second // for the overlay: what it has not taken by then is tried again
)

func handleForwards(mux *http.ServeMux, s adminSource) {
	mux.HandleFunc("GET /api/v1/forwards", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, ForwardsReport{s.sortedForwards()}) })
	change := func(w http.ResponseWriter, r *http.Request, uri string) {
		aor, err := s.canonical(r.PathValue("aor"))
		if err != nil {
			writeJSON(w, 400, ErrorReport{err.Error()})
			return
		}
		report, err := s.forward(r.Context(), aor, uri)
		if err != nil {
			writeJSON(w, 422, ErrorReport{err.Error()})
			return
		}
		writeJSON(w, 200, report)
	}
	mux.HandleFunc("PUT /api/v1/forwards/{aor}", func(w http.ResponseWriter, r *http.Request) {
		var body ForwardRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, forwardBodyMax)).Decode(&body); err != nil || body.URI == "" {
			writeJSON(w, 400, ErrorReport{codeForward + ` want {"uri": "sip:user@host"}`})
			return
		}
		change(w, r, body.URI)
	})
	mux.HandleFunc("DELETE /api/v1/forwards/{aor}", func(w http.ResponseWriter, r *http.Request) { change(w, r, "") })
}

// forward sets a forwarding, or ends it when uri is empty, and waits a while for the overlay.
func (g *Gateway) forward(ctx context.Context, aor location.AOR, uri string) (ForwardReport, error) {
	if uri != "" {
		err := g.forwardable(aor)
		if err == nil {
			uri, err = g.destination(aor, uri)
		}
		if err != nil {
			return ForwardReport{}, err
		}
	}
	told := make(chan error, 1)
	now := time.Now()
	if err := g.forwards.change(aor, uri, now, func(err error) { told <- err }); err != nil {
		return ForwardReport{}, err
	}
	g.usage.Invalidate(aor)
	g.o.Log.Info().Str("component", "gateway").Str("aor", string(aor)).Str("uri", uri).Msg("forwarding set")
	r := ForwardReport{AOR: string(aor), URI: uri}
	if uri != "" {
		r.Since = g.forwards.all()[aor].Since
	}
	ctx, cancel := context.WithTimeout(ctx, forwardWait)
	defer cancel()
	select {
	case err := <-told:
		if err != nil {
			r.Error = err.Error()
		}
	case <-ctx.Done():
		r.Error = "the overlay has not answered yet"
	}
	r.State = string(g.publisher.State(aor))
	return r, nil
}

// explain follows the forwardings of aor in the overlay.
func (g *Gateway) explain(ctx context.Context, aor location.AOR) ([]StepReport, error) {
	steps, err := g.usage.Explain(ctx, aor)
	if err != nil {
		return nil, err
	}
	out := []StepReport{}
	for _, s := range steps {
		r := StepReport{AOR: string(s.AOR), URI: s.URI, Depth: s.Depth, Result: string(s.End), Gateways: []string{}}
		for _, gr := range s.Nodes {
			r.Gateways = append(r.Gateways, nodeOf(gr, g.peer.NodeID().Len()))
		}
		if s.Here {
			r.Gateways = append(r.Gateways, g.peer.NodeID().String())
		}
		out = append(out, r)
	}
	return out, nil
}

// nodeOf is the Node-ID that a gr value leads to.
func nodeOf(gr string, length int) string {
	dest, err := sipusage.ParseGR(gr, length)
	if err != nil {
		return gr
	}
	id, _ := sipusage.Terminal(dest)
	return fmt.Sprint(id)
}
