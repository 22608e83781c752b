package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Client is the other half: it fetches the configuration document of an overlay and enrolls an account. It is safe for
// concurrent use as long as its fields stay as they are.
type Client struct {
	// Overlay is the name of the overlay. It may be empty when URL is given: then the document says it.
	Overlay string
	// URL is that of the configuration document. Empty: DNS leads to it (RFC 6940 §11.2).
	URL string
	// Roots are who may vouch for the HTTPS servers; nil: the system's authorities. For the enrollment server the overlay's own
	// roots do as well, once the document is there.
	Roots *x509.CertPool
	// Previous is the configuration that is to be replaced; nil: there is none yet.
	Previous *config.Overlay

	Account, Password string

	// Contacts is told whether the servers answer; nil: nobody is.
	Contacts *Contacts

	Resolver Resolver         // nil: net.DefaultResolver
	Now      func() time.Time // nil: time.Now

	sleep func(context.Context, time.Duration) error // nil: time passes
}

// Resolver is what a Client asks: *net.Resolver.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// reply is what a server said.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends one request over a connection of its own: they are rare, and names are checked differently each time.
func exchange(ctx context.Context, req *http.Request, t *http.Transport, limit int64) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
	t.DisableKeepAlives, t.MaxResponseHeaderBytes = true, maxHeader
	h := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the names that certificates are held against are those of the URL that we know
	}}
	resp, err := h.Do(req.WithContext(ctx))
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		if errors.Is(err, ErrServerCertificate) {
			return nil, bare(err)
		}
		if errors.As(err, &untrusted) {
			return nil, fmt.Errorf("%w: %w", ErrServerCertificate, bare(err))
		}
		return nil, fmt.Errorf("enroll: %w", bare(err))
	}
	defer func() { _ = resp.Body.Close() }()
	r := &reply{status: resp.StatusCode, header: resp.Header}
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	if int64(len(r.body)) > limit {
		return nil, fmt.Errorf("enroll: %s: answer of more than %d octets", req.URL.Redacted(), limit)
	}
	return r, nil
}

// ask is exchange, and remembers whether the server has answered: one that fails by itself has not.
func (c *Client) ask(ctx context.Context, req *http.Request, t *http.Transport, limit int64) (*reply, error) {
	r, err := exchange(ctx, req, t, limit)
	silent := err
	if err == nil && r.status >= http.StatusInternalServerError {
		silent = r.statusError()
	}
	if !errors.Is(silent, context.Canceled) { // by us
		c.Contacts.note(req.URL.Host, c.now(), silent)
	}
	return r, err
}

// bare takes what net/http puts around an error away.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusError is the error for an answer with another status than those of the protocol.
func (r *reply) statusError() error {
	e := &StatusError{Status: r.status}
	if s, err := strconv.ParseUint(r.header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	return e
}

// httpsURL reads a URL that must be of the scheme https.
func httpsURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	if !strings.EqualFold(u.Scheme, "https") || u.Hostname() == "" {
		return nil, fmt.Errorf("enroll: %q is not an https URL", s)
	}
	return u, nil
}

func (c *Client) transport() *http.Transport {
	return &http.Transport{
		DialContext:       (&net.Dialer{Timeout: dialWait}).DialContext,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots, Time: c.now},
		ForceAttemptHTTP2: true,
	}
}
