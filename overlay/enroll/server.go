package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"log"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Result is how a request ended: a closed set, fit for a metric label.
type Result string

// The results. Refusals have their Token as Result.
const (
	ResultIssued    Result = "issued"
	ResultMalformed Result = "malformed" // not a request of this protocol
	ResultLimited   Result = "rate_limited"
	ResultBusy      Result = "busy"
	ResultFailed    Result = "failed" // our fault
)

// Event is what a Server tells of one request. It never holds a password. The account of a request is named when it exists.
type Event struct {
	Result  Result
	Source  string // address, without the port
	Account string
	Issued  Issued // with ResultIssued
	Err     error  // otherwise
}

// ServerConfig is what a Server needs. All fields but Now, Observe and HTTPLog must be set.
type ServerConfig struct {
	Authority *trust.Authority
	Accounts  *Accounts
	// Document is the signed configuration document, of one overlay: the authority's.
	Document []byte
	Now      func() time.Time // nil: time.Now
	Observe  func(Event)      // nil: nobody; it must not block
	HTTPLog  *log.Logger      // what net/http has to say, failed handshakes above all; nil: nobody
}

// Server is the configuration server (RFC 6940 §11.2) and the enrollment server (§11.3) of one overlay: GET of WellKnownPath
// is answered with the document, POST of "/" or "/enroll" with a certificate. It is an http.Handler; see Serve.
type Server struct {
	c       ServerConfig
	gate    *gate
	sources *buckets
	doc     atomic.Pointer[published]
	mux     *http.ServeMux
}

// NewServer checks the document as Publish does.
func NewServer(c ServerConfig) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	s := &Server{c: c, gate: newGate(c.Accounts), sources: newBuckets(requestsPerSecond, requestsBurst, maxSources), mux: http.NewServeMux()}
	if err := s.Publish(c.Document); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("GET "+WellKnownPath, s.serveDocument)
	s.mux.HandleFunc("POST /{$}", s.serveEnrollment)
	s.mux.HandleFunc("POST /enroll", s.serveEnrollment)
	return s, nil
}

// Overlay is the configuration that is served.
func (s *Server) Overlay() *config.Overlay { return s.doc.Load().overlay }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if wait, ok := s.sources.take(sourceOf(r.RemoteAddr), s.c.Now()); !ok {
		s.tooMany(w, r, "", &limitedError{wait: wait})
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
}

// serveEnrollment is the certificate request protocol (RFC 6940 §11.3).
func (s *Server) serveEnrollment(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestWait)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	cert, done, account, err := s.enroll(ctx, r)
	if err != nil {
		s.refuse(w, r, account, err)
		return
	}
	s.c.Observe(Event{Result: ResultIssued, Source: sourceOf(r.RemoteAddr), Account: account, Issued: done})
	// RFC 6940 §11.3: "The certificate MUST be returned as type "application/pkix-cert" ... with an HTTP status code of 200 OK."
	w.Header().Set("Content-Type", TypeCertificate)
	w.Header().Set("Content-Length", strconv.Itoa(len(cert.Raw)))
	_, _ = w.Write(cert.Raw) // a client that is gone asks again
}

// enroll does what a request asks for. account is that of the request, if it exists.
func (s *Server) enroll(ctx context.Context, r *http.Request) (cert *x509.Certificate, done Issued, account string, err error) {
	if !accepts(r.Header, TypeCertificate) {
		return nil, done, "", bad(http.StatusNotAcceptable, "the request must have Accept: %s", TypeCertificate)
	}
	f, err := readForm(r)
	if err != nil {
		return nil, done, "", err
	}
	now := s.c.Now()
	// RFC 6940 §11.3: "The enrollment server MUST authenticate the request": nothing else is looked at before.
	g, known, err := s.gate.authenticate(ctx, sourceOf(r.RemoteAddr), f.account, f.password, now)
	if known {
		account = f.account
	}
	if err != nil {
		return nil, done, account, err
	}
	if f.csrType != TypeRequest {
		return nil, done, account, refuse(BadCSR, "csr has the content type %.40q", f.csrType)
	}
	if g.csr, g.user, err = readRequest(f.csr); err != nil {
		return nil, done, account, err
	}
	if g.nodeIDs, err = readNodeIDs(f.nodeIDs); err != nil {
		return nil, done, account, err
	}
	cert, done, err = s.c.Accounts.issue(s.c.Authority, s.Overlay().AllowsUser, g, now)
	return cert, done, account, err
}

// refuse answers a request that failed, and tells the observer.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, account string, err error) {
	e := Event{Result: ResultFailed, Source: sourceOf(r.RemoteAddr), Account: account, Err: err}
	var refused *RefusedError
	var limited *limitedError
	var malformed *httpError
	switch {
	case errors.As(err, &refused):
		e.Result = Result(refused.Token)
		// RFC 6940 §11.3: "an HTTP return code of 403 Forbidden, along with a body of type "text/plain" and body that consists
		// of one of the tokens".
		text(w, http.StatusForbidden, string(refused.Token))
	case errors.As(err, &limited):
		s.tooMany(w, r, account, limited)
		return
	case errors.As(err, &malformed):
		e.Result = ResultMalformed
		text(w, malformed.status, malformed.Error())
	default:
		text(w, http.StatusInternalServerError, "internal error")
	}
	s.c.Observe(e)
}

func (s *Server) tooMany(w http.ResponseWriter, r *http.Request, account string, e *limitedError) {
	result, status := ResultLimited, http.StatusTooManyRequests
	if e.busy {
		result, status = ResultBusy, http.StatusServiceUnavailable
	}
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.wait.Seconds())))))
	text(w, status, "try again later")
	s.c.Observe(Event{Result: result, Source: sourceOf(r.RemoteAddr), Account: account, Err: e})
}

// text answers with a body of exactly the text.
func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // a client that is gone needs no answer
}
