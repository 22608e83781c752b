package trust_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// signed is the world's overlay with two Kinds, signed by its node.
func (w *world) signed(t testing.TB) []byte {
	t.Helper()
	o := *w.overlay
	o.Kinds = []config.Kind{
		{ID: 1, Name: "SIP-REGISTRATION", Model: wire.Dictionary, Access: config.UserNodeMatch, MaxCount: 8, MaxSize: 800},
		{ID: wire.KindSIPGateway, Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 800},
	}
	o.ConfigurationSigners = []wire.NodeID{w.node.Identity().Node}
	o.KindSigners = o.ConfigurationSigners
	doc, err := trust.SignDocument(&o, w.node)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// secondSigner is another node that may be named as a signer.
func (w *world) secondSigner(t testing.TB) *trust.Signer {
	t.Helper()
	k := key(t, trust.P256, 1)
	cert, err := w.authority.IssueNode(now, "signer2@example.org", k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, k, cert)
}

func parseConfig(t testing.TB, doc []byte) *config.Configuration {
	t.Helper()
	d, err := config.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &d.Configurations[0]
}

// Conformance: F-35
func TestRFC6940_11_1_SignedDocument(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		doc := w.signed(t)
		c := parseConfig(t, doc)
		if len(c.Signatures) != 1 || len(c.Blocks) != 2 || c.Blocks[0].Signature == nil {
			t.Fatalf("%+v", c)
		}
		if err := trust.VerifyDocument(now, c, nil); err != nil {
			t.Error(err)
		}
		// RFC 6940 §11.1: "a binary blob that cannot be changed -- including any whitespace changes".
		for _, change := range [][2]string{
			{"<no-ice>false", "<no-ice> false"},
			{"<initial-ttl>100", "<initial-ttl>99"},
			{"<max-size>800</max-size>\n</kind>", "<max-size>800</max-size></kind>"},
			{"</configuration>", " </configuration>"},
		} {
			if !bytes.Contains(doc, []byte(change[0])) {
				t.Fatalf("the document has no %s", change[0])
			}
			changed := parseConfig(t, bytes.Replace(doc, []byte(change[0]), []byte(change[1]), 1))
			wantReason(t, trust.VerifyDocument(now, changed, nil), trust.BadSignature)
		}
		wantReason(t, trust.VerifyDocument(now.Add(2*trust.DefaultLifetime), c, nil), trust.Expired)
		c.Signatures = nil
		wantReason(t, trust.VerifyDocument(now, c, nil), trust.Unsigned)
		c.Signatures = [][]byte{[]byte("garbage")}
		wantReason(t, trust.VerifyDocument(now, c, nil), trust.BadSignature)
	})
}

// RFC 6940 §11.1: "Any configuration file MUST be signed by one of the configuration-signer elements from the previous extant
// configuration." So a signer is replaced in two steps.
//
// Conformance: C-30 F-36
func TestRFC6940_11_1_SignerRotation(t *testing.T) {
	w := newWorld(t, trust.P256)
	second := w.secondSigner(t)
	first, next := w.node.Identity().Node, second.Identity().Node
	version := func(by *trust.Signer, signers ...wire.NodeID) *config.Configuration {
		o := *w.overlay
		o.ConfigurationSigners, o.KindSigners = signers, signers
		doc, err := trust.SignDocument(&o, by)
		if err != nil {
			t.Fatal(err)
		}
		return parseConfig(t, doc)
	}
	v1, both, v2 := version(w.node, first), version(w.node, first, next), version(second, next)
	if err := trust.VerifyDocument(now, v1, nil); err != nil {
		t.Error(err)
	}
	wantReason(t, trust.VerifyDocument(now, v2, v1.Overlay), trust.UnknownSigner)
	if err := trust.VerifyDocument(now, both, v1.Overlay); err != nil {
		t.Error(err)
	}
	if err := trust.VerifyDocument(now, v2, both.Overlay); err != nil {
		t.Error(err)
	}
	none := *v1.Overlay
	none.ConfigurationSigners = nil
	wantReason(t, trust.VerifyDocument(now, v1, &none), trust.UnknownSigner) // nobody may replace it
}

// RFC 6940 §11.1: "kind-block elements MUST be signed by a node listed in the kind-signers block of the current configuration."
//
// Conformance: F-34
func TestRFC6940_11_1_KindSignatures(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		c := parseConfig(t, w.signed(t))
		swapped, unsigned := *c, *c
		swapped.Blocks = slices.Clone(c.Blocks)
		swapped.Blocks[0].Signature, swapped.Blocks[1].Signature = c.Blocks[1].Signature, c.Blocks[0].Signature
		wantReason(t, trust.VerifyDocument(now, &swapped, nil), trust.BadSignature)
		unsigned.Blocks = slices.Clone(c.Blocks)
		unsigned.Blocks[1].Signature = nil
		err := trust.VerifyDocument(now, &unsigned, nil)
		wantReason(t, err, trust.Unsigned)
		if !strings.Contains(err.Error(), "0xf0000001") {
			t.Errorf("the error does not name the Kind: %v", err)
		}
		stranger, o := *c, *c.Overlay
		o.KindSigners = []wire.NodeID{mustNode(t, nodeHex)}
		stranger.Overlay = &o
		wantReason(t, trust.VerifyDocument(now, &stranger, nil), trust.UnknownSigner)
	})
}

// A first document that names no signers is taken as its operator gave it.
func TestFirstDocumentWithoutSigners(t *testing.T) {
	w := newWorld(t, trust.P256)
	o := *w.overlay
	o.Kinds = []config.Kind{{ID: wire.KindSIPGateway, Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 800}}
	doc := config.AppendDocument(nil, config.Configuration{Signed: config.AppendConfiguration(nil, &o)})
	if err := trust.VerifyDocument(now, parseConfig(t, doc), nil); err != nil {
		t.Error(err)
	}
	if _, err := trust.SignDocument(&o, w.node); err == nil {
		t.Error("signed by a node that the document does not list")
	}
}

// Others may append the SignerIdentity to the blob, as message signatures do: the RFC can be read so.
func TestDocumentSignatureWithSignerIdentityAppended(t *testing.T) {
	w := newWorld(t, trust.P256)
	c := parseConfig(t, w.signed(t))
	block, err := wire.ParseSecurityBlock(c.Signatures[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(block.Signature.Identity.AppendTo(slices.Clone(c.Signed)))
	if block.Signature.Value, err = w.node.Key().Sign(nil, sum[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	c.Signatures = [][]byte{block.AppendTo(nil)}
	if err := trust.VerifyDocument(now, c, nil); err != nil {
		t.Error(err)
	}
}
