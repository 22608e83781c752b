package trust_test

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: B-27 B-29 B-30
func TestRFC6940_6_3_4_SealedMessagesVerify(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		v := trust.NewVerifier(w.overlay)
		for _, body := range []wire.Body{&wire.PingReq{}, &wire.PingAns{ResponseID: 1, Time: 2}, wire.NewError(wire.ErrorNotFound, "no")} {
			m := w.seal(t, w.alice, body)
			got, err := v.Verify(now, m, "")
			if err != nil {
				t.Fatal(err)
			}
			id := got.Sender()
			if id.User != "alice@example.org" || id.Node != w.node.Identity().Node || got.Message() != m || len(got.Values()) != 0 {
				t.Errorf("%T: %+v", body, got)
			}
			if s := m.Security.Signature; s.Hash != 4 || s.Identity.Type != 1 || s.Identity.Hash != 4 || len(s.Identity.CertHash) != 32 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// RFC 6940 §6.3.4: "All implementations MUST support RSASSA-PKCS1-v1_5 signatures with SHA-256 hashes".
//
// Conformance: B-29
func TestRFC6940_6_3_4_Algorithms(t *testing.T) {
	for kt, want := range map[trust.KeyType]uint8{trust.RSA2048: 1, trust.P256: 3} {
		w := newWorld(t, kt)
		if s := w.seal(t, w.node, &wire.PingReq{}).Security.Signature; s.Algorithm != want || s.Hash != 4 {
			t.Errorf("%s: %d %d", kt, s.Hash, s.Algorithm)
		}
	}
}

// RFC 6940 §6.3.4: the signature covers overlay, transaction ID, MessageContents and SignerIdentity, and nothing else.
//
// Conformance: B-28
func TestRFC6940_6_3_4_WhatIsCovered(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		raw := w.seal(t, w.node, &wire.PingReq{Padding: []byte("padding")}).AppendTo(nil)
		_, n, err := wire.ParseHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		v := trust.NewVerifier(w.overlay)
		verify := func(at int) error {
			changed := bytes.Clone(raw)
			changed[at] ^= 1
			_, err := v.Verify(now, w.parse(t, changed), "")
			return err
		}
		for name, at := range map[string]int{"overlay": 7, "transaction": 27, "body": n + 10, "signature": len(raw) - 1} {
			if err := verify(at); err == nil {
				t.Errorf("%s: a change goes unnoticed", name)
			}
		}
		for name, at := range map[string]int{"configuration sequence": 9, "ttl": 11, "max response length": 31, "destination": n - 1} {
			if err := verify(at); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// RFC 6940 §6.3.4: one copy of each certificate, for every signature in the message.
//
// Conformance: B-33
func TestRFC6940_6_3_4_BucketHoldsEachCertificateOnce(t *testing.T) {
	w := newWorld(t, trust.P256)
	bob := w.user(t, "bob@example.org")
	shared := make([]wire.Certificate, 0, 8)
	shared = append(shared, w.alice.Certificates()...)
	shared = append(shared, bob.Certificates()...)
	m := w.seal(t, w.alice, &wire.PingReq{}, shared...)
	if len(m.Security.Certificates) != 2 {
		t.Errorf("%d certificates", len(m.Security.Certificates))
	}
	m = w.seal(t, w.node, &wire.PingReq{}, shared...)
	if len(m.Security.Certificates) != 3 || shared[:3][2].Data != nil {
		t.Errorf("%d certificates, or the caller's slice was written to", len(m.Security.Certificates))
	}
}

// Conformance: D-05 D-06
func TestRFC6940_7_1_ValuesAreVerifiedOneByOne(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		good, tampered, stranger := w.value(t, w.alice), w.value(t, w.alice), w.value(t, w.user(t, "bob@example.org"))
		tampered.Value.Data = append(bytes.Clone(tampered.Value.Data), 0)
		longer := w.value(t, w.alice)
		longer.Lifetime = 1 << 30 // RFC 6940 §7.1 does not cover the lifetime
		missing := wire.StoredData{Value: wire.StoredValue{Model: wire.Dictionary, Key: "x"}, Signature: wire.Unsigned()}
		unsigned := w.value(t, w.alice)
		unsigned.Signature = wire.Unsigned()
		values := []wire.StoredData{good, tampered, stranger, longer, missing, unsigned}
		check := func(m *wire.Message, asked wire.ResourceID) {
			t.Helper()
			got, err := trust.NewVerifier(w.overlay).Verify(now, m, asked)
			if err != nil {
				t.Fatal(err)
			}
			vs := got.Values()
			if len(vs) != len(values) {
				t.Fatalf("%d values", len(vs))
			}
			for _, i := range []int{0, 3} {
				if vs[i].Err != nil || vs[i].Identity.User != "alice@example.org" || vs[i].Identity.Node != w.node.Identity().Node {
					t.Errorf("value %d: %+v", i, vs[i])
				}
			}
			wantReason(t, vs[1].Err, trust.BadSignature)
			wantReason(t, vs[2].Err, trust.UnknownSigner) // its certificate is not in the bucket
			if vs[4].Err != nil || vs[4].Identity.Cert != nil {
				t.Errorf("missing value: %+v", vs[4])
			}
			wantReason(t, vs[5].Err, trust.Unsigned)
		}
		alice := wire.ResourceIDOf("alice@example.org")
		check(w.seal(t, w.alice, storeReq("alice@example.org", values...)), "")
		ans := &wire.FetchAns{Kinds: []wire.FetchKindResponse{
			{Kind: wire.KindSIPRegistration, Values: values[:3]}, {Kind: wire.KindSIPRegistration, Values: values[3:]}}}
		check(w.seal(t, w.node, ans, w.alice.Certificates()...), alice)

		// RFC 6940 §7.1: the signature "must cover the Kind-ID and Resource-ID".
		one := &wire.FetchAns{Kinds: []wire.FetchKindResponse{{Kind: wire.KindSIPRegistration, Values: values[:1]}}}
		m := w.seal(t, w.node, one, w.alice.Certificates()...)
		got, err := trust.NewVerifier(w.overlay).Verify(now, m, wire.ResourceIDOf("bob@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, got.Values()[0].Err, trust.BadSignature)
	})
}

// What is remembered of a signature is that these octets were signed so by this key, and nothing else.
//
// Conformance: D-05
func TestRememberedSignaturesOfValues(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		verifier := trust.NewVerifier(w.overlay)
		good := w.value(t, w.alice)
		signed := func(d wire.StoredData) error {
			t.Helper()
			v, err := verifier.Verify(now, w.seal(t, w.alice, storeReq("alice@example.org", d)), "")
			if err != nil {
				t.Fatal(err)
			}
			return v.Values()[0].Err
		}
		for range 3 {
			if err := signed(good); err != nil {
				t.Fatal(err)
			}
			changed := good
			changed.StorageTime++
			wantReason(t, signed(changed), trust.BadSignature)
			changed = good
			changed.Signature.Value = bytes.Clone(good.Signature.Value)
			changed.Signature.Value[len(changed.Signature.Value)-1] ^= 1
			wantReason(t, signed(changed), trust.BadSignature)
			changed = good
			changed.Signature.Algorithm ^= 2
			wantReason(t, signed(changed), trust.BadSignature)
		}
		m := w.seal(t, w.alice, storeReq("alice@example.org", good))
		if _, err := verifier.Verify(w.alice.Chain()[0].NotAfter.Add(time.Second), m, ""); err == nil {
			t.Error("a remembered signature outlives its certificate")
		}
		w.overlay.BadNodes = append(w.overlay.BadNodes, w.node.Identity().Node)
		verifier.Follow(w.overlay)
		if _, err := verifier.Verify(now, m, ""); err == nil {
			t.Error("a remembered signature of a node that was declared bad")
		}
	})
}

// Conformance: D-05
func TestVouchForOwnStores(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		good, stranger := w.value(t, w.alice), w.value(t, w.user(t, "bob@example.org"))
		foreign := w.value(t, w.node)
		foreign.Value.Data = append(bytes.Clone(foreign.Value.Data), 0)
		message := func() *wire.Message {
			return &wire.Message{Header: w.header(), Body: storeReq("alice@example.org", good, stranger, foreign),
				Security: wire.SecurityBlock{Certificates: w.node.Certificates()}}
		}
		verifier := trust.NewVerifier(w.overlay)
		m := message()
		v, err := verifier.Vouch(now, w.alice, m)
		if err != nil || v.Message() != m || v.Sender().User != "alice@example.org" || len(v.Values()) != 3 {
			t.Fatalf("%+v, %v", v, err)
		}
		if got := v.Values()[0]; got.Err != nil || got.Identity.User != "alice@example.org" {
			t.Errorf("own value: %+v", got)
		}
		wantReason(t, v.Values()[1].Err, trust.UnknownSigner)
		wantReason(t, v.Values()[2].Err, trust.BadSignature)
		if len(m.Security.Certificates) != 2 || len(m.Security.Signature.Value) > 0 {
			t.Errorf("bucket of %d, signature %x", len(m.Security.Certificates), m.Security.Signature.Value)
		}

		_, err = verifier.Vouch(w.alice.Chain()[0].NotAfter.Add(time.Second), w.alice, message())
		wantReason(t, err, trust.Expired)
		_, err = verifier.Vouch(now, newWorld(t, w.kt).alice, message())
		wantReason(t, err, trust.WrongCA)
	})
}

// A verifier remembers thousands of certificates: none twice, and none with the message in which it came.
func TestRememberedCertificateHoldsNoMessage(t *testing.T) {
	w := newWorld(t, trust.P256)
	verifier := trust.NewVerifier(w.overlay)
	m := w.seal(t, w.alice, &wire.PingReq{})
	v, err := verifier.Verify(now, m, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Security.Certificates {
		clear(c.Data)
	}
	if got := v.Sender().Cert.Raw; !bytes.Equal(got, w.alice.Identity().Cert.Raw) {
		t.Errorf("the certificate went with its message: %x", got)
	}

	verifier = trust.NewVerifier(w.overlay)
	body := storeReq("alice@example.org", w.value(t, w.alice))
	if v, err = verifier.Vouch(now, w.alice, &wire.Message{Header: w.header(), Body: body}); err != nil {
		t.Fatal(err)
	}
	if v.Values()[0].Identity.Cert != w.alice.Identity().Cert {
		t.Error("the verifier has read its own signer's certificate once more")
	}
	leaf := w.node.Identity().Cert.X509()
	link, err := verifier.VerifyLink(now, []*x509.Certificate{leaf})
	if err != nil || &link.Cert.Raw[0] != &leaf.Raw[0] {
		t.Errorf("%v; the certificate of a link was read once more", err)
	}
	// All certificates of one key have it once.
	if v, err = verifier.Verify(now, w.seal(t, w.alice, &wire.PingReq{}), ""); err != nil || v.Sender().Cert.PublicKey != link.Cert.PublicKey {
		t.Errorf("%v; a key is held twice", err)
	}
}

// RFC 6940 §7.4.2.2: the index does not count, so that a value that was appended verifies at the index it got.
//
// Conformance: D-07
func TestRFC6940_7_4_2_2_ArrayIndexIsNotSigned(t *testing.T) {
	w := newWorld(t, trust.P256)
	value := wire.StoredValue{Model: wire.Array, Index: 0xffffffff, Exists: true, Data: []byte("x")}
	d := wire.StoredData{StorageTime: 1, Lifetime: 2, Value: value}
	if err := w.node.SignValue("resource", wire.KindCertificateByNode, &d); err != nil {
		t.Fatal(err)
	}
	d.Value.Index = 3
	kinds := []wire.StoreKindData{{Kind: wire.KindCertificateByNode, Values: []wire.StoredData{d}}}
	req := &wire.StoreReq{Resource: "resource", Kinds: kinds}
	got, err := trust.NewVerifier(w.overlay).Verify(now, w.seal(t, w.node, req), "")
	if err != nil || got.Values()[0].Err != nil {
		t.Errorf("%v %v", err, got.Values())
	}
}

// RFC 6940 §6.3.4: with several Node-IDs in a certificate the SignerIdentity is a cert_hash_node_id.
//
// Conformance: B-30
func TestRFC6940_6_3_4_CertificateOfSeveralNodeIDs(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		k := key(t, w.kt, 1)
		cert := w.certify(t, template("a@example.org", uri, uri2), k.Public())
		s := newSigner(t, k, cert)
		v := trust.NewVerifier(w.overlay)
		m := w.seal(t, s, &wire.PingReq{})
		got, err := v.Verify(now, m, "")
		if err != nil || m.Security.Signature.Identity.Type != 2 || got.Sender().Node.String() != nodeHex {
			t.Errorf("%+v %v", got.Sender(), err)
		}
		id, err := v.VerifyLink(now, []*x509.Certificate{cert})
		if err != nil || !id.Node.IsZero() || len(id.Nodes) != 2 {
			t.Errorf("link: %+v %v", id, err)
		}
		// The certificate forces the type: cert_hash would leave open who signed, and with one Node-ID it is cert_hash.
		sum := crypto.SHA256.New()
		sum.Write(cert.Raw)
		_, err = v.Verify(now, w.named(t, s, wire.SignerIdentity{Type: 1, Hash: 4, CertHash: string(sum.Sum(nil))}), "")
		wantReason(t, err, trust.BadSignature)
		sum = crypto.SHA256.New()
		sum.Write(w.node.Identity().Node.Bytes())
		sum.Write(w.node.Identity().Cert.Raw)
		_, err = v.Verify(now, w.named(t, w.node, wire.SignerIdentity{Type: 2, Hash: 4, CertHash: string(sum.Sum(nil))}), "")
		wantReason(t, err, trust.BadSignature)
	})
}

// named is a Ping signed by s under the name n.
func (w *world) named(t *testing.T, s *trust.Signer, n wire.SignerIdentity) *wire.Message {
	t.Helper()
	m := w.seal(t, s, &wire.PingReq{})
	h := crypto.SHA256.New()
	h.Write(m.SignedOctets(nil, n))
	value, err := s.Key().Sign(nil, h.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	m.Security.Signature.Identity, m.Security.Signature.Value = n, value
	return m
}

func TestRFC6940_6_3_4_OtherHashesInTheIdentity(t *testing.T) {
	w := newWorld(t, trust.P256)
	der := w.node.Identity().Cert.Raw
	s1, s384, s512 := sha1.Sum(der), sha512.Sum384(der), sha512.Sum512(der)
	v := trust.NewVerifier(w.overlay)
	for hash, sum := range map[uint8][]byte{2: s1[:], 5: s384[:], 6: s512[:]} {
		if _, err := v.Verify(now, w.named(t, w.node, wire.SignerIdentity{Type: 1, Hash: hash, CertHash: string(sum)}), ""); err != nil {
			t.Errorf("hash %d: %v", hash, err)
		}
	}
	for _, n := range []wire.SignerIdentity{
		{Type: 1, Hash: 1, CertHash: string(s1[:16])}, {Type: 1, Hash: 0}, {Type: 1, Hash: 4}, {Type: 2, Hash: 4},
		{Type: 9, CertHash: "x"}, {},
	} {
		_, err := v.Verify(now, w.named(t, w.node, n), "")
		wantReason(t, err, trust.UnknownSigner)
	}
}

// Conformance: A-07 B-27 B-37
func TestRefusals(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		other := newWorld(t, w.kt)
		lost := w.seal(t, w.node, &wire.PingReq{})
		lost.Security.Certificates = nil
		unsigned := w.seal(t, w.node, &wire.PingReq{})
		unsigned.Security.Signature = wire.Unsigned()
		empty := w.seal(t, w.node, &wire.PingReq{})
		empty.Security.Signature.Value = nil
		algorithm := w.seal(t, w.node, &wire.PingReq{})
		algorithm.Security.Signature.Algorithm ^= 2
		hash := w.seal(t, w.node, &wire.PingReq{})
		hash.Security.Signature.Hash = 5
		openPGP := w.seal(t, w.node, &wire.PingReq{})
		openPGP.Security.Certificates = slices.Clone(openPGP.Security.Certificates)
		openPGP.Security.Certificates[0].Type = 1
		ping := w.seal(t, w.node, &wire.PingReq{})
		bad := *w.overlay
		bad.BadNodes = []wire.NodeID{w.node.Identity().Node}
		renamed := *w.overlay
		renamed.InstanceName = "example.com"
		wide := *w.overlay
		wide.NodeIDLength = 20
		hour := time.Hour
		for _, c := range []struct {
			name string
			o    *config.Overlay
			m    *wire.Message
			at   time.Time
			want trust.Reason
		}{
			{"no certificate", w.overlay, lost, now, trust.UnknownSigner},
			{"unsigned", w.overlay, unsigned, now, trust.Unsigned},
			{"empty signature", w.overlay, empty, now, trust.Unsigned},
			{"another algorithm", w.overlay, algorithm, now, trust.BadSignature},
			{"another hash", w.overlay, hash, now, trust.BadSignature},
			{"another type of certificate", w.overlay, openPGP, now, trust.UnknownSigner},
			{"another authority", other.overlay, ping, now, trust.WrongCA},
			{"another overlay", &renamed, ping, now, trust.BadCertificate},
			{"another node-id-length", &wide, ping, now, trust.BadCertificate},
			{"too early", w.overlay, ping, now.Add(-2 * hour), trust.Expired},
			{"too late", w.overlay, ping, now.Add(trust.DefaultLifetime + hour), trust.Expired},
			{"bad node", &bad, ping, now, trust.BadNode},
		} {
			_, err := trust.NewVerifier(c.o).Verify(c.at, c.m, "")
			t.Log(c.name)
			wantReason(t, err, c.want)
		}
	})
}

// RFC 6940 §7.1: "When signatures are verified, the current time MUST be compared to the certificate validity period." That
// the certificate was good before does not count.
//
// Conformance: B-36
func TestRFC6940_7_1_ValidityIsCheckedEachTime(t *testing.T) {
	w := newWorld(t, trust.P256)
	v := trust.NewVerifier(w.overlay)
	m := w.seal(t, w.node, &wire.PingReq{})
	for range 2 {
		if _, err := v.Verify(now, m, ""); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(now.Add(2*trust.DefaultLifetime), m, "")
		wantReason(t, err, trust.Expired)
		_, err = v.VerifyLink(now.Add(-2*time.Hour), chainOf(w.node))
		wantReason(t, err, trust.Expired)
	}
}

// RFC 6940 §6.3.4: intermediates are in the bucket; §11.3: "including PKIX BasicConstraints checks".
//
// Conformance: A-07 B-33 F-10
func TestRFC6940_11_3_ChainsOfCertificates(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		rootKey, subKey, leafKey := key(t, w.kt, 0), key(t, w.kt, 1), key(t, w.kt, 2)
		ca := func(name string) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour),
				NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		}
		rootTemplate, subTemplate := ca("root"), ca("sub")
		subTemplate.NotAfter = now.Add(30 * time.Minute)
		root := create(t, rootTemplate, rootTemplate, rootKey.Public(), rootKey)
		sub := create(t, subTemplate, root, subKey.Public(), rootKey)
		leaf := create(t, template("a@example.org", uri), sub, leafKey.Public(), subKey)
		o := config.New(overlayName)
		o.RootCerts = []*x509.Certificate{root}
		v := trust.NewVerifier(o)
		s := newSigner(t, leafKey, leaf, sub, root)
		m := w.seal(t, s, &wire.PingReq{})
		if len(m.Security.Certificates) != 2 {
			t.Errorf("%d certificates in the bucket", len(m.Security.Certificates))
		}
		// Without the intermediate there is no chain; afterwards the chain is known.
		_, err := v.VerifyLink(now, []*x509.Certificate{leaf})
		wantReason(t, err, trust.WrongCA)
		if _, err := v.Verify(now, m, ""); err != nil {
			t.Error(err)
		}
		if _, err := trust.NewVerifier(o).VerifyCertificate(now, leaf.Raw, [][]byte{{1, 2, 3}, sub.Raw}); err != nil {
			t.Error(err)
		}
		// The intermediate's time counts as well as the leaf's, which is longer here.
		_, err = v.Verify(now.Add(45*time.Minute), m, "")
		wantReason(t, err, trust.Expired)
		// With an intermediate one's own certificate is checked like any other.
		if err := trust.NewVerifier(o).VerifyOwn(now, s, nil); err != nil {
			t.Error(err)
		}
		wantReason(t, trust.NewVerifier(o).VerifyOwn(now.Add(45*time.Minute), s, nil), trust.Expired)
		wantReason(t, trust.NewVerifier(w.overlay).VerifyOwn(now, s, nil), trust.WrongCA)

		// A leaf is no authority.
		fake := create(t, template("b@example.org", uri2), leaf, subKey.Public(), leafKey)
		_, err = trust.NewVerifier(o).VerifyLink(now, []*x509.Certificate{fake, leaf, sub})
		wantReason(t, err, trust.WrongCA)
		_, err = trust.NewVerifier(o).VerifyCertificate(now, []byte("no certificate"), nil)
		wantReason(t, err, trust.BadCertificate)
		_, err = trust.NewVerifier(o).VerifyLink(now, nil)
		wantReason(t, err, trust.BadCertificate)
	})
}

// A Node-ID may have several certificates at a time (renewal, the users of a gateway): the hash says which is meant.
func TestSeveralCertificatesOfOneNode(t *testing.T) {
	w := newWorld(t, trust.P256)
	renewed, err := w.authority.IssueUser(now.Add(time.Minute), "gw1@example.org", w.node.Identity().Node, w.node.Key().Public())
	if err != nil {
		t.Fatal(err)
	}
	v := trust.NewVerifier(w.overlay)
	for _, s := range []*trust.Signer{w.node, newSigner(t, w.node.Key(), renewed), w.alice} {
		bucket := slices.Concat(w.alice.Certificates(), w.node.Certificates(), []wire.Certificate{{Data: renewed.Raw}})
		got, err := v.Verify(now, w.seal(t, s, &wire.PingReq{}, bucket...), "")
		if err != nil || !got.Sender().Cert.Equal(s.Identity().Cert) || got.Sender().User != s.Identity().User {
			t.Errorf("%s: %+v %v", s.Identity().User, got.Sender(), err)
		}
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld(t, trust.P256)
	v := trust.NewVerifier(w.overlay)
	m := w.seal(t, w.alice, storeReq("alice@example.org", w.value(t, w.alice))).AppendTo(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, err := v.Verify(now, w.parse(t, m), ""); err != nil || got.Values()[0].Err != nil {
					t.Errorf("%v %+v", err, got.Values())
				}
				if _, err := w.alice.Seal(&wire.Message{Header: w.header(), Body: &wire.PingReq{}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
