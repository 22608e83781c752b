package config

import (
	"math"
	"strconv"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func (p *parser) requiredKinds(e *element) error {
	for block := range e.all("kind-block") {
		if err := p.kindBlock(block); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) kindBlock(e *element) error {
	var found bool
	var b KindBlock
	for c := range e.all("kind") {
		// RFC 6940 §11.1: "Each kind-block consists of a single kind element and a kind-signature."
		if found {
			return e.refuse("", "holds more than one kind")
		}
		k, err := p.kind(c)
		if err != nil {
			return err
		}
		b.Kind, b.Signed, found = k, c.octets(p.doc), true
	}
	if !found {
		return e.refuse("", "holds no kind")
	}
	for c := range e.all("kind-signature") {
		sig, err := decodeBase64(c)
		if err != nil {
			return err
		}
		b.Signature = sig
	}
	for _, k := range p.o.Kinds {
		if k.ID == b.Kind.ID && k.Name == b.Kind.Name {
			return e.refuse(k.Name, "describes Kind 0x%x a second time", uint32(k.ID))
		}
	}
	p.o.Kinds = append(p.o.Kinds, b.Kind)
	p.c.Blocks = append(p.c.Blocks, b)
	return nil
}

func (p *parser) kind(e *element) (Kind, error) {
	k, err := p.kindID(e)
	if err != nil {
		return k, err
	}
	registered, iana := Registered(k.ID)
	for _, c := range e.children {
		if err := p.kindParameter(&k, c); err != nil {
			return k, err
		}
	}
	if k.MaxCount == 0 || k.MaxSize == 0 || !iana && (k.Access == "" || modelElement(e) == "") {
		// RFC 6940 §11.1: "All of the non-optional values MUST be provided."
		return k, e.refuse("", "needs max-count, max-size, data-model and access-control")
	}
	if iana {
		// RFC 6940 §11.1: data-model and access-control "MUST match those in the Kind registration, and clients MUST ignore
		// them in favor of the IANA versions"
		registered.MaxCount, registered.MaxSize = k.MaxCount, k.MaxSize
		if k.BranchingFactor != 0 {
			registered.BranchingFactor = k.BranchingFactor
		}
		k = registered
	}
	if k.Access == NodeMultiple && k.MaxNodeMultiple == 0 {
		return k, e.refuse("", "needs max-node-multiple, because its access control is NODE-MULTIPLE")
	}
	if k.Access == NodeIDMatch && k.BranchingFactor == 0 {
		k.BranchingFactor = DefaultBranchingFactor // RFC 7374 §8: "The default value is 10."
	}
	if k.ID == wire.KindSIPRegistration && (k.MaxCount == 1 || k.MaxSize < 64) {
		p.warn(e, "SIP-REGISTRATION with max-count %d and max-size %d leaves little room", k.MaxCount, k.MaxSize)
	}
	return k, nil
}

// kindID reads the id or the name. RFC 6940 §11.1: "Each kind element has either an id attribute or a name attribute."
func (p *parser) kindID(e *element) (Kind, error) {
	name, named := e.attr("name")
	id, numbered := e.attr("id")
	switch {
	case named == numbered:
		return Kind{}, e.refuse("", "needs either a name or an id")
	case named:
		k, ok := registeredName(name)
		if !ok {
			p.warn(e, "Kind %q is not known", name)
			return Kind{Name: name}, nil
		}
		return Kind{ID: k.ID, Name: k.Name}, nil
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil || n == 0 {
		return Kind{}, e.refuseAs("kind/@id", id, "must be a number from 1 to %d", uint32(math.MaxUint32))
	}
	if !Private(wire.KindID(n)) {
		p.warn(e, "Kind-ID %d is not of the private range", n)
	}
	return Kind{ID: wire.KindID(n)}, nil
}

func modelElement(e *element) string {
	for c := range e.all("data-model") {
		return c.value()
	}
	return ""
}

func (p *parser) kindParameter(k *Kind, e *element) (err error) {
	switch {
	case e.is("max-count"):
		k.MaxCount, err = number(e, 1, math.MaxInt32)
	case e.is("max-size"):
		k.MaxSize, err = number(e, 1, math.MaxInt32)
	case e.is("max-node-multiple"):
		// RFC 6940 §11.1: "It MUST be an integer greater than 0."
		k.MaxNodeMultiple, err = number(e, 1, math.MaxInt32)
	case e.name == branchingElement:
		// RFC 7374 §8: "inside the new "REDIR" kind element".
		k.BranchingFactor, err = number(e, minBranching, maxBranching)
	case e.is("data-model"):
		for _, m := range []wire.DataModel{wire.SingleValue, wire.Array, wire.Dictionary} {
			if m.String() == e.value() {
				k.Model = m
			}
		}
	case e.is("access-control"):
		k.Access = AccessControl(e.value())
	case e.name == sipElement("domain-restriction"), e.name == sipElement("domain-restrictions"):
		err = p.domains(e)
	case e.name.Space == NamespaceBase:
		p.warn(e, "unknown element, ignored")
	}
	return err
}

// domains reads domain-restriction; the prose of RFC 7904 §3.4 calls it domain-restrictions.
func (p *parser) domains(e *element) error {
	if p.o.Domains != nil {
		return e.refuse("", "appears more than once")
	}
	enable := false // RFC 7904 §3.4: `the "enable" attribute of its parent element is not set or set to false`
	if s, ok := e.attr("enable"); ok {
		var err error
		if enable, err = e.boolean("domain-restriction/@enable", s); err != nil {
			return err
		}
	}
	var patterns []string
	for _, c := range e.children {
		if c.name == sipElement("pattern") {
			patterns = append(patterns, c.value())
		}
	}
	d, err := NewDomainRestriction(enable, patterns...)
	if err != nil {
		return e.refuse("", "%v", err)
	}
	p.o.Domains = d
	return nil
}
