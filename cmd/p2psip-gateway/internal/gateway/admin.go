package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
)

// adminSource is what the admin server shows: the Gateway.
type adminSource interface {
	status() StatusReport
	registrations() RegistrationsReport
	ring() RingReport
	lookup(ctx context.Context, aor location.AOR) (LookupReport, error)
	canonical(aor string) (location.AOR, error)
	configuration() ConfigReport
	Reload() ReloadReport
	Drain()
	diagnoser
	serviceSource
	trunkSource
	mediaSource
	forwarder
	prover
}

// Limits of the admin server: it serves operators and scrapers, not the public.
const (
	adminHeaderWait = 5 * time.Second
	adminWriteWait  = 30 * time.Second
	adminLookupWait = 16 * time.Second // one RELOAD request at its worst (RFC 6940 §6.2.1) and a little
	adminDrainWait  = 2 * time.Second
	adminHeaderMax  = 16 << 10
)

func adminHandler(s adminSource, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		st := s.status()
		lines := append([]string{"ready"}, st.Remarks()...)
		if len(st.NotReady) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			lines[0] = "not ready: " + strings.Join(st.NotReady, ", ")
		}
		_, _ = w.Write([]byte(strings.Join(lines, "\n") + "\n"))
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.status()) })
	mux.HandleFunc("GET /api/v1/registrations", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.registrations()) })
	mux.HandleFunc("GET /api/v1/ring", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.ring()) })
	mux.HandleFunc("GET /api/v1/lookup", about(s.canonical, func(ctx context.Context, w http.ResponseWriter, r *http.Request, aor location.AOR) {
		report, err := s.lookup(ctx, aor)
		if err != nil {
			writeJSON(w, 504, ErrorReport{err.Error()})
			return
		}
		if r.URL.Query().Has("explain") {
			if report.Steps, err = s.explain(ctx, aor); err != nil {
				writeJSON(w, 504, ErrorReport{err.Error()})
				return
			}
		}
		writeJSON(w, 200, report)
	}))
	mux.HandleFunc("GET /api/v1/config", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.configuration()) })
	mux.HandleFunc("POST /api/v1/reload", func(w http.ResponseWriter, _ *http.Request) {
		r := s.Reload()
		if r.Error != "" {
			writeJSON(w, 422, r)
			return
		}
		writeJSON(w, 200, r)
	})
	mux.HandleFunc("POST /api/v1/drain", func(w http.ResponseWriter, _ *http.Request) {
		s.Drain()
		writeJSON(w, 202, s.status())
	})
	handlePeers(mux, s)
	handleServices(mux, s)
	handleTrunks(mux, s)
	handleMedia(mux, s)
	handleForwards(mux, s)
	handleProofs(mux, s)
	return mux
}

// about reads which address-of-record a request is about, and has f answer it within the time that the overlay may take.
func about(canonical func(string) (location.AOR, error), f func(context.Context, http.ResponseWriter, *http.Request, location.AOR)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		aor, err := canonical(r.URL.Query().Get("aor"))
		if err != nil {
			writeJSON(w, 400, ErrorReport{err.Error()})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminLookupWait)
		defer cancel()
		f(ctx, w, r, aor)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the reader went away
}

// serveAdmin serves until ctx ends.
func serveAdmin(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: adminHeaderWait, WriteTimeout: adminWriteWait, MaxHeaderBytes: adminHeaderMax}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminDrainWait)
		defer cancel()
		if srv.Shutdown(drain) != nil {
			_ = srv.Close()
		}
	}()
	err := srv.Serve(l)
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
