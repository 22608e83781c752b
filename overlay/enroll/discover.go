package enroll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Document is a configuration document that was fetched and verified.
type Document struct {
	Raw      []byte // of one configuration; what a node keeps
	Overlay  *config.Overlay
	Warnings []string // what was tolerated, for the operator
}

// Document fetches the configuration document (RFC 6940 §11.2), and again until it is there, ctx ends, or trying again does
// not help. It is good at the time, of the overlay that is meant, signed, not older than Previous, and one that this program
// can take part in. Errors wrap ErrServerCertificate, ErrDocument or ErrNotFound, or are *StatusError.
func (c *Client) Document(ctx context.Context) (*Document, error) {
	var d *Document
	err := c.retry(ctx, func(int) (err error) {
		d, _, err = c.fetch(ctx, "")
		return err
	})
	return d, err
}

// fetch asks once. With the etag of a document that is known already, d is nil when there is no other one.
func (c *Client) fetch(ctx context.Context, etag string) (d *Document, tag string, err error) {
	r, err := c.get(ctx, etag)
	switch {
	case err != nil:
		return nil, "", err
	case r.status == http.StatusNotModified && etag != "":
		return nil, etag, nil
	case r.status != http.StatusOK:
		return nil, "", r.statusError()
	}
	if d, err = c.accept(r.body); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return d, r.header.Get("ETag"), nil
}

// get is the GET of the document.
func (c *Client) get(ctx context.Context, etag string) (*reply, error) {
	t := c.transport()
	var u *url.URL
	var err error
	if c.URL != "" {
		// RFC 6940 §11.2: "If an optional URL for the configuration server was provided, the certificate MUST match the domain
		// name from the URL ...; otherwise, the certificate MUST match the overlay name".
		u, err = httpsURL(c.URL)
	} else {
		u, err = c.discover(ctx, t)
	}
	if err != nil {
		c.Contacts.note(c.Overlay, c.now(), err)
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	req.Header.Set("Accept", TypeDocument)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	return c.ask(ctx, req, t, maxDocument)
}

// discover finds the configuration server by the name of the overlay and has t connect to it. RFC 6940 §11.2: "the node MUST do
// a DNS SRV query using a Service name of "reload-config" and a protocol of TCP to find a configuration server and form the
// URL by appending a path of "/.well-known/reload-config" to the overlay name." So the URL, the Host header and the name in
// the certificate are the overlay's, and the SRV record only says where to connect.
func (c *Client) discover(ctx context.Context, t *http.Transport) (*url.URL, error) {
	u := &url.URL{Scheme: "https", Host: c.Overlay, Path: WellKnownPath}
	if c.Overlay == "" {
		return nil, fmt.Errorf("%w: neither a URL nor the name of the overlay is known", ErrNotFound)
	}
	var resolver Resolver = net.DefaultResolver
	if c.Resolver != nil {
		resolver = c.Resolver
	}
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	_, targets, err := resolver.LookupSRV(ctx, srvService, srvProto, strings.TrimSuffix(c.Overlay, ".")+".")
	var dnsErr *net.DNSError
	switch {
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return u, nil // RFC 2782: without records, the address of the name itself
	case err != nil && len(targets) == 0:
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	case len(targets) == 1 && targets[0].Target == ".":
		return nil, fmt.Errorf("%w: %s offers no such service", ErrNotFound, c.Overlay) // RFC 2782
	}
	t.DialContext = dialTargets(targets[:min(len(targets), maxTargets)])
	return u, nil
}

// dialTargets connects to the first target that answers; they are in the order of RFC 2782.
func dialTargets(targets []*net.SRV) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialWait}
	return func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		for _, t := range targets {
			addr := net.JoinHostPort(strings.TrimSuffix(t.Target, "."), strconv.Itoa(int(t.Port)))
			if conn, err = d.DialContext(ctx, network, addr); err == nil || ctx.Err() != nil {
				break
			}
		}
		return conn, err
	}
}

// accept reads and checks a document. RFC 6940 §11.2: "If the XML is not valid or the instance-name attribute ... does not match
// the overlay name, this configurations file SHOULD be discarded."
func (c *Client) accept(raw []byte) (*Document, error) {
	d, err := config.Parse(raw)
	if err != nil {
		return nil, err
	}
	conf, now := d.Find(c.Overlay), c.now()
	if conf == nil {
		return nil, fmt.Errorf("it is of %s, not of overlay %q", strings.Join(d.Names(), ", "), c.Overlay)
	}
	if len(d.Configurations) > 1 {
		// RFC 6940 §11.1: the file may hold several; ours is kept, and what is signed stays octet for octet.
		raw = config.AppendDocument(nil, *conf)
	}
	o := conf.Overlay
	if c.Previous != nil && config.Newer(c.Previous.Sequence, o.Sequence) {
		return nil, fmt.Errorf("its sequence %d is older than ours, %d", o.Sequence, c.Previous.Sequence)
	}
	if err := trust.VerifyDocument(now, conf, c.Previous); err != nil {
		return nil, err
	}
	if o.Expired(now) {
		return nil, fmt.Errorf("it expired at %s", o.Expiration.Format(time.RFC3339))
	}
	if err := o.Supported(); err != nil {
		return nil, err
	}
	return &Document{Raw: raw, Overlay: o, Warnings: conf.Warnings}, nil
}
