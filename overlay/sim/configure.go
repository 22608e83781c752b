package sim

import (
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
		id := by.gateway
		block := wire.SecurityBlock{Certificates: []wire.Certificate{{Data: id.der}}, Signature: id.signature(c.Signed)}
		c.Signatures = [][]byte{block.AppendTo(nil)}
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
		block, err := wire.ParseSecurityBlock(s)
		if err != nil {
			return nil, &trust.RefusalError{Reason: trust.BadSignature, Err: err}
		}
		m := &wire.Message{Security: block}
		id, err := a.check(m, block.Signature, found.Signed)
		if err != nil {
			return nil, err
		}
		if slices.Contains(c.Previous.ConfigurationSigners, id.Node) {
			return found.Overlay, nil
		}
		reason = trust.UnknownSigner
	}
	return nil, &trust.RefusalError{Reason: reason, Err: errSigner}
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
