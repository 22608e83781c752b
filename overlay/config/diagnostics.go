package config

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// DiagnosticAccess says who may have diagnostic information of one kind (RFC 7851 §7: diagnostic-kind).
type DiagnosticAccess struct {
	Kind  wire.DiagnosticKind
	Nodes []wire.NodeID // access-node
}

// Diagnostics reports whether the document says who may have diagnostic information: it declares the extension (RFC 7851
// §9.6) or has an element of it.
func (o *Overlay) Diagnostics() bool {
	return len(o.DiagnosticKinds) > 0 || slices.Contains(o.MandatoryExtensions, NamespaceDiagnostics)
}

// MayDiagnose reports whether the document gives node access to diagnostic information of kind k. RFC 7851 §4.1: "The
// default policy or access rule for a type of diagnostic information is "deny"".
func (o *Overlay) MayDiagnose(node wire.NodeID, k wire.DiagnosticKind) bool {
	return slices.ContainsFunc(o.DiagnosticKinds, func(a DiagnosticAccess) bool {
		return a.Kind == k && slices.Contains(a.Nodes, node)
	})
}

func diagnosticElement(local string) xml.Name {
	return xml.Name{Space: NamespaceDiagnostics, Local: local}
}

// diagnosticKind reads one diagnostic-kind. RFC 7851 §7: it has "the attribute "kind" with the hexadecimal number
// indicating the diagnostic Kind ID" and "at least one subelement "access-node"".
func (p *parser) diagnosticKind(e *element) error {
	s, _ := e.attr("kind")
	k, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 16)
	if err != nil {
		return e.refuseAs("diagnostic-kind/@kind", s, "must be a hexadecimal number of 16 bits")
	}
	a := DiagnosticAccess{Kind: wire.DiagnosticKind(k)}
	found := false
	for _, c := range e.children {
		if c.name != diagnosticElement("access-node") {
			continue
		}
		found = true
		id, err := wire.ParseNodeID(c.value())
		if err != nil || id.Len() != p.o.NodeIDLength {
			p.warn(c, "%q is not a Node-ID of %d hexadecimal digits, ignored", c.value(), 2*p.o.NodeIDLength)
			continue
		}
		a.Nodes = append(a.Nodes, id)
	}
	if !found {
		return e.refuse(s, "names no access-node")
	}
	p.o.DiagnosticKinds = append(p.o.DiagnosticKinds, a)
	return nil
}

// diagnostics writes the elements of RFC 7851 §7.
func (w *writer) diagnostics(list []DiagnosticAccess) {
	for _, a := range list {
		w.raw("<diag:diagnostic-kind")
		w.attr("xmlns:diag", NamespaceDiagnostics)
		w.attr("kind", fmt.Sprintf("%04x", uint16(a.Kind)))
		w.raw(">")
		w.list("diag:access-node", hexIDs(a.Nodes))
		w.raw("</diag:diagnostic-kind>\n")
	}
}
