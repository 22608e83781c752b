package config

import (
	"encoding/xml"
	"slices"
	"strconv"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var branchingElement = xml.Name{Space: NamespaceRedir, Local: "branching-factor"}

// Redir is the Kind REDIR, when the document has it: then services are found by RFC 7374 in this overlay.
func (o *Overlay) Redir() (Kind, bool) {
	i := slices.IndexFunc(o.Kinds, func(k Kind) bool { return k.ID == wire.KindREDIR })
	if i < 0 {
		return Kind{}, false
	}
	return o.Kinds[i], true
}

// WithRedir is for whoever composes a document: its nodes find services by RFC 7374. A tree node has at most maxCount
// providers, each with a record of up to maxSize octets.
func (o *Overlay) WithRedir(maxCount, maxSize int) {
	k, _ := Registered(wire.KindREDIR)
	k.MaxCount, k.MaxSize = maxCount, maxSize
	o.Kinds = append(o.Kinds, k)
	// RFC 7374 §8: "The 'redir' namespace is added into the <mandatory-extension> element in the overlay configuration file."
	o.MandatoryExtensions = append(o.MandatoryExtensions, NamespaceRedir)
}

// branchingFactor reads the element where the grammar of RFC 7374 §8 has it; its prose has it inside the Kind.
func (p *parser) branchingFactor(e *element) (err error) {
	p.branching, err = number(e, minBranching, maxBranching)
	return err
}

// redir brings together what a document says of REDIR.
func (p *parser) redir(e *element) {
	for i := range p.o.Kinds {
		k := &p.o.Kinds[i]
		if k.ID != wire.KindREDIR {
			continue
		}
		if p.branching != 0 && k.BranchingFactor == DefaultBranchingFactor {
			k.BranchingFactor = p.branching
			p.c.Blocks[i].Kind.BranchingFactor = p.branching
		}
		if !slices.Contains(p.o.MandatoryExtensions, NamespaceRedir) {
			p.warn(e, "Kind REDIR without mandatory-extension %s: nodes that cannot store it may join (RFC 7374 §8)", NamespaceRedir)
		}
	}
}

// branching declares its namespace itself: a kind is signed without its surroundings.
func (w *writer) branching(n int) {
	w.raw("<redir:branching-factor")
	w.attr("xmlns:redir", NamespaceRedir)
	w.raw(">" + strconv.Itoa(n) + "</redir:branching-factor>\n")
}
