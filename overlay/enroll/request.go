package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Request asks for one certificate.
type Request struct {
	Key crypto.Signer // a gateway uses the same for itself and all of its users
	// User is the user name wanted, "user@domain"; empty: the account's own.
	User string
	// Node, when set, must be among the Node-IDs of the certificate: a gateway can use no other for its users.
	Node wire.NodeID
	// NodeIDs is how many Node-IDs are wanted; 0 means 1.
	NodeIDs int
}

// Enroll gets a certificate from an enrollment server of o (RFC 6940 §11.3), and tries again until it has one, ctx ends, or
// trying again does not help. Errors are *RefusedError or *StatusError, or wrap ErrNoServer, ErrServerCertificate or
// ErrCertificate.
func (c *Client) Enroll(ctx context.Context, o *config.Overlay, r Request) (*trust.Signer, error) {
	if len(o.EnrollmentServers) == 0 {
		return nil, ErrNoServer
	}
	csr, err := newRequest(r.Key, r.User)
	if err != nil {
		return nil, err
	}
	body, kind, err := newForm(c.Account, c.Password, r.NodeIDs, csr)
	if err != nil {
		return nil, err
	}
	var s *trust.Signer
	first := randomIndex(len(o.EnrollmentServers))
	err = c.retry(ctx, func(attempt int) error {
		server := o.EnrollmentServers[(first+attempt)%len(o.EnrollmentServers)]
		der, err := c.post(ctx, o, server, kind, body)
		if err != nil {
			return err
		}
		if s, err = c.check(o, r, der); err != nil {
			return fmt.Errorf("%w: %w", ErrCertificate, err)
		}
		return nil
	})
	return s, err
}

// newRequest is a certificate signing request with a user name, if one is wanted, as the rfc822Name of a subjectAltName in an
// extensionRequest (RFC 6940 §11.3 leaves the place open).
func newRequest(key crypto.Signer, user string) ([]byte, error) {
	template := &x509.CertificateRequest{}
	if user != "" {
		template.EmailAddresses = []string{user}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	return der, nil
}

// newForm encodes the parameters of RFC 6940 §11.3 as multipart/form-data.
func newForm(account, password string, nodeIDs int, csr []byte) (body []byte, kind string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fields := [][2]string{{fieldAccount, account}, {fieldPassword, password}}
	if nodeIDs > 1 {
		fields = append(fields, [2]string{fieldNodeIDs, strconv.Itoa(nodeIDs)})
	}
	for _, f := range fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, "", fmt.Errorf("enroll: %w", err)
		}
	}
	// RFC 6940 §11.3: "a form parameter of "csr" with a content type of "application/pkcs10"".
	p, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="` + fieldRequest + `"; filename="request.p10"`}, "Content-Type": {TypeRequest}})
	if err == nil {
		_, err = p.Write(csr)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, "", fmt.Errorf("enroll: %w", err)
	}
	return b.Bytes(), w.FormDataContentType(), nil
}

// post sends the form to one server and returns the certificate that it answers with.
func (c *Client) post(ctx context.Context, o *config.Overlay, server, kind string, body []byte) ([]byte, error) {
	u, err := httpsURL(server)
	if err != nil {
		return nil, err
	}
	if u.Path == "" {
		u.Path = "/"
	}
	req, err := http.NewRequest(http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	// RFC 6940 §11.3: "The Accept header MUST contain the type "application/pkix-cert"".
	req.Header.Set("Accept", TypeCertificate)
	r, err := c.ask(ctx, req, c.enrollTransport(o, u), maxCertificate)
	if err != nil {
		return nil, err
	}
	got, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	switch {
	case r.status == http.StatusForbidden:
		return nil, r.refusal()
	case r.status != http.StatusOK:
		return nil, r.statusError()
	case got != TypeCertificate:
		return nil, fmt.Errorf("%w: the answer is of type %.80q", ErrCertificate, got)
	}
	return r.body, nil
}

// refusal reads the token of an answer 403. White space around it is tolerated.
func (r *reply) refusal() error {
	s := string(r.body[:min(len(r.body), maxText)])
	if t := Token(strings.TrimSpace(s)); slices.Contains(tokens, t) {
		return &RefusedError{Token: t}
	}
	return &RefusedError{Text: s}
}

// enrollTransport checks the server's certificate itself. RFC 6940 §11.3: "The server certificate MUST match the overlay name";
// §11.1: "there is no necessary relationship between the overlay name/configuration server name and the enrollment server
// name". The URL comes from the signed document, so that the name in it does as well as the overlay's.
func (c *Client) enrollTransport(o *config.Overlay, u *url.URL) *http.Transport {
	own := x509.NewCertPool()
	for _, cert := range o.RootCerts {
		own.AddCert(cert)
	}
	t := c.transport()
	t.TLSClientConfig.InsecureSkipVerify = true // VerifyConnection verifies
	t.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		opts := x509.VerifyOptions{Roots: c.Roots, Intermediates: x509.NewCertPool(), CurrentTime: c.now()}
		for _, cert := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := leaf.Verify(opts)
		if err != nil {
			opts.Roots = own
			if _, err2 := leaf.Verify(opts); err2 != nil {
				return fmt.Errorf("%w: %w", ErrServerCertificate, err)
			}
		}
		if err := leaf.VerifyHostname(u.Hostname()); err != nil && leaf.VerifyHostname(o.InstanceName) != nil {
			return fmt.Errorf("%w: %w", ErrServerCertificate, err)
		}
		return nil
	}
	return t
}

// check holds the answer against the request. RFC 6940 §11.3: "The client MUST check that the returned certificate chains back to
// one of the certificates received in the "root-cert" list of the overlay configuration data (including PKIX BasicConstraints
// checks). The node then reads the certificate to find the Node-ID it can use."
func (c *Client) check(o *config.Overlay, r Request, der []byte) (*trust.Signer, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	s, err := trust.NewSigner(o.InstanceName, r.Key, cert)
	if err != nil {
		return nil, err
	}
	id, err := trust.NewVerifier(o).VerifyLink(c.now(), []*x509.Certificate{cert})
	if err != nil {
		return nil, err
	}
	if want, _ := CanonicalUser(r.User); r.User != "" && id.User != want {
		return nil, fmt.Errorf("it is of %s, not of %s", id.User, r.User)
	}
	if !r.Node.IsZero() && !slices.Contains(id.Nodes, r.Node) {
		return nil, fmt.Errorf("it has the Node-IDs %v, not ours, %s", id.Nodes, r.Node)
	}
	return s, nil
}
