package gateway

import (
	"context"
	"net/http"
)

// diagnoser is the part of an adminSource that looks at the overlay node by node.
type diagnoser interface {
	peers() PeersReport
	target(s string) (target, error)
	ping(ctx context.Context, to target) (PingReport, error)
	trace(ctx context.Context, to target) TraceReport
}

func handlePeers(mux *http.ServeMux, s diagnoser) {
	mux.HandleFunc("GET /api/v1/peers", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.peers()) })
	mux.HandleFunc("GET /api/v1/ping", towards(s, func(ctx context.Context, w http.ResponseWriter, to target) {
		report, err := s.ping(ctx, to)
		if err != nil {
			writeJSON(w, 504, ErrorReport{err.Error()})
			return
		}
		writeJSON(w, 200, report)
	}))
	mux.HandleFunc("GET /api/v1/trace", towards(s, func(ctx context.Context, w http.ResponseWriter, to target) {
		writeJSON(w, 200, s.trace(ctx, to))
	}))
}

// towards reads the target of a diagnostic request.
func towards(s diagnoser, f func(context.Context, http.ResponseWriter, target)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to, err := s.target(r.URL.Query().Get("to"))
		if err != nil {
			writeJSON(w, 400, ErrorReport{err.Error()})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminLookupWait)
		defer cancel()
		f(ctx, w, to)
	}
}
