package sim

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Document is o as a configuration document that the given host has signed; nil leaves it unsigned.
func (w *World) Document(o *config.Overlay, by *Host) []byte {
	c := config.Configuration{Overlay: o, Signed: config.AppendConfiguration(nil, o)}
	if by != nil {
		c.Signatures = [][]byte{by.gateway.signedBlob(c.Signed)}
	}
	return config.AppendDocument(nil, c)
}

// Use has hosts that start from now on begin with o, which document holds.
func (w *World) Use(o *config.Overlay, document []byte) { w.c.Overlay, w.c.Document = o, document }

// configure carries out a Configure effect.
func (h *Host) configure(c node.Configure) {
	h.later(h.w.delay(0, h.w.c.Crypto), func() {
		o, err := h.w.trust.document(c)
		h.input("configured", func() { h.Node.Configured(h.now(), c.Job, o, err) })
	})
}

var errSigner = errors.New("sim: not signed by a configuration-signer")

// document reads a document and checks its signature.
func (a *authority) document(c node.Configure) (*config.Overlay, error) {
	if c.Kinds != nil {
		return a.kinds(c)
	}
	d, err := config.Parse(c.Document)
	if err != nil || len(d.Configurations) != 1 {
		return nil, node.ErrDocument
	}
	found := &d.Configurations[0]
	if !config.Newer(found.Overlay.Sequence, c.Previous.Sequence) {
		return found.Overlay, node.ErrNotNewer
	}
	reason := trust.Unsigned
	for _, s := range found.Signatures {
		by, err := a.signedBy(found.Signed, s)
		if err != nil {
			return nil, err
		}
		if slices.Contains(c.Previous.ConfigurationSigners, by) {
			return a.keepKinds(found.Overlay, c.Previous), nil
		}
		reason = trust.UnknownSigner
	}
	return nil, &trust.RefusalError{Reason: reason, Err: errSigner}
}

// signedBy is who has signed a blob of a document.
func (a *authority) signedBy(blob, signature []byte) (by wire.NodeID, err error) {
	block, err := wire.ParseSecurityBlock(signature)
	if err != nil {
		return by, &trust.RefusalError{Reason: trust.BadSignature, Err: err}
	}
	id, err := a.check(&wire.Message{Security: block}, block.Signature, blob)
	return id.Node, err
}

// KindBlock describes a Kind as a host has signed it, for a ConfigUpdate.
func (w *World) KindBlock(k config.Kind, by *Host) []byte {
	b := config.KindBlock{Kind: k, Signed: config.AppendKind(nil, w.c.Overlay, k)}
	b.Signature = by.gateway.signedBlob(b.Signed)
	return config.AppendKindBlock(nil, &b)
}

// kinds reads kind-blocks and checks their signatures.
func (a *authority) kinds(c node.Configure) (*config.Overlay, error) {
	o := c.Previous
	for _, octets := range c.Kinds {
		b, err := config.ParseKindBlock(octets)
		if err != nil {
			return nil, node.ErrDocument
		}
		by, err := a.signedBy(b.Signed, b.Signature)
		if err != nil {
			return nil, err
		}
		known := o.KindBlock(b.Kind.ID)
		if known != nil {
			if before, _ := a.signedBy(known.Signed, known.Signature); before != by {
				return nil, &trust.RefusalError{Reason: trust.OtherSigner, Err: errSigner}
			}
			if !known.Update && !bytes.Equal(known.Signed, b.Signed) {
				return nil, &trust.RefusalError{Reason: trust.Documented, Err: errSigner}
			}
		}
		if !slices.Contains(o.KindSigners, by) {
			return nil, &trust.RefusalError{Reason: trust.UnknownSigner, Err: errSigner}
		}
		if o, err = o.WithKind(b); err != nil {
			return nil, node.ErrDocument
		}
	}
	return o, nil
}

// keepKinds is trust.KeepKinds.
func (a *authority) keepKinds(next, old *config.Overlay) *config.Overlay {
	for _, b := range old.KindBlocks {
		by, err := a.signedBy(b.Signed, b.Signature)
		if b.Update && err == nil && slices.Contains(next.KindSigners, by) {
			if with, err := next.WithKind(b); err == nil {
				next = with
			}
		}
	}
	return next
}

// believes is what a host makes of what was verified, by its configuration: nothing that a bad node has signed.
func (h *Host) believes(v trust.Verified, err error) (trust.Verified, error) {
	bad := h.Node.Overlay().BadNodes
	if err != nil || len(bad) == 0 {
		return v, err
	}
	refusal := &trust.RefusalError{Reason: trust.BadNode, Err: errSigner}
	if slices.Contains(bad, v.Sender().Node) {
		return trust.Verified{}, refusal
	}
	values := slices.Clone(v.Values())
	for i := range values {
		if slices.Contains(bad, values[i].Identity.Node) {
			values[i] = trust.ValueSigner{Err: refusal}
		}
	}
	return trust.Assume(v.Message(), v.Sender(), values...), nil
}

// Divide parts each host of one list from each of the other.
func (w *World) Divide(one, other []*Host) {
	for _, a := range one {
		for _, b := range other {
			w.Part(a, b)
		}
	}
}

// Heal lets all hosts reach each other again.
func (w *World) Heal() { clear(w.parted) }

// Merged reports whether all hosts that are up are one ring again, within limit.
func (w *World) Merged(limit time.Duration) bool {
	return w.RunUntil(limit, 100*time.Millisecond, func() bool { return w.checkCycle(nil) == nil })
}
