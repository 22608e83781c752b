package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

const (
	overlayName = "example.org"
	password    = "correct horse"
)

// cheap keeps tests that try many passwords quick. TestArgon2id has the real cost.
var cheap = argon{memory: 64, passes: 1}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is an overlay with its authority, accounts and server.
type world struct {
	t         testing.TB
	clock     *clock
	authority *trust.Authority
	signer    *trust.Signer
	config    *config.Overlay // as written; the server has its own
	accounts  *Accounts
	server    *Server

	mu     sync.Mutex
	events []Event
}

func newWorld(t testing.TB, change ...func(*config.Overlay)) *world {
	t.Helper()
	w := &world{t: t, clock: newClock()}
	var err error
	if w.authority, err = trust.NewAuthority(overlayName, trust.P256, w.clock.now(), nil); err != nil {
		t.Fatal(err)
	}
	key := w.key()
	cert, err := w.authority.IssueNode(w.clock.now(), "signer@"+overlayName, key.Public())
	if err == nil {
		w.signer, err = trust.NewSigner(overlayName, key, cert)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := config.New(overlayName)
	o.Sequence, o.NoICE, o.TurnDensity = 1, true, 0
	o.RootCerts = []*x509.Certificate{w.authority.Certificate()}
	o.ConfigurationSigners = append(o.ConfigurationSigners, w.signer.Identity().Node)
	o.KindSigners = o.ConfigurationSigners
	o.EnrollmentServers = []string{"https://" + overlayName + "/"}
	for _, f := range change {
		f(o)
	}
	w.config = o
	w.accounts = openCheap(t, t.TempDir())
	w.server, err = NewServer(ServerConfig{Authority: w.authority, Accounts: w.accounts, Document: w.sign(), Now: w.clock.now, Observe: w.observe})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func openCheap(t testing.TB, dir string) *Accounts {
	t.Helper()
	a, err := OpenAccounts(dir)
	if err != nil {
		t.Fatal(err)
	}
	a.cost = cheap
	return a
}

func (w *world) key() crypto.Signer {
	w.t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// sign is the document that says what w.config does.
func (w *world) sign() []byte {
	w.t.Helper()
	doc, err := trust.SignDocument(w.config, w.signer)
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

func (w *world) observe(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) lastEvent() Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return Event{}
	}
	return w.events[len(w.events)-1]
}

func (w *world) add(a Account) {
	w.t.Helper()
	if a.User == "" {
		a.User = a.Name + "@" + overlayName
	}
	if err := w.accounts.Add(a, password, w.clock.now()); err != nil {
		w.t.Fatal(err)
	}
}

// post is one request of the protocol, as a handler sees it.
type post struct {
	account, password, user, nodeIDs string
	key                              crypto.Signer // nil: a new one
	csr                              []byte        // in the place of what key and user make
	from                             string        // address; empty: 192.0.2.1:1000
}

func (w *world) request(p post) *http.Request {
	w.t.Helper()
	if p.key == nil {
		p.key = w.key()
	}
	if p.csr == nil {
		var err error
		if p.csr, err = newRequest(p.key, p.user); err != nil {
			w.t.Fatal(err)
		}
	}
	body, kind, err := newForm(p.account, p.password, 0, p.csr)
	if err != nil {
		w.t.Fatal(err)
	}
	if p.nodeIDs != "" {
		boundary := kind[len("multipart/form-data; boundary="):]
		field := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"nodeids\"\r\n\r\n" + p.nodeIDs + "\r\n"
		body = append([]byte(field), body...)
	}
	r := httptest.NewRequest(http.MethodPost, "/enroll", bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", TypeCertificate)
	if r.RemoteAddr = "192.0.2.1:1000"; p.from != "" {
		r.RemoteAddr = p.from
	}
	return r
}

func (w *world) do(p post) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, w.request(p))
	return rec
}

// issued does a request that succeeds.
func (w *world) issued(p post) trust.Identity {
	w.t.Helper()
	rec := w.do(p)
	if rec.Code != http.StatusOK {
		w.t.Fatalf("%d %s; %+v", rec.Code, rec.Body, w.lastEvent())
	}
	cert, err := x509.ParseCertificate(rec.Body.Bytes())
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := trust.NewVerifier(w.server.Overlay()).VerifyLink(w.clock.now(), []*x509.Certificate{cert})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// refused does a request that is answered with a token.
func (w *world) refused(p post, want Token) {
	w.t.Helper()
	rec := w.do(p)
	if rec.Code != http.StatusForbidden || rec.Body.String() != string(want) || rec.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		w.t.Fatalf("%d %q %v, want 403 %s; %+v", rec.Code, rec.Body, rec.Header(), want, w.lastEvent())
	}
	if e := w.lastEvent(); e.Result != Result(want) || e.Err == nil {
		w.t.Fatalf("the observer was told %+v", e)
	}
}

// serve runs the server on loopback with a certificate for hosts, and the overlay's name first. The result is its port.
func (w *world) serve(hosts ...string) string {
	w.t.Helper()
	c, err := NewServerCertificate(w.authority, hosts, w.clock.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.serveWith(c.Get)
}

func (w *world) serveWith(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l, certificate) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	return port
}

// certificateFor is a server certificate for exactly these hosts.
func (w *world) certificateFor(hosts ...string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.t.Helper()
	key := w.key()
	cert, err := w.authority.IssueServer(w.clock.now(), time.Hour, hosts, key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	c := &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
}

func (w *world) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(w.authority.Certificate())
	return p
}

// client is one that does not wait between attempts: it fails the test when it wants to.
func (w *world) client(port string) *Client {
	return &Client{URL: "https://127.0.0.1:" + port + WellKnownPath, Roots: w.roots(), Account: "gw1", Password: password, Now: w.clock.now,
		sleep: func(context.Context, time.Duration) error { return context.DeadlineExceeded }}
}

// overlayAt is the overlay with its enrollment server at port.
func (w *world) overlayAt(url string) *config.Overlay {
	o := *w.server.Overlay()
	o.EnrollmentServers = []string{url}
	return &o
}

func (w *world) caFile() string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.authority.Certificate().Raw}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
