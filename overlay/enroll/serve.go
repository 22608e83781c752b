package enroll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Serve answers HTTPS requests on l, which it closes, until ctx ends; then what is under way may end. certificate is asked at
// each handshake.
func (s *Server) Serve(ctx context.Context, l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) error {
	httpLog := s.c.HTTPLog
	if httpLog == nil {
		httpLog = log.New(io.Discard, "", 0)
	}
	srv := &http.Server{
		Handler: s, ErrorLog: httpLog, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerWait, ReadTimeout: requestWait, WriteTimeout: answerWait, IdleTimeout: idleWait,
		// RFC 6940 §11.3: "The certificate request protocol MUST be performed over HTTPS."
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(netutil.LimitListener(newFair(l, maxConnsPerSource), maxConns), "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("enroll: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancel()
	err := srv.Shutdown(wait)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	<-ended
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	return nil
}

// ServerCertificate makes certificates for the HTTPS server that the authority of the overlay signs: for an overlay whose
// operator has none of a public authority. It is safe for concurrent use.
type ServerCertificate struct {
	by    *trust.Authority
	hosts []string
	now   func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

// NewServerCertificate makes one for the name of the overlay and for hosts, DNS names and IP addresses. RFC 6940 §11.3: "The
// server certificate MUST match the overlay name"; §11.2 wants the host of an explicit URL. now nil means time.Now.
func NewServerCertificate(by *trust.Authority, hosts []string, now func() time.Time) (*ServerCertificate, error) {
	if now == nil {
		now = time.Now
	}
	all := slices.Compact(slices.Sorted(slices.Values(append([]string{by.Overlay()}, hosts...))))
	if len(all) > maxServerHost {
		return nil, fmt.Errorf("%w: %d names for one server certificate", ErrTooLarge, len(all))
	}
	c := &ServerCertificate{by: by, hosts: all, now: now}
	_, err := c.Get(nil)
	return c, err
}

// Get is for tls.Config.GetCertificate. The certificate is made anew when two thirds of its lifetime are over.
func (c *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current != nil && now.Before(c.renewAt) {
		return c.current, nil
	}
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		return nil, err
	}
	cert, err := c.by.IssueServer(now, tlsLifetime, c.hosts, key.Public())
	if err != nil {
		return nil, err
	}
	c.current, c.renewAt = &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, twoThirds(trust.NewCertificate(cert))
	return c.current, nil
}

// twoThirds is when two thirds of a certificate's lifetime are over.
func twoThirds(cert *trust.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
}
