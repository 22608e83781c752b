package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// SignDocument writes o as a document with one configuration: every Kind and the configuration are signed by by, whose
// Node-ID must be among o's kind-signers and configuration-signers (RFC 6940 §11.1).
func SignDocument(o *config.Overlay, by *Signer) ([]byte, error) {
	node := by.Identity().Node
	if !slices.Contains(o.ConfigurationSigners, node) || len(o.Kinds) > 0 && !slices.Contains(o.KindSigners, node) {
		return nil, fmt.Errorf("trust: node %s may not sign the document of overlay %s", node, o.InstanceName)
	}
	var blocks []config.KindBlock
	for _, k := range o.Kinds {
		b, err := SignKind(o, k, by)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	c := config.Configuration{Overlay: o, Signed: config.AppendConfiguration(nil, o, blocks...)}
	sig, err := by.SignBlob(c.Signed)
	if err != nil {
		return nil, err
	}
	c.Signatures = [][]byte{sig}
	return config.AppendDocument(nil, c), nil
}

// SignBlob signs octets on their own and returns an encoded SecurityBlock with the certificates needed. RFC 6940 §11.1: "a
// binary blob that MUST be signed using the standard SecurityBlock". It does not say whether the SignerIdentity is appended
// as in messages; the octets alone are signed.
func (s *Signer) SignBlob(blob []byte) ([]byte, error) {
	sig, err := s.sign(func(wire.SignerIdentity) []byte { return blob })
	if err != nil {
		return nil, fmt.Errorf("trust: signing a document: %w", err)
	}
	block := wire.SecurityBlock{Certificates: s.bucket, Signature: sig}
	return block.AppendTo(nil), nil
}

// VerifyDocument checks the signatures of one configuration and of its kind-blocks (RFC 6940 §11.1). previous is the
// configuration that c replaces: one of its configuration-signers must have signed. With nil, c is the first and was
// vouched for by whoever handed it over: if it names signers, one of them must have signed, with a certificate of c's own
// roots; if it names none, nothing is checked. The error, when a signature is the cause, is a *RefusalError.
func VerifyDocument(now time.Time, c *config.Configuration, previous *config.Overlay) error {
	if previous == nil {
		previous = c.Overlay
	}
	if previous != c.Overlay || len(previous.ConfigurationSigners) > 0 {
		// RFC 6940 §11.1: "Any configuration file MUST be signed by one of the configuration-signer elements from the previous
		// extant configuration. Recipients MUST verify the signature prior to accepting the configuration file."
		if err := newBasis(previous).signedByOne(now, c.Signed, c.Signatures, previous.ConfigurationSigners); err != nil {
			return fmt.Errorf("configuration of overlay %s: %w", c.Overlay.InstanceName, err)
		}
	}
	if previous == c.Overlay && len(previous.ConfigurationSigners) == 0 && len(previous.KindSigners) == 0 {
		return nil
	}
	return newBasis(c.Overlay).verifyKinds(now, c)
}

// verifyKinds checks each kind-block. RFC 6940 §11.1: they "MUST be signed by a node listed in the kind-signers block of
// the current configuration. Receivers MUST verify the signature prior to accepting a kind-block."
func (v *basis) verifyKinds(now time.Time, c *config.Configuration) error {
	for _, b := range c.Blocks {
		if err := v.signedByOne(now, b.Signed, [][]byte{b.Signature}, c.Overlay.KindSigners); err != nil {
			return fmt.Errorf("kind %s (0x%x) of overlay %s: %w", b.Kind.Name, uint32(b.Kind.ID), c.Overlay.InstanceName, err)
		}
	}
	return nil
}

// signedByOne reports nil when one of blocks is the signature of one of signers over blob.
func (v *basis) signedByOne(now time.Time, blob []byte, blocks [][]byte, signers []wire.NodeID) error {
	err := error(&RefusalError{Unsigned, errors.New("no signature")})
	for _, b := range blocks {
		if b == nil {
			continue
		}
		if _, err = v.signedBy(now, blob, b, signers); err == nil {
			return nil
		}
	}
	return err
}

func (v *basis) signedBy(now time.Time, blob, encoded []byte, signers []wire.NodeID) (by wire.NodeID, err error) {
	block, err := wire.ParseSecurityBlock(encoded)
	if err != nil {
		return by, &RefusalError{BadSignature, err}
	}
	b := &bucket{v: v, now: now, certs: block.Certificates}
	id, err := b.check(block.Signature, func() []byte { return blob }, checkSignature)
	if err != nil {
		// Others may have read "the standard SecurityBlock" as with the SignerIdentity appended. A blob starts with '<',
		// which no other signed structure of an overlay of ours does, so that accepting both cannot confuse them.
		var err2 error
		if id, err2 = b.check(block.Signature, func() []byte {
			return block.Signature.Identity.AppendTo(slices.Clone(blob))
		}, checkSignature); err2 != nil {
			return by, err
		}
	}
	if !slices.Contains(signers, id.Node) {
		return by, &RefusalError{UnknownSigner, fmt.Errorf("signed by %s (%s), which is not listed as a signer", id.Node, id.User)}
	}
	return id.Node, nil
}
