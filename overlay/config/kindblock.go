package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ErrTooManyKinds is the error of WithKind when no room is left for what ConfigUpdates bring.
var ErrTooManyKinds = errors.New("config: too many Kinds")

// ParseKindBlock reads one <kind-block> on its own, as a ConfigUpdate of type kind carries it: RFC 6940 §6.5.4.1, "UTF-8
// and assume a default namespace of urn:ietf:params:xml:ns:p2p:config-base". The signature is not checked here:
// trust.VerifyKindBlock does. The octets are copied.
func ParseKindBlock(octets []byte) (KindBlock, error) {
	doc := fmt.Appendf(nil, "<overlay xmlns=%q xmlns:sip=%q>", NamespaceBase, NamespaceSIP)
	doc = append(append(doc, bytes.TrimSpace(octets)...), "</overlay>"...)
	root, err := readTree(doc)
	if err != nil {
		return KindBlock{}, err
	}
	if len(root.children) != 1 || !root.children[0].is("kind-block") {
		return KindBlock{}, root.refuse("", "holds something else than one kind-block")
	}
	p := &parser{doc: doc, c: &Configuration{}, o: New("")}
	if err := p.kindBlock(root.children[0]); err != nil {
		return KindBlock{}, err
	}
	b := p.c.Blocks[0]
	b.Update, b.Domains = true, p.o.Domains
	if b.Kind.ID == 0 || b.Kind.Model == 0 || !b.Kind.Access.known() {
		return KindBlock{}, fmt.Errorf("config: kind %q %q: %w", b.Kind.Name, b.Kind.Access, ErrUnsupported)
	}
	return b, nil
}

// AppendKindBlock appends b as one <kind-block> element.
func AppendKindBlock(dst []byte, b *KindBlock) []byte {
	w := &writer{b: dst}
	w.raw("<kind-block>\n")
	w.b = append(append(w.b, b.Signed...), '\n')
	if b.Signature != nil {
		w.base64("kind-signature", b.Signature)
	}
	w.raw("</kind-block>")
	return w.b
}

// KindBlock looks up what describes a Kind; nil when nothing that could be handed on does.
func (o *Overlay) KindBlock(id wire.KindID) *KindBlock {
	for i := range o.KindBlocks {
		if b := &o.KindBlocks[i]; b.Kind.ID == id && id != 0 {
			return b
		}
	}
	return nil
}

// WithKind is o with the Kind that b describes, in the place of what it knew of that Kind. It is o itself when that says the
// same (RFC 6940 §6.5.4.2).
func (o *Overlay) WithKind(b KindBlock) (*Overlay, error) {
	if known := o.KindBlock(b.Kind.ID); known != nil && bytes.Equal(known.Signed, b.Signed) {
		return o, nil
	}
	n := *o
	n.KindBlocks = slices.DeleteFunc(slices.Clone(o.KindBlocks), func(k KindBlock) bool { return k.Kind.ID == b.Kind.ID })
	updates := 0
	for _, k := range n.KindBlocks {
		if k.Update {
			updates++
		}
	}
	if updates >= maxKindUpdates {
		return nil, ErrTooManyKinds
	}
	n.KindBlocks = append(n.KindBlocks, b)
	n.Kinds = slices.DeleteFunc(slices.Clone(o.Kinds), func(k Kind) bool { return k.ID == b.Kind.ID })
	n.Kinds = append(n.Kinds, b.Kind)
	if b.Domains != nil {
		n.Domains = b.Domains
	}
	return &n, nil
}
