package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: F-04 F-18
func TestRFC6940_11_3_SameAccountGetsTheSameNodeIDs(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	a := w.issued(post{account: "alice", password: password})
	b := w.issued(post{account: "alice", password: password, user: "alice@" + overlayName})
	if a.Node != b.Node || a.Cert.X509().SerialNumber.Cmp(b.Cert.X509().SerialNumber) == 0 || a.User != "alice@example.org" {
		t.Errorf("%s %s, %s %s", a.Node, a.Cert.X509().SerialNumber, b.Node, b.Cert.X509().SerialNumber)
	}
	w.add(Account{Name: "bob"})
	if c := w.issued(post{account: "bob", password: password}); c.Node == a.Node {
		t.Error("two accounts have one Node-ID")
	}
}

// The Node-IDs outlive the server.
func TestNodeIDsAreDurable(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", ActsFor: []string{"*@example.org"}})
	a := w.issued(post{account: "gw1", password: password})
	again := openCheap(t, w.accounts.dir)
	var err error
	if w.server, err = NewServer(ServerConfig{Authority: w.authority, Accounts: again, Document: w.sign(), Now: w.clock.now, Observe: w.observe}); err != nil {
		t.Fatal(err)
	}
	if b := w.issued(post{account: "gw1", password: password, user: "1001@example.org"}); b.Node != a.Node {
		t.Errorf("%s, then %s", a.Node, b.Node)
	}
	all, err := again.Issued(w.clock.now())
	if err != nil || len(all) != 2 || all[1].User != "1001@example.org" && all[0].User != "1001@example.org" || all[0].Nodes[0] != a.Node.String() {
		t.Errorf("%+v %v", all, err)
	}
}

// T-71: whatever name a gateway asks for, the certificate has the gateway's Node-ID, so that two gateways of one user differ.
//
// Conformance: F-05
func TestGatewayActsForUsers(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"gw1", "gw2"} {
		w.add(Account{Name: name, ActsFor: []string{"*@example.org", "+4930*@example.org", "boss@other.example"}, Share: true})
	}
	w.add(Account{Name: "alice"})
	key := w.key()
	own := w.issued(post{account: "gw1", password: password, key: key})
	for want, name := range map[string]string{"1001@example.org": "1001@EXAMPLE.org", "alice@example.org": "alice@example.org",
		"boss@other.example": "boss@other.example", "+4930*@example.org": "+4930*@example.org"} {
		id := w.issued(post{account: "gw1", password: password, user: name, key: key})
		if id.Node != own.Node || id.User != want || len(id.Nodes) != 1 {
			t.Errorf("%s: %s %s, want %s %s", name, id.User, id.Node, want, own.Node)
		}
	}
	if id := w.issued(post{account: "gw2", password: password, user: "1001@example.org"}); id.Node == own.Node {
		t.Error("two gateways have one Node-ID for one user")
	}
	for _, name := range []string{
		"1001@other.example", "gw2@example.org" /* a gateway's own name */, "+49*@example.org" /* a range that is not named */, "*@example.org",
		"1001", "@example.org", "a@b@example.org", "a b@example.org", "a\x00@example.org", "1001@example.org.evil",
	} {
		w.refused(post{account: "gw1", password: password, user: name}, UsernameNotAvailable)
	}
	// F-05
	w.refused(post{account: "alice", password: password, user: "bob@example.org"}, UsernameNotAvailable)
	w.refused(post{account: "alice", password: password, user: "gw1@example.org"}, UsernameNotAvailable)
}

// RFC 7904 §3.4: names that the overlay would not store.
func TestDomainRestriction(t *testing.T) {
	w := newWorld(t, func(o *config.Overlay) {
		k, _ := config.Registered(wire.KindSIPRegistration) // the restriction stands in its element
		k.MaxCount, k.MaxSize = 16, 1000
		o.Kinds = append(o.Kinds, k)
		o.Domains, _ = config.NewDomainRestriction(true, `example\.org`)
	})
	w.add(Account{Name: "gw1", ActsFor: []string{"*@example.org", "*@other.example"}})
	w.issued(post{account: "gw1", password: password, user: "1001@example.org"})
	w.refused(post{account: "gw1", password: password, user: "1001@other.example"}, UsernameNotAvailable)
}

// Conformance: F-19
func TestRFC6940_11_3_AuthenticatesFirst(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice", MaxCertificates: 1})
	w.issued(post{account: "alice", password: password})
	for _, p := range []post{
		{account: "alice", password: "wrong horse"}, {account: "alice"}, {}, {password: password},
		{account: "nobody", password: password},
		{account: "Alice", password: password},           // F-15: not folded
		{account: "alice", password: password, user: ""}, // over its cap: below
		{account: "alice", password: "wrong horse", user: "bob@example.org", nodeIDs: "9", csr: []byte("x")},
	} {
		w.clock.add(time.Hour)
		if p.password == password && p.account == "alice" {
			w.refused(p, NodeIDsNotAvailable) // F-19
			continue
		}
		w.refused(p, FailedAuthentication)
	}
}

// F-15: "strings compared as binary objects".
//
// Conformance: F-15
func TestRFC6940_11_3_PasswordsAreOctets(t *testing.T) {
	w := newWorld(t)
	composed, decomposed := "gr\u00fc\u00dfe-12", "gru\u0308\u00dfe-12"
	if err := w.accounts.Add(Account{Name: "r\u00e9my", User: "remy@example.org"}, composed, w.clock.now()); err != nil {
		t.Fatal(err)
	}
	w.issued(post{account: "r\u00e9my", password: composed})
	w.refused(post{account: "r\u00e9my", password: decomposed}, FailedAuthentication)
	w.refused(post{account: "re\u0301my", password: composed}, FailedAuthentication)
	w.refused(post{account: "r\u00e9my", password: composed + "\n"}, FailedAuthentication)
}

// Conformance: F-16 F-18
func TestRFC6940_11_3_BadCSR(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice", MaxCertificates: 100})
	key := w.key()
	good, err := newRequest(key, "alice@example.org")
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	weak, err := newRequest(small, "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := newRequest(p384, "")
	if err != nil {
		t.Fatal(err)
	}
	two, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{EmailAddresses: []string{"alice@example.org", "bob@example.org"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, csr := range map[string][]byte{"empty": {}, "text": []byte("-----BEGIN CERTIFICATE REQUEST-----"), "cut": good[:len(good)-5],
		"more": append(bytes.Clone(good), 0), "forged signature": forged, "RSA-1024": weak, "P-384": other, "two names": two,
		"large": make([]byte, maxRequest)} {
		t.Run(name, func(t *testing.T) { w.refused(post{account: "alice", password: password, csr: csr}, BadCSR) })
	}
	r := w.request(post{account: "alice", password: password})
	body := bytes.Replace(readAll(t, r), []byte(TypeRequest), []byte("application/pdf"), 1)
	again := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	again.Header = r.Header
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, again)
	if rec.Body.String() != string(BadCSR) {
		t.Errorf("a CSR of another content type: %d %s", rec.Code, rec.Body)
	}
}

func readAll(t *testing.T, r *http.Request) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// F-03: what a request says of Node-IDs, subjects and other names has no say. F-01: nothing of it gets into the certificate.
//
// Conformance: F-01 F-03
func TestRFC6940_11_3_RequesterChoosesNothingButTheName(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	wanted := "reload://0110" + strings.Repeat("ab", 16) + "@example.org/"
	u, err := url.Parse(wanted)
	if err != nil {
		t.Fatal(err)
	}
	key := w.key()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "root"}, URIs: []*url.URL{u},
		DNSNames: []string{"example.org"}, EmailAddresses: []string{"alice@example.org"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	id := w.issued(post{account: "alice", password: password, csr: csr})
	c := id.Cert.X509()
	if len(c.URIs) != 1 || c.URIs[0].String() == wanted || len(c.DNSNames) != 0 || len(c.EmailAddresses) != 1 || c.IsCA || !bytes.Equal(c.RawSubject, []byte{0x30, 0}) {
		t.Errorf("%v %v %v %v %q", c.URIs, c.DNSNames, c.EmailAddresses, c.IsCA, c.Subject)
	}
}

func TestRFC6940_11_3_NumberOfNodeIDs(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice", MaxNodeIDs: 3, MaxCertificates: 100})
	one := w.issued(post{account: "alice", password: password})
	three := w.issued(post{account: "alice", password: password, nodeIDs: "3"})
	if len(three.Nodes) != 3 || three.Nodes[0] != one.Node {
		t.Errorf("%v after %v", three.Nodes, one.Nodes)
	}
	if again := w.issued(post{account: "alice", password: password, nodeIDs: " 1 "}); len(again.Nodes) != 1 || again.Node != one.Node {
		t.Errorf("%v after %v", again.Nodes, one.Nodes)
	}
	for _, n := range []string{"4", "0", "-1", "x", "65537", "1.0"} {
		w.refused(post{account: "alice", password: password, nodeIDs: n}, NodeIDsNotAvailable)
	}
}

// RFC 6940 §4.6.2: attackers cannot get a large number of certificates.
//
// Conformance: F-19
func TestRFC6940_4_6_2_CapOnCertificates(t *testing.T) {
	w := newWorld(t)
	w.authority.Lifetime = 10 * 24 * time.Hour
	w.add(Account{Name: "gw1", MaxCertificates: 2, ActsFor: []string{"*@example.org"}})
	key := w.key()
	p := post{account: "gw1", password: password, key: key}
	w.issued(p)
	p.user = "1001@example.org"
	w.issued(p)
	w.issued(p) // renewed: not one more
	p.user = "1002@example.org"
	w.refused(p, NodeIDsNotAvailable)
	w.refused(post{account: "gw1", password: password}, NodeIDsNotAvailable) // another key is one more
	w.clock.add(11 * 24 * time.Hour)                                         // all have expired
	w.issued(p)
}

// Conformance: F-14
func TestHTTPErrors(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"Accept missing", func(r *http.Request) { r.Header.Del("Accept") }, http.StatusNotAcceptable},
		{"Accept of curl", func(r *http.Request) { r.Header.Set("Accept", "*/*") }, http.StatusNotAcceptable},
		{"Accept refused", func(r *http.Request) { r.Header.Set("Accept", TypeCertificate+";q=0") }, http.StatusNotAcceptable},
		{"Accept among others", func(r *http.Request) { r.Header.Set("Accept", "text/html, application/PKIX-cert;q=0.9") }, http.StatusOK},
		{"not a form", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, http.StatusUnsupportedMediaType},
		{"no boundary", func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data") }, http.StatusUnsupportedMediaType},
		{"other boundary", func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, http.StatusBadRequest},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		{"other path", func(r *http.Request) { r.URL.Path = "/x" }, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.request(post{account: "alice", password: password})
			c.change(r)
			rec := httptest.NewRecorder()
			w.server.ServeHTTP(rec, r)
			if rec.Code != c.want {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if cc := rec.Header().Get("Cache-Control"); cc != "no-store" {
				t.Errorf("Cache-Control: %s", cc)
			}
		})
	}
}

func TestFormLimits(t *testing.T) {
	w := newWorld(t)
	field := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	for _, c := range []struct {
		name, body string
		want       int
	}{
		{"long name", field(fieldAccount, strings.Repeat("a", maxField+1)) + "--b--", http.StatusRequestEntityTooLarge},
		{"long CSR", field(fieldRequest, strings.Repeat("a", maxRequest+1)) + "--b--", http.StatusRequestEntityTooLarge},
		{"long form", strings.Repeat(field("x", "")+field(fieldAccount, "a"), 1) + "--b\r\n" + strings.Repeat("X-H: y\r\n", maxForm/8), http.StatusRequestEntityTooLarge},
		{"twice", field(fieldAccount, "a") + field(fieldAccount, "b") + "--b--", http.StatusBadRequest},
		{"many", field("1", "") + field("2", "") + field("3", "") + field("4", "") + field("5", "") + field("6", "") + field("7", "") + field("8", "") +
			field("9", "") + "--b--", http.StatusBadRequest},
		{"not ended", field(fieldAccount, "a"), http.StatusBadRequest},
		{"empty", "", http.StatusBadRequest},
		{"unknown parameters", field("x", "y") + "--b--", http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
			r.Header.Set("Accept", TypeCertificate)
			rec := httptest.NewRecorder()
			w.server.ServeHTTP(rec, r)
			if rec.Code != c.want {
				t.Errorf("%d %s, want %d", rec.Code, rec.Body, c.want)
			}
		})
	}
}

func TestRSA(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	key, err := trust.GenerateKey(trust.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	if id := w.issued(post{account: "alice", password: password, key: key}); id.User != "alice@example.org" {
		t.Error(id.User)
	}
}
