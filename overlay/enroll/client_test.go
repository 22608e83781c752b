package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The whole way, over HTTPS, and a message that the overlay believes.
func TestClientEnrolls(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", ActsFor: []string{"*@example.org"}})
	port := w.serve("127.0.0.1")
	c := w.client(port)
	doc, err := c.Document(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if doc.Overlay.InstanceName != overlayName || string(doc.Raw) != string(w.server.doc.Load().raw) {
		t.Errorf("%+v", doc.Overlay)
	}
	o := w.overlayAt("https://127.0.0.1:" + port)
	own, err := c.Enroll(t.Context(), o, Request{Key: w.key()})
	if err != nil {
		t.Fatal(err)
	}
	user, err := c.Enroll(t.Context(), o, Request{Key: own.Key(), User: "1001@example.org", Node: own.Identity().Node})
	if err != nil {
		t.Fatal(err)
	}
	m := &wire.Message{Header: wire.Header{Overlay: o.ID(), Version: wire.Version, Fragment: wire.Unfragmented}, Body: &wire.PingReq{}}
	raw, err := user.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = o.Schema().Parse(raw); err != nil {
		t.Fatal(err)
	}
	v, err := trust.NewVerifier(o).Verify(time.Now(), m, "")
	if err != nil || v.Sender().User != "1001@example.org" || v.Sender().Node != own.Identity().Node {
		t.Errorf("%+v %v", v.Sender(), err)
	}
}

// Conformance: F-16
func TestClientIsToldTheToken(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", MaxCertificates: 1})
	port := w.serve("127.0.0.1")
	o, c := w.overlayAt("https://127.0.0.1:"+port+"/enroll"), w.client(port)
	want := func(c *Client, r Request, token Token) {
		t.Helper()
		_, err := c.Enroll(t.Context(), o, r)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Token != token {
			t.Errorf("%v, want %s", err, token)
		}
	}
	wrong := *c
	wrong.Password = "wrong horse"
	want(&wrong, Request{Key: w.key()}, FailedAuthentication)
	want(c, Request{Key: w.key(), User: "1001@example.org"}, UsernameNotAvailable)
	want(c, Request{Key: w.key(), NodeIDs: 2}, NodeIDsNotAvailable)
	if _, err := c.Enroll(t.Context(), o, Request{Key: w.key()}); err != nil {
		t.Error(err)
	}
	want(c, Request{Key: w.key()}, NodeIDsNotAvailable)
}

// answering is an HTTPS server that always says the same, and the overlay whose enrollment server it is.
func (w *world) answering(status int, kind, body string) (*config.Overlay, *Client) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", kind)
		rw.Header().Set("Retry-After", "7")
		rw.Header().Set("Location", "https://127.0.0.1:1/")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	}))
	certificate, _ := w.certificateFor("127.0.0.1")(nil)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	w.t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.overlayAt(s.URL), w.client(u.Port())
}

// RFC 6940 §11.3: "If the client receives an unknown token in the body, it SHOULD treat it as a failure for an unknown reason."
//
// Conformance: F-16
func TestRFC6940_11_3_UnknownToken(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]Token{"out_of_cheese": "", "": "", "Failed_Authentication": "", strings.Repeat("x", 3000): "", "bad_CSR": BadCSR,
		" username_not_available\r\n": UsernameNotAvailable} {
		o, c := w.answering(http.StatusForbidden, "text/plain", body)
		_, err := c.Enroll(t.Context(), o, Request{Key: w.key()})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Token != want || len(refused.Text) > maxText {
			t.Errorf("%.20q: %v", body, err)
		}
		if want == "" && !strings.Contains(err.Error(), "unknown reason") {
			t.Error(err)
		}
	}
}

// Conformance: F-10 F-14
func TestClientRefusesOtherAnswers(t *testing.T) {
	w := newWorld(t)
	key := w.key()
	node, err := w.authority.NewNodeID()
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	issue := func(by *trust.Authority, user string) string {
		c, err := by.IssueUser(w.clock.now(), user, node, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Raw)
	}
	stolen, err := w.authority.IssueUser(w.clock.now(), "1001@example.org", node, w.key().Public())
	if err != nil {
		t.Fatal(err)
	}
	server, err := w.authority.IssueServer(w.clock.now(), time.Hour, []string{"example.org"}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	strange, err := w.authority.NewNodeID()
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Key: key, User: "1001@example.org", Node: node}
	for name, c := range map[string]struct {
		status     int
		kind, body string
		r          Request
		want       error
	}{
		"good":                 {200, TypeCertificate, issue(w.authority, r.User), r, nil},
		"type":                 {200, "text/html", issue(w.authority, r.User), r, ErrCertificate},
		"not a certificate":    {200, TypeCertificate, "hello", r, ErrCertificate},
		"another authority":    {200, TypeCertificate, issue(other.authority, r.User), r, ErrCertificate},
		"another user":         {200, TypeCertificate, issue(w.authority, "1002@example.org"), r, ErrCertificate},
		"another node":         {200, TypeCertificate, issue(w.authority, r.User), Request{Key: key, Node: strange}, ErrCertificate},
		"another key":          {200, TypeCertificate, string(stolen.Raw), r, ErrCertificate},
		"server's certificate": {200, TypeCertificate, string(server.Raw), r, ErrCertificate},
		"redirect":             {302, "text/plain", "", r, &StatusError{}},
		"method":               {405, "text/plain", "", r, &StatusError{}},
		"busy":                 {503, "text/plain", "", r, &StatusError{}},
	} {
		t.Run(name, func(t *testing.T) {
			o, client := w.answering(c.status, c.kind, c.body)
			waited := time.Duration(-1)
			client.sleep = func(_ context.Context, d time.Duration) error { waited = d; return context.DeadlineExceeded }
			_, err := client.Enroll(t.Context(), o, c.r)
			var status *StatusError
			if errors.As(c.want, &status) { // any other status than those of the protocol
				if !errors.As(err, &status) || status.Status != c.status {
					t.Errorf("%v, want status %d", err, c.status)
				}
			} else if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if again := c.status == 503; again != (waited >= 0) || again && waited != 7*time.Second {
				t.Errorf("waited %v", waited)
			}
		})
	}
	if _, err := w.client("1").Enroll(t.Context(), w.overlayAt("http://127.0.0.1/"), r); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("a URL without TLS: %v", err)
	}
	none := w.overlayAt("")
	none.EnrollmentServers = nil
	if _, err := w.client("1").Enroll(t.Context(), none, r); !errors.Is(err, ErrNoServer) {
		t.Error(err)
	}
}

// RFC 6940 §11.3: "including PKIX BasicConstraints checks": a node cannot certify others.
//
// Conformance: F-10
func TestRFC6940_11_3_LeafIsNoAuthority(t *testing.T) {
	w := newWorld(t)
	key, nodeKey := w.key(), w.key()
	nodeCert, err := w.authority.IssueNode(w.clock.now(), "gw1@example.org", nodeKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.OpenAuthority(overlayName, nodeKey, nodeCert); err == nil {
		t.Fatal("a node's certificate makes an authority")
	}
	template := &x509.Certificate{SerialNumber: nodeCert.SerialNumber, NotBefore: nodeCert.NotBefore, NotAfter: nodeCert.NotAfter,
		EmailAddresses: []string{"1001@example.org"}, URIs: nodeCert.URIs}
	der, err := x509.CreateCertificate(nil, template, nodeCert, key.Public(), nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	o, c := w.answering(200, TypeCertificate, string(der))
	if _, err := c.Enroll(t.Context(), o, Request{Key: key}); !errors.Is(err, ErrCertificate) {
		t.Error(err)
	}
}

// F-17, T-57: "The server certificate MUST match the overlay name", or the host of the URL in the signed document.
//
// Conformance: F-17
func TestRFC6940_11_3_EnrollmentServerName(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", MaxCertificates: 100})
	for host, want := range map[string]error{overlayName: nil, "127.0.0.1": nil, "example.net": ErrServerCertificate} {
		port := w.serveWith(w.certificateFor(host))
		c, o := w.client(port), w.overlayAt("https://127.0.0.1:"+port+"/")
		for _, roots := range []*x509.CertPool{w.roots(), x509.NewCertPool() /* the overlay's own roots do */} {
			c.Roots = roots
			if _, err := c.Enroll(t.Context(), o, Request{Key: w.key()}); !errors.Is(err, want) {
				t.Errorf("certificate for %s: %v", host, err)
			}
		}
	}
	stranger := newWorld(t)
	port := w.serveWith(stranger.certificateFor(overlayName, "127.0.0.1"))
	if _, err := w.client(port).Enroll(t.Context(), w.overlayAt("https://127.0.0.1:"+port+"/"), Request{Key: w.key()}); !errors.Is(err, ErrServerCertificate) {
		t.Errorf("another authority: %v", err)
	}
}

// F-22: "If an optional URL for the configuration server was provided, the certificate MUST match the domain name from the URL".
//
// Conformance: F-22
func TestRFC6940_11_2_ExplicitURL(t *testing.T) {
	w := newWorld(t)
	for host, want := range map[string]error{"127.0.0.1": nil, overlayName: ErrServerCertificate} {
		if _, err := w.client(w.serveWith(w.certificateFor(host))).Document(t.Context()); !errors.Is(err, want) {
			t.Errorf("certificate for %s: %v", host, err)
		}
	}
	c := w.client(w.serve("127.0.0.1"))
	c.Roots = newWorld(t).roots()
	if _, err := c.Document(t.Context()); !errors.Is(err, ErrServerCertificate) {
		t.Errorf("another authority: %v", err)
	}
}

// nameServer answers SRV questions with records, over real DNS, and address questions with not found.
func nameServer(t *testing.T, records ...*dns.SRV) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Rcode = dns.RcodeNameError
		for _, r := range records {
			if q.Question[0].Qtype == dns.TypeSRV && strings.EqualFold(q.Question[0].Name, r.Hdr.Name) {
				m.Rcode = dns.RcodeSuccess
				m.Answer = append(m.Answer, r)
			}
		}
		_ = rw.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func srv(priority uint16, target, port string) *dns.SRV {
	n, _ := strconv.Atoi(port)
	return &dns.SRV{Hdr: dns.RR_Header{Name: "_reload-config._tcp." + overlayName + ".", Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 60},
		Priority: priority, Weight: 1, Port: uint16(n), Target: target}
}

// F-21: SRV, then https://<overlay>/.well-known/reload-config from the target. Host and SNI are the overlay's name.
//
// Conformance: F-21 F-22
func TestRFC6940_11_2_DiscoveryByDNS(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 10)
	certificate := w.certificateFor(overlayName)
	port := w.serveWith(func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { asked <- h.ServerName; return certificate(h) })
	closed := w.serveDead()
	c := w.client("")
	c.URL, c.Overlay = "", overlayName
	// "localhost" is an address without asking DNS; the first target does not answer.
	c.Resolver = nameServer(t, srv(1, "localhost.", closed), srv(2, "localhost.", port))
	doc, err := c.Document(t.Context())
	if err != nil || doc.Overlay.InstanceName != overlayName {
		t.Fatal(err)
	}
	if sni := <-asked; sni != overlayName {
		t.Errorf("SNI %q", sni)
	}
	// RFC 6940 §11.2: "otherwise, the certificate MUST match the overlay name": not the target's.
	c.Resolver = nameServer(t, srv(1, "localhost.", w.serveWith(w.certificateFor("localhost"))))
	if _, err := c.Document(t.Context()); !errors.Is(err, ErrServerCertificate) {
		t.Error(err)
	}
	c.Resolver = nameServer(t, srv(1, ".", "0"))
	if _, err := c.Document(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	c.Overlay = ""
	if _, err := c.Document(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Without records the address of the overlay's name is tried (RFC 2782).
func TestDiscoveryWithoutRecords(t *testing.T) {
	w := newWorld(t)
	c := w.client("")
	c.URL, c.Overlay, c.Resolver = "", overlayName, nameServer(t)
	tr := c.transport()
	u, err := c.discover(t.Context(), tr)
	if err != nil || u.String() != "https://example.org/.well-known/reload-config" {
		t.Errorf("%v %v", u, err)
	}
}

// serveDead is a port where nobody listens.
func (w *world) serveDead() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		w.t.Fatal(err)
	}
	return port
}

var errAny = errors.New("any error")

// F-23, F-25: a document that is not ours, not good, or not newer is discarded.
//
// Conformance: F-23 F-25
func TestRFC6940_11_2_DiscardsDocuments(t *testing.T) {
	w := newWorld(t)
	w.config.Sequence = 5
	good := w.sign()
	parsed, err := config.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	w.config.Sequence = 4
	older := w.sign()
	w.config.Sequence, w.config.Expiration = 6, w.clock.now().Add(-time.Second).UTC().Truncate(time.Second)
	expired := w.sign()
	w.config.Expiration, w.config.TopologyPlugin = time.Time{}, "PASTRY"
	strange := w.sign()
	other := newWorld(t)
	other.config.Sequence = 7
	for name, c := range map[string]struct {
		doc     string
		overlay string
		want    error
	}{
		"good":            {string(good), overlayName, nil},
		"good, unnamed":   {string(good), "", nil},
		"not XML":         {"<html>", overlayName, ErrDocument},
		"another overlay": {string(good), "example.net", ErrDocument},
		"older":           {string(older), overlayName, ErrDocument},
		"expired":         {string(expired), overlayName, ErrDocument},
		"unsupported":     {string(strange), overlayName, ErrDocument},
		"another signer":  {string(other.sign()), overlayName, ErrDocument},
		"large":           {strings.Repeat(" ", maxDocument+1), overlayName, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := w.answering(200, TypeDocument, c.doc)
			client.Overlay, client.Previous = c.overlay, parsed.Configurations[0].Overlay
			_, err := client.Document(t.Context())
			if errors.Is(c.want, errAny) && err != nil {
				return
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	for _, status := range []int{404, 403, 301} {
		_, client := w.answering(status, "text/plain", "")
		var e *StatusError
		if _, err := client.Document(t.Context()); !errors.As(err, &e) || e.Status != status {
			t.Error(err)
		}
	}
}

// Of several configurations ours is kept, and its signature stays good.
//
// Conformance: F-26
func TestRFC6940_11_1_PicksTheConfiguration(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	parse := func(doc []byte) config.Configuration {
		d, err := config.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		return d.Configurations[0]
	}
	foreign := parse(other.sign())
	foreign.Signed = []byte(strings.Replace(string(foreign.Signed), overlayName, "example.net", 1))
	both := config.AppendDocument(nil, foreign, parse(w.sign()))
	_, c := w.answering(200, TypeDocument, string(both))
	if _, err := c.Document(t.Context()); !errors.Is(err, ErrDocument) {
		t.Errorf("which of two: %v", err)
	}
	c.Overlay = overlayName
	doc, err := c.Document(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := config.Parse(doc.Raw)
	if err != nil || len(kept.Configurations) != 1 {
		t.Fatal(err)
	}
	if err := trust.VerifyDocument(w.clock.now(), &kept.Configurations[0], nil); err != nil {
		t.Error(err)
	}
}
