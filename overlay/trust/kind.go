package trust

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// SignKind describes k as a Kind of o, signed by by. RFC 6940 §11.1: "This signature is computed across the kind element from
// the beginning of the first < of the kind element to the end of the last > of the kind element".
func SignKind(o *config.Overlay, k config.Kind, by *Signer) (b config.KindBlock, err error) {
	b.Kind, b.Signed = k, config.AppendKind(nil, o, k)
	b.Signature, err = by.SignBlob(b.Signed)
	return b, err
}

// VerifyKindBlock checks a kind-block that came on its own (RFC 6940 §6.5.4.2): it must be signed "by an acceptable Kind
// signer (i.e., one listed in the current configuration file)", and by the same one as what o knows of the Kind already. It
// must not contradict the document. The error is a *RefusalError.
func VerifyKindBlock(now time.Time, b *config.KindBlock, o *config.Overlay) error {
	v := newBasis(o)
	refuse := func(err error) error {
		return fmt.Errorf("kind 0x%x of overlay %s: %w", uint32(b.Kind.ID), o.InstanceName, err)
	}
	if b.Signature == nil {
		return refuse(&RefusalError{Unsigned, errors.New("no signature")})
	}
	by, err := v.signedBy(now, b.Signed, b.Signature, o.KindSigners)
	if err != nil {
		return refuse(err)
	}
	known := o.KindBlock(b.Kind.ID)
	if known == nil {
		return nil
	}
	if before, ok := v.kindSigner(known); !ok || before != by {
		return refuse(&RefusalError{OtherSigner, fmt.Errorf("signed by %s; it is known with the signature of %s", by, before)})
	}
	// Deviation: RFC 6940 §6.5.4.2 has the same signer change any Kind. But nothing in a kind-block says when it was signed, so that
	// any member could bring back what an earlier document said. What the document describes changes with the document.
	if !known.Update && !bytes.Equal(known.Signed, b.Signed) {
		return refuse(&RefusalError{Documented, errors.New("the configuration document describes it otherwise")})
	}
	return nil
}

// kindSigner is who has signed a kind-block that was accepted before. Nothing is checked again: what its signature was made
// with may have expired since.
func (v *basis) kindSigner(b *config.KindBlock) (wire.NodeID, bool) {
	block, err := wire.ParseSecurityBlock(b.Signature)
	if b.Signature == nil || err != nil {
		return wire.NodeID{}, false
	}
	name := block.Signature.Identity
	for _, c := range block.Certificates[:min(len(block.Certificates), maxBucket)] {
		id, _, err := v.parse(c.Data, nil)
		if err != nil {
			continue
		}
		if name.Type == wire.IdentityCertHash && hashIs(name, nil, c.Data) {
			return id.Node, !id.Node.IsZero()
		}
		for _, node := range id.Nodes {
			if name.Type == wire.IdentityCertHashNodeID && hashIs(name, node.Bytes(), c.Data) {
				return node, true
			}
		}
	}
	return wire.NodeID{}, false
}

// KeepKinds is next, a document that takes the place of old, with the Kinds that ConfigUpdates have brought to old and next
// does not describe itself. RFC 6940 §11.1: kind-blocks "MUST be signed by a node listed in the kind-signers block of the
// current configuration", so a Kind of which that is no longer true is gone.
func KeepKinds(next, old *config.Overlay) *config.Overlay {
	v := newBasis(next)
	for _, b := range old.KindBlocks {
		if !b.Update || next.KindBlock(b.Kind.ID) != nil {
			continue
		}
		if by, ok := v.kindSigner(&b); !ok || !slices.Contains(next.KindSigners, by) || v.bad[by] {
			continue
		}
		if with, err := next.WithKind(b); err == nil {
			next = with
		}
	}
	return next
}
