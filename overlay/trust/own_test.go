package trust_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A certificate of one's own is checked but for the authority's signature, which whoever is shown it checks.
func TestVerifyOwn(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		v := trust.NewVerifier(w.overlay)
		for range 2 { // the second time it is known
			if err := v.VerifyOwn(now, w.alice, nil); err != nil {
				t.Fatal(err)
			}
			wantReason(t, v.VerifyOwn(now.Add(2*trust.DefaultLifetime), w.alice, nil), trust.Expired)
			wantReason(t, v.VerifyOwn(now.Add(-2*time.Hour), w.alice, nil), trust.Expired)
		}
		wantReason(t, v.VerifyOwn(now, newWorld(t, w.kt).alice, nil), trust.WrongCA)

		// What the overlay's configuration says counts as soon as there is another one.
		changed := *w.overlay
		changed.BadNodes = []wire.NodeID{w.alice.Identity().Node}
		v.Follow(&changed)
		wantReason(t, v.VerifyOwn(now, w.alice, nil), trust.BadNode)
		changed.BadNodes, changed.RootCerts = nil, newWorld(t, w.kt).overlay.RootCerts
		v.Follow(&changed)
		wantReason(t, v.VerifyOwn(now, w.alice, nil), trust.WrongCA)
		v.Follow(w.overlay)
		if err := v.VerifyOwn(now, w.alice, nil); err != nil {
			t.Error(err)
		}
	})
}

// A certificate that claims to be of the authority, and has not its signature, is believed by nobody who is shown it.
func TestForgedSignatureOfTheAuthority(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		der := append([]byte(nil), w.alice.Identity().Cert.Raw...)
		der[len(der)-1] ^= 1
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		forged := newSigner(t, w.node.Key(), cert)
		v := trust.NewVerifier(w.overlay)
		wantReason(t, v.VerifySigner(now, forged), trust.WrongCA)
		if err := v.VerifySigner(now, w.alice); err != nil {
			t.Error(err)
		}
		// That this program takes it for its own makes nobody else believe it, not even itself.
		if _, err := v.Vouch(now, forged, &wire.Message{Header: w.header(), Body: storeReq("alice@example.org", w.value(t, forged))}); err != nil {
			t.Error(err)
		}
		_, err = v.Verify(now, w.seal(t, forged, &wire.PingReq{}), "")
		wantReason(t, err, trust.WrongCA)
		req := storeReq("alice@example.org", w.value(t, forged))
		wantReason(t, v.VerifyValues(now, req, forged.Certificates())[0].Err, trust.WrongCA)
		_, err = v.VerifyLink(now, chainOf(forged))
		wantReason(t, err, trust.WrongCA)
	})
}

// A value that this program has signed is known when it comes back, as it is: neither another signature, nor another value with the same one.
func TestOwnSignatureIsKnown(t *testing.T) {
	w := newWorld(t, trust.P256)
	v, d := trust.NewVerifier(w.overlay), w.value(t, w.alice)
	res := wire.ResourceIDOf("alice@example.org")
	if err := v.SignValue(w.alice, res, wire.KindSIPRegistration, &d); err != nil {
		t.Fatal(err)
	}
	check := func(v *trust.Verifier, d wire.StoredData) error {
		req := &wire.StoreReq{Resource: res, Kinds: []wire.StoreKindData{{Kind: wire.KindSIPRegistration, Values: []wire.StoredData{d}}}}
		return v.VerifyValues(now, req, w.alice.Certificates())[0].Err
	}
	for _, v := range []*trust.Verifier{v, trust.NewVerifier(w.overlay)} {
		if err := check(v, d); err != nil {
			t.Error(err)
		}
		other := d
		other.StorageTime++
		wantReason(t, check(v, other), trust.BadSignature)
		other = d
		other.Signature.Value = append([]byte(nil), d.Signature.Value...)
		other.Signature.Value[len(other.Signature.Value)-1] ^= 1
		wantReason(t, check(v, other), trust.BadSignature)
	}
}
