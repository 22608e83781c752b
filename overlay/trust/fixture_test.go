package trust_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const overlayName = "example.org"

var now = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

// keys are made once for each type: RSA keys take their time.
var (
	keysMu sync.Mutex
	keys   = map[trust.KeyType][]crypto.Signer{}
)

func key(t testing.TB, kt trust.KeyType, i int) crypto.Signer {
	t.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	for len(keys[kt]) <= i {
		k, err := trust.GenerateKey(kt)
		if err != nil {
			t.Fatal(err)
		}
		keys[kt] = append(keys[kt], k)
	}
	return keys[kt][i]
}

// chainOf is what a handshake with s shows.
func chainOf(s *trust.Signer) (certs []*x509.Certificate) {
	for _, c := range s.Chain() {
		certs = append(certs, c.X509())
	}
	return certs
}

// bothKeyTypes runs a test with each key type: "every signature test runs with both".
func bothKeyTypes(t *testing.T, test func(t *testing.T, w *world)) {
	for _, kt := range []trust.KeyType{trust.P256, trust.RSA2048} {
		t.Run(string(kt), func(t *testing.T) { test(t, newWorld(t, kt)) })
	}
}

// world is an overlay with a gateway and a user whom it serves.
type world struct {
	kt        trust.KeyType
	overlay   *config.Overlay
	authority *trust.Authority
	node      *trust.Signer // gw1@example.org
	alice     *trust.Signer // alice@example.org, with the key and the Node-ID of the gateway
}

func newWorld(t testing.TB, kt trust.KeyType) *world {
	t.Helper()
	a, err := trust.NewAuthority(overlayName, kt, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{kt: kt, overlay: config.New(overlayName), authority: a}
	w.overlay.RootCerts = []*x509.Certificate{a.Certificate()}
	k := key(t, kt, 0)
	cert, err := a.IssueNode(now, "gw1@example.org", k.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.node = newSigner(t, k, cert)
	w.alice = w.user(t, "alice@example.org")
	return w
}

// user is the signer with which the gateway acts for aor.
func (w *world) user(t testing.TB, aor string) *trust.Signer {
	t.Helper()
	cert, err := w.authority.IssueUser(now, aor, w.node.Identity().Node, w.node.Key().Public())
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, w.node.Key(), cert)
}

func newSigner(t testing.TB, k crypto.Signer, chain ...*x509.Certificate) *trust.Signer {
	t.Helper()
	s, err := trust.NewSigner(overlayName, k, chain...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seal seals a message with body and reads it again, as its receiver would.
func (w *world) seal(t testing.TB, by *trust.Signer, body wire.Body, bucket ...wire.Certificate) *wire.Message {
	t.Helper()
	m := &wire.Message{Header: w.header(), Body: body, Security: wire.SecurityBlock{Certificates: bucket}}
	raw, err := by.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	return w.parse(t, raw)
}

func (w *world) header() wire.Header {
	return wire.Header{Overlay: w.overlay.ID(), ConfigSequence: 1, Version: wire.Version, TTL: 100, Fragment: wire.Unfragmented,
		Transaction: 0x0102030405060708, Destinations: wire.NewDestinationList(wire.ToNode(wire.Wildcard(16)))}
}

func (w *world) parse(t testing.TB, raw []byte) *wire.Message {
	t.Helper()
	m, err := w.overlay.Schema().Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// value is a signed SIP-REGISTRATION of the gateway under aor's Resource-ID.
func (w *world) value(t testing.TB, by *trust.Signer) wire.StoredData {
	t.Helper()
	id := by.Identity()
	route := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(id.Node))}
	d := wire.StoredData{StorageTime: 1700000000000, Lifetime: 3600, Value: wire.StoredValue{
		Model: wire.Dictionary, Key: string(id.Node.Bytes()), Exists: true,
		Data: route.AppendTo(nil),
	}}
	if err := by.SignValue(wire.ResourceIDOf(id.User), wire.KindSIPRegistration, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func storeReq(user string, values ...wire.StoredData) *wire.StoreReq {
	return &wire.StoreReq{Resource: wire.ResourceIDOf(user), Kinds: []wire.StoreKindData{{Kind: wire.KindSIPRegistration, Values: values}}}
}

func wantReason(t testing.TB, err error, want trust.Reason) {
	t.Helper()
	var r *trust.RefusalError
	if !errors.As(err, &r) || r.Reason != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// template is a certificate as an authority of another make might issue it.
func template(user string, uris ...string) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	if user != "" {
		c.EmailAddresses = []string{user}
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	return c
}

func create(t testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// certify has the world's authority sign a template.
func (w *world) certify(t testing.TB, tmpl *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	return create(t, tmpl, w.authority.Certificate(), pub, w.authority.Key())
}

func mustNode(t testing.TB, s string) wire.NodeID {
	t.Helper()
	id, err := wire.ParseNodeID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
