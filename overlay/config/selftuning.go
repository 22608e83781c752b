package config

import (
	"encoding/xml"
	"math"
	"slices"
	"strconv"
)

// SelfTuning reports whether the overlay is a self-tuning one (RFC 7363 §1, §9.2).
func (o *Overlay) SelfTuning() bool { return o.TopologyPlugin == TopologySelfTuning }

// WithSelfTuning makes o a self-tuning overlay, as its document has to say it (RFC 7363 §1, §7). It returns o.
func WithSelfTuning(o *Overlay) *Overlay {
	o.TopologyPlugin, o.ChordReactive = TopologySelfTuning, false
	if !slices.Contains(o.MandatoryExtensions, NamespaceSelfTuning) {
		o.MandatoryExtensions = append(o.MandatoryExtensions, NamespaceSelfTuning)
	}
	return o
}

var probeElement = xml.Name{Space: NamespaceSelfTuning, Local: "number-of-peers-to-probe"}

// peersToProbe reads number-of-peers-to-probe (RFC 7363 §7).
func (p *parser) peersToProbe(e *element) error {
	n, err := number(e, 0, math.MaxUint32)
	if err != nil {
		return err
	}
	if n < DefaultPeersToProbe {
		// RFC 7363 §6.5: "A value smaller than 4 is NOT RECOMMENDED".
		p.warn(e, "%d is too few for estimates to be reliable: RFC 7363 recommends %d", n, DefaultPeersToProbe)
	}
	p.o.PeersToProbe = min(n, maxPeersToProbe)
	return nil
}

// checkSelfTuning has a remark where the document does not say everywhere what it says in one place. RFC 7363 §7: "This namespace is
// added into the <mandatory-extension> element in the overlay configuration file."
func (p *parser) checkSelfTuning(e *element) {
	if !p.o.SelfTuning() {
		p.o.PeersToProbe = DefaultPeersToProbe // it means nothing
	}
	used := p.o.SelfTuning() || p.seen[probeElement]
	if used && !slices.Contains(p.o.MandatoryExtensions, NamespaceSelfTuning) {
		p.warn(e, "self-tuning is used, and mandatory-extension does not name %s", NamespaceSelfTuning)
	}
}

// selfTuning writes the element of RFC 7363 §7. It declares its namespace itself.
func (w *writer) selfTuning(o *Overlay) {
	if !o.SelfTuning() {
		return
	}
	w.raw("<self-tuning:number-of-peers-to-probe")
	w.attr("xmlns:self-tuning", NamespaceSelfTuning)
	w.raw(">")
	w.escaped(strconv.Itoa(o.PeersToProbe))
	w.raw("</self-tuning:number-of-peers-to-probe>\n")
}
