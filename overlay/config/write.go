package config

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// AppendConfiguration appends o as one <configuration> element, the octets that are to be signed. Each Kind of o that
// blocks describe is written as its block, with its signature; the others without one. The element declares its
// namespaces itself, so that they are under the signature.
func AppendConfiguration(b []byte, o *Overlay, blocks ...KindBlock) []byte {
	w := &writer{b: b}
	w.raw("<configuration")
	w.attr("xmlns", NamespaceBase)
	w.attr("xmlns:chord", NamespaceChord)
	w.attr("instance-name", o.InstanceName)
	w.attr("sequence", strconv.Itoa(int(o.Sequence)))
	if !o.Expiration.IsZero() {
		w.attr("expiration", o.Expiration.UTC().Format(time.RFC3339))
	}
	w.raw(">\n")
	w.identity(o)
	w.routing(o)
	w.list("configuration-signer", hexIDs(o.ConfigurationSigners))
	w.list("kind-signer", hexIDs(o.KindSigners))
	w.list("bad-node", hexIDs(o.BadNodes))
	w.list("mandatory-extension", o.MandatoryExtensions)
	w.diagnostics(o.DiagnosticKinds)
	w.selfTuning(o)
	w.ranges(o.Ranges)
	w.kinds(o, blocks)
	w.raw("</configuration>")
	return w.b
}

// AppendKind appends k as one <kind> element, the octets that its kind-signature covers (RFC 6940 §11.1). The domain
// restriction of o goes into the element of SIP-REGISTRATION (RFC 7904 §3.4).
func AppendKind(b []byte, o *Overlay, k Kind) []byte {
	w := &writer{b: b}
	w.raw("<kind")
	if k.Name != "" {
		w.attr("name", k.Name)
	} else {
		w.attr("id", strconv.FormatUint(uint64(k.ID), 10))
	}
	w.raw(">\n")
	w.element("data-model", k.Model.String())
	w.element("access-control", string(k.Access))
	w.number("max-count", int64(k.MaxCount))
	w.number("max-size", int64(k.MaxSize))
	if k.Access == NodeMultiple {
		w.number("max-node-multiple", int64(k.MaxNodeMultiple))
	}
	if k.Access == NodeIDMatch && k.BranchingFactor != 0 {
		w.branching(k.BranchingFactor)
	}
	if o.Domains != nil && k.ID == wire.KindSIPRegistration {
		w.domains(o.Domains)
	}
	w.raw("</kind>")
	return w.b
}

type writer struct{ b []byte }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) escaped(s string) {
	var buf bytes.Buffer
	_ = xml.EscapeText(&buf, []byte(s)) // a bytes.Buffer does not fail
	w.b = append(w.b, buf.Bytes()...)
}

func (w *writer) attr(name, value string) {
	w.raw(" " + name + `="`)
	w.escaped(value)
	w.raw(`"`)
}

func (w *writer) element(name, value string) {
	w.raw("<" + name + ">")
	w.escaped(value)
	w.raw("</" + name + ">\n")
}

func (w *writer) number(name string, n int64)  { w.element(name, strconv.FormatInt(n, 10)) }
func (w *writer) boolean(name string, is bool) { w.element(name, strconv.FormatBool(is)) }

func (w *writer) base64(name string, v []byte) {
	w.raw("<" + name + ">")
	w.b = appendBase64(w.b, v)
	w.raw("</" + name + ">\n")
}

func (w *writer) list(name string, values []string) {
	for _, v := range values {
		w.element(name, v)
	}
}

// identity writes who may take part and how they get there.
func (w *writer) identity(o *Overlay) {
	for _, c := range o.RootCerts {
		w.base64("root-cert", c.Raw)
	}
	w.list("enrollment-server", o.EnrollmentServers)
	if o.SelfSignedPermitted {
		w.raw("<self-signed-permitted")
		w.attr("digest", o.SelfSignedDigest)
		w.raw(">true</self-signed-permitted>\n")
	}
	for _, n := range o.Bootstrap {
		w.raw("<bootstrap-node")
		w.attr("address", n.Address)
		w.attr("port", strconv.Itoa(int(n.Port)))
		w.raw("/>\n")
	}
	w.boolean("clients-permitted", o.ClientsPermitted)
	if o.SharedSecret != "" {
		w.element("shared-secret", o.SharedSecret)
	}
}

// routing writes the parameters of the protocol.
func (w *writer) routing(o *Overlay) {
	w.element("topology-plugin", o.TopologyPlugin)
	w.number("node-id-length", int64(o.NodeIDLength))
	w.number("turn-density", int64(o.TurnDensity))
	w.boolean("no-ice", o.NoICE)
	w.number("max-message-size", int64(o.MaxMessageSize))
	w.number("initial-ttl", int64(o.InitialTTL))
	w.number("overlay-reliability-timer", o.ReliabilityTimer.Milliseconds())
	w.list("overlay-link-protocol", o.LinkProtocols)
	w.number("chord:chord-ping-interval", int64(o.ChordPingInterval/time.Second))
	w.number("chord:chord-update-interval", int64(o.ChordUpdateInterval/time.Second))
	w.boolean("chord:chord-reactive", o.ChordReactive)
}

func (w *writer) kinds(o *Overlay, blocks []KindBlock) {
	if len(o.Kinds) == 0 {
		return
	}
	w.raw("<required-kinds>\n")
	for _, k := range o.Kinds {
		block := KindBlock{Kind: k}
		for _, b := range blocks {
			if b.Kind.ID == k.ID {
				block = b
			}
		}
		if block.Signed == nil {
			block.Signed = AppendKind(nil, o, k)
		}
		w.b = append(AppendKindBlock(w.b, &block), '\n')
	}
	w.raw("</required-kinds>\n")
}

// domains declares its namespace itself: a kind is signed without its surroundings.
func (w *writer) domains(d *DomainRestriction) {
	w.raw("<sip:domain-restriction")
	w.attr("xmlns:sip", NamespaceSIP)
	w.attr("enable", fmt.Sprint(d.Enable))
	w.raw(">\n")
	w.list("sip:pattern", d.Patterns)
	w.raw("</sip:domain-restriction>\n")
}

func hexIDs(ids []wire.NodeID) []string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = id.String()
	}
	return s
}
