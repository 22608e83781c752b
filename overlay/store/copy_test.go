package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: B-33 D-21 D-52
func TestRFC6940_10_4_CopyIsTheSameElsewhere(t *testing.T) {
	a, b := New(testOverlay()), New(testOverlay())
	mustPut(t, a, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)), kindData(kindArray, 0, alice.element(0, "", 1, hour)))
	mustPut(t, a, at0(0), alice2, kindData(sipReg, 0, alice2.entry("", 1, hour)))
	req, certs := a.Copy(at0(10), alice.resource(), 2)
	if req.Replica != 2 || req.Resource != alice.resource() || !slices.EqualFunc(certs, []holder{alice, alice2},
		func(c wire.Certificate, h holder) bool { return string(c.Data) == string(h.cert.Data) }) {
		t.Fatalf("%+v with %d certificates", req, len(certs))
	}
	v := storeReq(peer, req.Resource, req.Replica, req.Kinds...)
	if _, e := b.Put(at0(10), v, false); e != nil {
		t.Fatalf("%s", e.Info)
	}
	again, certsAgain := b.Copy(at0(10), alice.resource(), 2)
	if d := cmp.Diff(req, again); d != "" || cmp.Diff(certs, certsAgain) != "" {
		t.Fatal("the copy of the copy differs", d)
	}
	if _, e := b.Put(at0(20), v, false); e != nil { // a refresh
		t.Fatalf("%s", e.Info)
	}
	if none, c := a.Copy(at0(10), bob.resource(), 1); none != nil || c != nil {
		t.Fatal("a copy of nothing")
	}
	b.Drop(alice.resource())
	b.Drop(alice.resource())
	if len(b.Resources()) != 0 || len(b.Count()) != 0 || b.octets != 0 || len(b.certs) != 0 || !b.Deadline().IsZero() {
		t.Fatal("something left after Drop")
	}
}

// What is stored holds no message. A certificate that was read, as the verifier does, is in memory anyway, and is not copied.
func TestCertificateIsHeldOnce(t *testing.T) {
	for name, read := range map[string]bool{"octets of a message": false, "read before": true} {
		h := alice
		h.cert.Data = slices.Clone(alice.cert.Data)
		if read {
			h.Cert = &trust.Certificate{Raw: slices.Clone(alice.cert.Data), NotAfter: at0(hour)}
		}
		v := storeReq(h, h.resource(), 0, kindData(kindSingle, 0, h.single("x", 1, 10)))
		v.Message().Security.Certificates[0] = h.cert
		s := New(testOverlay())
		if _, e := s.Put(at0(0), trust.Assume(v.Message(), h.Identity, trust.ValueSigner{Identity: h.Identity}), true); e != nil {
			t.Fatalf("%s: %s", name, e.Info)
		}
		clear(h.cert.Data)
		for _, c := range s.certs {
			if string(c.Data) != string(alice.cert.Data) || read && &c.Data[0] != &h.Cert.Raw[0] {
				t.Errorf("%s: %q is held", name, c.Data)
			}
		}
		if len(s.certs) != 1 {
			t.Errorf("%s: %d certificates", name, len(s.certs))
		}
	}
}

// Conformance: B-33 B-34
func TestCertificatesLiveAsLongAsTheirValues(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, 10)), kindData(kindSingle, 0, alice.single("x", 1, 20)))
	mustPut(t, s, at0(0), alice2, kindData(sipReg, 0, alice2.entry("x", 1, 30)))
	for _, c := range []struct {
		at   float64
		want int
	}{{0, 2}, {10, 2}, {20, 1}, {30, 0}} {
		if s.Expire(at0(c.at)); len(s.certs) != c.want {
			t.Fatalf("at %v s: %d certificates", c.at, len(s.certs))
		}
	}
	mustPut(t, s, at0(40), alice, kindData(sipReg, 0, alice.entry("x", 1, 10)))
	_, certs, _ := s.Fetch(at0(40), fetchReq(alice.resource(), wildcard(sipReg)))
	if len(certs) != 1 || string(certs[0].Data) != string(alice.cert.Data) {
		t.Fatalf("fetched with %d certificates", len(certs))
	}
}

func TestRFC6940_6_3_4_SignerIdentityForms(t *testing.T) {
	der := alice.cert.Data
	withNode := append(alice.Node.Bytes(), der...)
	s1, s256, s384, s512 := sha1.Sum(der), sha256.Sum256(der), sha512.Sum384(der), sha512.Sum512(der)
	n256 := sha256.Sum256(withNode)
	for _, c := range []struct {
		id    wire.SignerIdentity
		found bool
	}{
		{wire.SignerIdentity{Type: 1, Hash: 2, CertHash: string(s1[:])}, true},
		{wire.SignerIdentity{Type: 1, Hash: 4, CertHash: string(s256[:])}, true},
		{wire.SignerIdentity{Type: 1, Hash: 5, CertHash: string(s384[:])}, true},
		{wire.SignerIdentity{Type: 1, Hash: 6, CertHash: string(s512[:])}, true},
		{wire.SignerIdentity{Type: 2, Hash: 4, CertHash: string(n256[:])}, true},
		{wire.SignerIdentity{Type: 2, Hash: 4, CertHash: string(s256[:])}, false},
		{wire.SignerIdentity{Type: 1, Hash: 1, CertHash: "md5"}, false},
		{wire.SignerIdentity{Type: 9}, false},
	} {
		v := storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("x", 1, hour)))
		m := v.Message()
		m.Body.(*wire.StoreReq).Kinds[0].Values[0].Signature.Identity = c.id
		s := New(testOverlay())
		if _, e := s.Put(at0(0), trust.Assume(m, alice.Identity, trust.ValueSigner{Identity: alice.Identity}), true); e != nil {
			t.Fatal(e)
		}
		_, certs := s.Copy(at0(0), alice.resource(), 1)
		if c.found != (len(certs) == 1 && string(certs[0].Data) == string(der)) {
			t.Errorf("%+v: %d certificates", c.id, len(certs))
		}
	}
}

type testChain struct{ root, middle, leaf *x509.Certificate }

func chain(t *testing.T) testChain {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string, parent *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: at0(-50), NotAfter: at0(50),
			IsCA: name != "leaf", BasicConstraintsValid: true}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return c
	}
	root := issue("root", nil)
	middle := issue("middle", root)
	return testChain{root, middle, issue("leaf", middle)}
}

// Conformance: B-33
func TestRFC6940_6_3_4_IntermediateCertificatesAreKept(t *testing.T) {
	c := chain(t)
	h := holder{Identity: alice.Identity, cert: wire.Certificate{Data: c.leaf.Raw}}
	h.Cert = trust.NewCertificate(c.leaf)
	v := storeReq(h, h.resource(), 0, kindData(sipReg, 0, h.entry("x", 1, hour)))
	v.Message().Security.Certificates = []wire.Certificate{{Data: c.middle.Raw}, peer.cert, h.cert}
	s := New(testOverlay())
	if _, e := s.Put(at0(0), trust.Assume(v.Message(), h.Identity, trust.ValueSigner{Identity: h.Identity}), true); e != nil {
		t.Fatal(e)
	}
	_, certs := s.Copy(at0(0), h.resource(), 1)
	if len(certs) != 2 || string(certs[0].Data) != string(c.leaf.Raw) || string(certs[1].Data) != string(c.middle.Raw) {
		t.Fatalf("%d certificates", len(certs))
	}
}

// fetchAns is a verified FetchAns of s.
func fetchAns(t *testing.T, s *Store, now float64, res wire.ResourceID, specs ...wire.Specifier) trust.Verified {
	t.Helper()
	ans, certs, e := s.Fetch(at0(now), fetchReq(res, specs...))
	if e != nil {
		t.Fatal(e)
	}
	m := &wire.Message{Body: ans}
	m.Security.Certificates = certs
	var signers []trust.ValueSigner
	for _, k := range ans.Kinds {
		for _, d := range k.Values {
			signers = append(signers, signerOf(d))
		}
	}
	return trust.Assume(m, peer.Identity, signers...)
}

// Conformance: D-26
func TestRFC6940_7_4_1_1_AdoptMergesByStorageTime(t *testing.T) {
	a, b := New(testOverlay()), New(testOverlay())
	mustPut(t, a, at0(0), alice, kindData(sipReg, 0, alice.entry("newer", 5, hour)), kindData(kindSingle, 0, alice.single("s", 1, hour)))
	mustPut(t, a, at0(0), alice2, kindData(sipReg, 0, alice2.entry("older", 1, hour)))
	mustPut(t, b, at0(0), alice, kindData(sipReg, 0, alice.entry("older", 1, hour)))
	mustPut(t, b, at0(0), alice2, kindData(sipReg, 0, alice2.entry("newer", 5, hour)))
	specs := []wire.Specifier{wildcard(sipReg), single(kindSingle)}
	if n := b.Adopt(at0(1), alice.resource(), fetchAns(t, a, 1, alice.resource(), specs...)); n != 2 {
		t.Fatalf("adopted %d", n)
	}
	if n := a.Adopt(at0(1), alice.resource(), fetchAns(t, b, 1, alice.resource(), specs...)); n != 1 {
		t.Fatalf("adopted %d", n)
	}
	ca, certsA := a.Copy(at0(1), alice.resource(), 1)
	cb, certsB := b.Copy(at0(1), alice.resource(), 1)
	if d := cmp.Diff(ca, cb); d != "" || len(certsA) != 2 || len(certsB) != 2 {
		t.Fatal("the halves differ after the merge", d)
	}
	if got := texts(ca.Kinds[0].Values); !slices.Equal(got, []string{"newer", "newer"}) {
		t.Fatalf("merged to %q", got)
	}
}

// Conformance: D-34
func TestRFC6940_13_5_4_AdoptRefusesWhatAStoreWould(t *testing.T) {
	planted := bob.entry("planted", 9, hour) // rightly signed by bob, under alice
	bad := alice.entry("forged", 9, hour)
	m := &wire.Message{Body: &wire.FetchAns{Kinds: []wire.FetchKindResponse{
		{Kind: kindAbsent, Raw: []byte{1}}, {Kind: sipReg, Generation: 9, Values: []wire.StoredData{planted, bad}}}}}
	s := New(testOverlay())
	v := trust.Assume(m, peer.Identity, trust.ValueSigner{Identity: bob.Identity}, trust.ValueSigner{Err: errSignature})
	if n := s.Adopt(at0(0), alice.resource(), v); n != 0 || len(s.Resources()) != 0 {
		t.Fatalf("adopted %d", n)
	}
	if n := s.Adopt(at0(0), alice.resource(), trust.Assume(&wire.Message{Body: &wire.PingAns{}}, peer.Identity)); n != 0 {
		t.Fatal("adopted a ping")
	}
}

// A certificate that its holder stores, signed with itself, is in memory once.
func TestStoredCertificateIsHeldOnce(t *testing.T) {
	s, d := New(testOverlay()), alice.single(string(alice.cert.Data), 1, 10)
	v := storeReq(alice, alice.resource(), 0, kindData(kindSingle, 0, d))
	v.Message().Security.Certificates[0] = alice.cert
	if _, e := s.Put(at0(0), trust.Assume(v.Message(), alice.Identity, trust.ValueSigner{Identity: alice.Identity}), true); e != nil {
		t.Fatal(string(e.Info))
	}
	held := s.lookup(alice.resource(), kindSingle).entries[0].data.Value.Data
	for _, c := range s.certs {
		if &c.Data[0] != &held[0] || &held[0] == &d.Value.Data[0] || &held[0] == &alice.cert.Data[0] {
			t.Error("held twice, or with its message")
		}
	}
}
