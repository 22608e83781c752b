package trust_test

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The values were computed by an independent script.
//
// Conformance: F-06 F-07
func TestRFC6940_11_3_1_NodeIDFromKey(t *testing.T) {
	spki, err := hex.DecodeString("302a300506032b6570032100000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		digest string
		index  uint32
		want   string
	}{
		{config.DigestSHA1, 0, "8c7bec7608a5c9817b388c84d7a9eade"},
		{config.DigestSHA256, 0, "9408457aefd071cec127c1f985399308"},
		{config.DigestSHA1, 1, "b8900f799103952d9cf08ff74c309212"},
		{config.DigestSHA256, 2, "c686b3ed28b21022286ca564491cc7a0"},
	} {
		if got := trust.SelfSignedNodeID(c.digest, spki, c.index, 16); got.String() != c.want {
			t.Errorf("%s %d: %s", c.digest, c.index, got)
		}
	}
}

// RFC 6940 §11.3.1: "When accepting a self-signed certificate, nodes MUST check that the Node-ID and public keys match."
//
// Conformance: A-07 F-06 F-07 F-08 F-09
func TestRFC6940_11_3_1_SelfSigned(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		k := key(t, w.kt, 0)
		spki, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range []string{config.DigestSHA1, config.DigestSHA256} {
			o := config.New(overlayName)
			o.SelfSignedPermitted, o.SelfSignedDigest = true, digest
			id := func(index uint32) string {
				return trust.ReloadURI(overlayName, trust.SelfSignedNodeID(digest, spki, index, 16))
			}
			link := func(o *config.Overlay, uris ...string) error {
				tmpl := template("a@example.org", uris...)
				_, err := trust.NewVerifier(o).VerifyLink(now, []*x509.Certificate{create(t, tmpl, tmpl, k.Public(), k)})
				return err
			}
			if err := link(o, id(0)); err != nil {
				t.Errorf("%s: %v", digest, err)
			}
			if err := link(o, id(2), id(1)); err != nil {
				t.Errorf("%s, two Node-IDs: %v", digest, err)
			}
			for name, uris := range map[string][]string{
				"another": {uri}, "index with one": {id(1)}, "one of two": {id(1), uri}, "no index": {id(0), id(1)},
			} {
				t.Log(name)
				wantReason(t, link(o, uris...), trust.BadCertificate)
			}
			wantReason(t, link(config.New(overlayName), id(0)), trust.WrongCA)

			mine, err := trust.SelfSign(o, k, "a@example.org", now, trust.DefaultLifetime)
			if err != nil || !trust.SelfSigned(mine) || trust.ReloadURI(overlayName, mine.Identity().Node) != id(0) {
				t.Fatalf("%s: %v", digest, err)
			}
			if _, err := trust.NewVerifier(o).Verify(now, w.seal(t, mine, &wire.PingReq{}), ""); err != nil {
				t.Errorf("%s, made by itself: %v", digest, err)
			}
			if _, err := trust.SelfSign(config.New(overlayName), k, "a@example.org", now, time.Hour); !errors.Is(err, trust.ErrSelfSigned) {
				t.Errorf("in an overlay that does not permit it: %v", err)
			}

			tmpl := template("a@example.org", id(0))
			s := newSigner(t, k, create(t, tmpl, tmpl, k.Public(), k))
			v := trust.NewVerifier(o)
			if _, err := v.Verify(now, w.seal(t, s, &wire.PingReq{}), ""); err != nil {
				t.Error(err)
			}
			_, err = v.VerifyLink(now.Add(trust.DefaultLifetime), chainOf(s))
			wantReason(t, err, trust.Expired)
		}
	})
}
