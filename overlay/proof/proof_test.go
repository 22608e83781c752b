package proof

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const (
	name  = "example.org"
	alice = "alice@" + name
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)

// world is an overlay with one gateway that holds the certificate of alice.
type world struct {
	t         testing.TB
	authority *trust.Authority
	overlay   *config.Overlay
	gateway   *trust.Signer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, err := trust.NewAuthority(name, trust.P256, now.Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, authority: a, overlay: config.New(name)}
	w.overlay.RootCerts = []*x509.Certificate{a.Certificate()}
	w.gateway = w.node("gw1@" + name)
	return w
}

func (w *world) node(user string) *trust.Signer {
	w.t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.authority.IssueNode(now, user, key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signer(trust.NewSigner(name, key, cert))
}

func (w *world) signer(s *trust.Signer, err error) *trust.Signer {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// user is a signer for a user at a gateway.
func (w *world) user(user string, at *trust.Signer) *trust.Signer {
	w.t.Helper()
	cert, err := w.authority.IssueUser(now, user, at.Identity().Node, at.Key().Public())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signer(trust.NewSigner(name, at.Key(), cert))
}

// value is a registration under key, with a route to node, signed by by for alice.
func (w *world) value(by *trust.Signer, key, node wire.NodeID) wire.StoredData {
	w.t.Helper()
	reg := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(node))}
	d := wire.StoredData{StorageTime: uint64(now.UnixMilli()), Lifetime: 3600,
		Value: wire.StoredValue{Model: wire.Dictionary, Key: string(key.Bytes()), Exists: true, Data: reg.AppendTo(nil)}}
	if err := by.SignValue(wire.ResourceIDOf(alice), wire.KindSIPRegistration, &d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// observation is what an honest gateway fetched.
func (w *world) observation() Observation {
	by, node := w.user(alice, w.gateway), w.gateway.Identity().Node
	return Observation{Overlay: name, AOR: alice, Fetched: now.Add(time.Minute), Responsible: node, Replicas: []wire.NodeID{node},
		Values: []wire.StoredData{w.value(by, node, node)}, Certificates: by.Certificates()}
}

func (w *world) seal(o Observation) []byte {
	w.t.Helper()
	b, err := Seal(o, w.gateway)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// check is everything that is done with a file.
func check(b []byte, at time.Time, o *config.Overlay) error {
	p, err := Parse(b)
	if err != nil {
		return err
	}
	return p.Verify(at, o).Err()
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || f.Code != code || !strings.HasPrefix(f.Error(), code+" ") {
		t.Errorf("%v, want %s", err, code)
	}
}

func TestAProofHoldsOffline(t *testing.T) {
	w := newWorld(t)
	b := w.seal(w.observation())
	p, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Verify(now.Add(30*time.Minute), w.overlay)
	if err := r.Err(); err != nil || len(r.Checks) != 7 {
		t.Errorf("%v: %+v", err, r.Checks)
	}
	node := w.gateway.Identity().Node
	recs := p.Records()
	if len(recs) != 1 || recs[0].Gateway != node || len(recs[0].Route) != 1 || recs[0].Route[0] != node || recs[0].Certificate == nil ||
		!recs[0].Stored.Equal(now.Truncate(time.Millisecond)) || !recs[0].Until.Equal(p.Time().Add(time.Hour)) {
		t.Errorf("%+v", recs)
	}
	if bytes.ContainsAny(b[:len(b)-1], " \t\r\n") {
		t.Error("white space, which says nothing, could be changed unnoticed")
	}
}

// Whichever octet of a file is changed, the file proves nothing any more, and the error has a name.
func TestOneFlippedByteAnywhereFails(t *testing.T) {
	w := newWorld(t)
	b := w.seal(w.observation())
	at := now.Add(30 * time.Minute)
	if err := check(b, at, w.overlay); err != nil {
		t.Fatal(err)
	}
	flip := func(i int, mask byte) {
		c := bytes.Clone(b)
		c[i] ^= mask
		var f *Failure
		if err := check(c, at, w.overlay); !errors.As(err, &f) || f.Code == "" {
			t.Errorf("octet %d of %d ^ %#x: %v", i, len(b), mask, err)
		}
	}
	for i := range b {
		flip(i, 1)
		flip(i, 1<<(1+i%7))
	}
	for _, c := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), '\n'), append([]byte(" "), b...), append(bytes.Clone(b), b...)} {
		wantCode(t, check(c, at, w.overlay), CodeForm)
	}
}

// A node of the overlay may seal what it likes; what it was not given it can not make up.
func TestASealedLieIsFound(t *testing.T) {
	w := newWorld(t)
	other := w.node("gw2@" + name)
	node := w.gateway.Identity().Node
	for _, c := range []struct {
		what, code string
		change     func(*Observation)
	}{
		{"another route", CodeSignature, func(o *Observation) {
			reg := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(other.Identity().Node))}
			o.Values[0].Value.Data = reg.AppendTo(nil)
		}},
		{"another storage time", CodeSignature, func(o *Observation) { o.Values[0].StorageTime++ }},
		{"a value that was taken away", CodeSignature, func(o *Observation) { o.Values[0].Value.Exists = false }},
		{"an unsigned value", CodeSignature, func(o *Observation) { o.Values[0].Signature.Value = nil }},
		{"no certificate", CodeCertificate, func(o *Observation) { o.Certificates = nil }},
		{"somebody else's certificate", CodeUser, func(o *Observation) {
			bob := w.user("bob@"+name, w.gateway)
			o.Values, o.Certificates = []wire.StoredData{w.value(bob, node, node)}, bob.Certificates()
		}},
		{"somebody else's record", CodeSignature, func(o *Observation) { o.AOR = "bob@" + name }},
		{"a certificate for another node", CodeNode, func(o *Observation) {
			at := w.user(alice, other)
			o.Values, o.Certificates = []wire.StoredData{w.value(at, node, node)}, at.Certificates()
		}},
		{"a route to another node", CodeNode, func(o *Observation) {
			by := w.user(alice, w.gateway)
			o.Values, o.Certificates = []wire.StoredData{w.value(by, node, other.Identity().Node)}, by.Certificates()
		}},
		{"one good value and one bad", CodeSignature, func(o *Observation) {
			bad := o.Values[0]
			bad.StorageTime++
			o.Values = append(o.Values, bad)
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := w.observation()
			c.change(&o)
			p, err := Parse(w.seal(o))
			if err != nil {
				t.Fatal(err)
			}
			err = p.Verify(now.Add(30*time.Minute), w.overlay).Err()
			wantCode(t, err, c.code)
		})
	}
}

func TestAProofIsAboutOneOverlayAndATime(t *testing.T) {
	w := newWorld(t)
	b := w.seal(w.observation())
	for at, code := range map[time.Duration]string{-2 * time.Second: CodeTime, 0: "", time.Hour: "", time.Hour + time.Minute: CodeTime, 10 * 365 * 24 * time.Hour: CodeTime} {
		err := check(b, now.Add(at), w.overlay)
		if code == "" {
			if err != nil {
				t.Errorf("at %v: %v", at, err)
			}
			continue
		}
		wantCode(t, err, code)
	}
	wantCode(t, check(b, now, config.New("example.net")), CodeOverlay)
	wantCode(t, check(b, now, newWorld(t).overlay), CodeSeal) // of the same name, with other roots
	o := config.New(name)
	o.RootCerts, o.Domains = w.overlay.RootCerts, &config.DomainRestriction{Enable: true}
	wantCode(t, check(b, now, o), CodeUser)
	stranger := newWorld(t)
	lie, err := Seal(w.observation(), stranger.gateway)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, check(lie, now, w.overlay), CodeSeal)
	wantCode(t, check(lie, now, stranger.overlay), CodeCertificate)
}

// again seals a proof once more after a change.
func (w *world) again(change func(*Proof)) *Proof {
	w.t.Helper()
	p, err := Parse(w.seal(w.observation()))
	if err != nil {
		w.t.Fatal(err)
	}
	change(p)
	covered, err := p.covered()
	if err != nil {
		w.t.Fatal(err)
	}
	seal, err := w.gateway.SignBlob(covered)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Seal = encode(seal)
	b, err := p.encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if p, err = Parse(b); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestTheSealIsThatOfTheNodeNamed(t *testing.T) {
	w := newWorld(t)
	other := w.node("gw2@" + name).Identity().Node
	wantCode(t, w.again(func(p *Proof) { p.FetchedBy = other.String() }).Verify(now, w.overlay).Err(), CodeSeal)
}

// The record of one user under the name of another, sealed again.
func TestTheResourceIsThatOfTheAOR(t *testing.T) {
	w := newWorld(t)
	r := w.again(func(p *Proof) { p.AOR = "bob@" + name }).Verify(now, w.overlay)
	wantCode(t, r.Err(), CodeUser)
	if last := r.Checks[len(r.Checks)-1]; last.What != "resource" || last.OK || !r.Checks[0].OK {
		t.Errorf("%+v", r.Checks)
	}
}

func TestALongProofIsNotWritten(t *testing.T) {
	w := newWorld(t)
	o := w.observation()
	for range maxValues {
		o.Values = append(o.Values, o.Values[0])
	}
	if _, err := Seal(o, w.gateway); err == nil {
		t.Error("written")
	}
}

func FuzzProof(f *testing.F) {
	w := newWorld(f)
	b := w.seal(w.observation())
	f.Add(b)
	f.Add(bytes.Replace(b, []byte(`"values":["`), []byte(`"values":["AAAA`), 1))
	f.Add([]byte(`{"format":"p2psip-proof-1"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := Parse(file)
		if err != nil {
			wantCode(t, err, CodeForm)
			return
		}
		p.Records()
		if err := p.Verify(now, w.overlay).Err(); (err == nil) != bytes.Equal(file, b) {
			t.Errorf("%v for\n%s", err, file)
		}
	})
}
