package config

import (
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// parser fills one Configuration.
type parser struct {
	doc  []byte
	c    *Configuration
	o    *Overlay
	seen map[xml.Name]bool

	branching int // branching-factor that stands in configuration; 0: none
}

func (p *parser) warn(e *element, format string, args ...any) {
	if len(p.c.Warnings) < maxWarnings {
		p.c.Warnings = append(p.c.Warnings, fmt.Sprintf("line %d: %s: ", e.line, e.name.Local)+fmt.Sprintf(format, args...))
	}
}

func parseConfiguration(doc []byte, e *element) (Configuration, error) {
	p := &parser{doc: doc, c: &Configuration{Signed: e.octets(doc)}, o: New(""), seen: map[xml.Name]bool{}}
	p.c.Overlay = p.o
	p.o.LinkProtocols = nil
	if err := p.attributes(e); err != nil {
		return Configuration{}, err
	}
	// node-id-length comes first: other elements depend on it and their order is free (§11.1.1).
	for c := range e.all("node-id-length") {
		n, err := number(c, wire.MinNodeIDLen, wire.MaxNodeIDLen)
		if err != nil {
			return Configuration{}, err
		}
		p.o.NodeIDLength = n
	}
	for _, c := range e.children {
		if err := p.element(c); err != nil {
			return Configuration{}, err
		}
	}
	if len(p.o.LinkProtocols) == 0 {
		p.o.LinkProtocols = []string{LinkProtocolTLS} // RFC 6940 §11.1: "If none appear, then this implies the default value"
	}
	p.redir(e)
	p.checkSelfTuning(e)
	p.o.KindBlocks = p.c.Blocks
	return *p.c, nil
}

// attributes reads instance-name, sequence and expiration (RFC 6940 §11.1).
func (p *parser) attributes(e *element) error {
	name, _ := e.attr("instance-name")
	if !IsDNSName(name) {
		// RFC 6940 §6.3.2: "a sequence of characters that would be allowable as a DNS name"
		return e.refuseAs("configuration/@instance-name", name, "must be a DNS name")
	}
	p.o.InstanceName = name
	if s, ok := e.attr("sequence"); ok {
		// RFC 6940 §11.1: "A monotonically increasing sequence number between 0 and 2^16-2."
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n > MaxSequence {
			return e.refuseAs("configuration/@sequence", s, "must be a number from 0 to %d", MaxSequence)
		}
		p.o.Sequence = uint16(n)
	}
	if s, ok := e.attr("expiration"); ok {
		// RFC 6940 §11.1: "All times MUST conform to the Internet date/time format defined in [RFC3339] and be specified using
		// UTC."
		t, err := time.Parse(time.RFC3339, s)
		if _, offset := t.Zone(); err != nil || offset != 0 {
			return e.refuseAs("configuration/@expiration", s, "must be an RFC 3339 time in UTC")
		}
		p.o.Expiration = t.UTC()
	}
	return nil
}

func (p *parser) element(e *element) error {
	set, ok := setters[e.name]
	if !ok {
		if e.name.Space == NamespaceBase || e.name.Space == "" {
			p.warn(e, "unknown element, ignored")
		}
		return nil // RFC 6940 §11.1.1: foreign-elements
	}
	if !set.many && p.seen[e.name] {
		return e.refuse("", "appears more than once")
	}
	p.seen[e.name] = true
	return set.set(p, e)
}

func base(local string) xml.Name  { return xml.Name{Space: NamespaceBase, Local: local} }
func chord(local string) xml.Name { return xml.Name{Space: NamespaceChord, Local: local} }

type setter struct {
	many bool
	set  func(p *parser, e *element) error
}

// setters is every element of RFC 6940 §11.1 that stands in configuration, diagnostic-kind of RFC 7851 §7, number-of-peers-to-probe of
// RFC 7363 §7, branching-factor, which the grammar of RFC 7374 §8 puts there, domain-restriction, which the prose of RFC 7904 §3.4 does, and
// number-range of ours.
var setters = map[xml.Name]setter{
	base("topology-plugin"): {set: text(func(o *Overlay) *string { return &o.TopologyPlugin })},
	// The prose of §11.1 spells it so.
	base("topology-plug-in"):             {set: text(func(o *Overlay) *string { return &o.TopologyPlugin })},
	base("node-id-length"):               {set: func(*parser, *element) error { return nil }},
	base("root-cert"):                    {many: true, set: (*parser).rootCert},
	base("enrollment-server"):            {many: true, set: (*parser).enrollmentServer},
	base("self-signed-permitted"):        {set: (*parser).selfSigned},
	base("bootstrap-node"):               {many: true, set: (*parser).bootstrap},
	base("turn-density"):                 {set: (*parser).turnDensity},
	base("clients-permitted"):            {set: boolean(func(o *Overlay) *bool { return &o.ClientsPermitted })},
	base("no-ice"):                       {set: boolean(func(o *Overlay) *bool { return &o.NoICE })},
	base("shared-secret"):                {set: text(func(o *Overlay) *string { return &o.SharedSecret })},
	base("max-message-size"):             {set: (*parser).maxMessageSize},
	base("initial-ttl"):                  {set: (*parser).initialTTL},
	base("overlay-reliability-timer"):    {set: (*parser).reliabilityTimer},
	base("overlay-link-protocol"):        {many: true, set: list(func(o *Overlay) *[]string { return &o.LinkProtocols })},
	base("kind-signer"):                  {many: true, set: nodes(func(o *Overlay) *[]wire.NodeID { return &o.KindSigners })},
	base("configuration-signer"):         {many: true, set: nodes(func(o *Overlay) *[]wire.NodeID { return &o.ConfigurationSigners })},
	base("bad-node"):                     {many: true, set: nodes(func(o *Overlay) *[]wire.NodeID { return &o.BadNodes })},
	base("mandatory-extension"):          {many: true, set: list(func(o *Overlay) *[]string { return &o.MandatoryExtensions })},
	base("required-kinds"):               {set: (*parser).requiredKinds},
	chord("chord-ping-interval"):         {set: seconds(func(o *Overlay) *time.Duration { return &o.ChordPingInterval })},
	chord("chord-update-interval"):       {set: seconds(func(o *Overlay) *time.Duration { return &o.ChordUpdateInterval })},
	chord("chord-reactive"):              {set: boolean(func(o *Overlay) *bool { return &o.ChordReactive })},
	diagnosticElement("diagnostic-kind"): {many: true, set: (*parser).diagnosticKind},
	probeElement:                         {set: (*parser).peersToProbe},
	rangeElement:                         {many: true, set: (*parser).numberRange},
	branchingElement:                     {set: (*parser).branchingFactor},
	sipElement("domain-restriction"):     {set: (*parser).domains},
	sipElement("domain-restrictions"):    {set: (*parser).domains},
}

func sipElement(local string) xml.Name { return xml.Name{Space: NamespaceSIP, Local: local} }

func text(field func(*Overlay) *string) func(*parser, *element) error {
	return func(p *parser, e *element) error {
		if e.value() == "" {
			return e.refuse("", "is empty")
		}
		*field(p.o) = e.value()
		return nil
	}
}

func list(field func(*Overlay) *[]string) func(*parser, *element) error {
	return func(p *parser, e *element) error {
		if e.value() == "" {
			return e.refuse("", "is empty")
		}
		f := field(p.o)
		*f = append(*f, e.value())
		return nil
	}
}

func boolean(field func(*Overlay) *bool) func(*parser, *element) error {
	return func(p *parser, e *element) (err error) {
		*field(p.o), err = e.boolean(e.name.Local, e.value())
		return err
	}
}

// boolean reads an xsd:boolean. RFC 6940 §11.1: "two lexical representations, "1" or "true" for the concept true, and
// "0" or "false" for the concept false".
func (e *element) boolean(name, value string) (bool, error) {
	switch value {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, e.refuseAs(name, value, "must be true, false, 1 or 0")
}

func seconds(field func(*Overlay) *time.Duration) func(*parser, *element) error {
	return func(p *parser, e *element) error {
		n, err := number(e, 1, math.MaxInt32)
		*field(p.o) = time.Duration(n) * time.Second
		return err
	}
}

// nodes reads a Node-ID in hexadecimal. One of another length can never match and is left out, with a warning: the
// example of RFC 6940 §11.1 has such.
func nodes(field func(*Overlay) *[]wire.NodeID) func(*parser, *element) error {
	return func(p *parser, e *element) error {
		id, err := wire.ParseNodeID(e.value())
		if err != nil || id.Len() != p.o.NodeIDLength {
			p.warn(e, "%q is not a Node-ID of %d hexadecimal digits, ignored", e.value(), 2*p.o.NodeIDLength)
			return nil
		}
		f := field(p.o)
		*f = append(*f, id)
		return nil
	}
}

func number(e *element, low, high int64) (int, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(e.value(), "+"), 10, 64)
	if err != nil || n < low || n > high {
		return 0, e.refuse(e.value(), "must be a number from %d to %d", low, high)
	}
	return int(n), nil
}

func (p *parser) rootCert(e *element) error {
	der, err := decodeBase64(e)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return e.refuse("", "is not an X.509 certificate: %v", err)
	}
	p.o.RootCerts = append(p.o.RootCerts, cert)
	return nil
}

// enrollmentServer reads the URL from the text, as in the grammar, or from a "url" element, as in the prose.
func (p *parser) enrollmentServer(e *element) error {
	url := e.value()
	for c := range e.all("url") {
		url = c.value()
	}
	// RFC 6940 §11.1: "This URL MUST be of type "https:"."
	if !strings.HasPrefix(strings.ToLower(url), "https://") {
		return e.refuse(url, "must be an https URL")
	}
	p.o.EnrollmentServers = append(p.o.EnrollmentServers, url)
	return nil
}

func (p *parser) selfSigned(e *element) (err error) {
	if p.o.SelfSignedPermitted, err = e.boolean(e.name.Local, e.value()); err != nil {
		return err
	}
	digest, ok := e.attr("digest")
	// RFC 6940 §11.1: "Valid values for this parameter are "sha1" and "sha256""
	if p.o.SelfSignedPermitted && digest != DigestSHA1 && digest != DigestSHA256 {
		return e.refuseAs("self-signed-permitted/@digest", digest, "must be sha1 or sha256")
	}
	if ok {
		p.o.SelfSignedDigest = digest
	}
	return nil
}

func (p *parser) bootstrap(e *element) error {
	b := BootstrapNode{Port: DefaultPort}
	b.Address, _ = e.attr("address")
	if _, err := netip.ParseAddr(b.Address); err != nil && !IsDNSName(b.Address) {
		return e.refuseAs("bootstrap-node/@address", b.Address, "must be an IP address or a host name")
	}
	if s, ok := e.attr("port"); ok {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return e.refuseAs("bootstrap-node/@port", s, "must be a number from 1 to 65535")
		}
		b.Port = uint16(n)
	}
	p.o.Bootstrap = append(p.o.Bootstrap, b)
	return nil
}

func (p *parser) turnDensity(e *element) error {
	n, err := number(e, 0, math.MaxUint8)
	p.o.TurnDensity = uint8(n)
	return err
}

func (p *parser) maxMessageSize(e *element) (err error) {
	p.o.MaxMessageSize, err = number(e, wire.HeaderFixedLen, math.MaxUint32)
	return err
}

func (p *parser) initialTTL(e *element) error {
	n, err := number(e, 1, math.MaxUint8)
	p.o.InitialTTL = uint8(n)
	// RFC 6940 §13.6.5: it "SHOULD be set to a value slightly larger than the longest expected path through the network. For
	// Chord, experience has shown that log(2) of the number of nodes in the network + 5 is a safe bound."
	switch {
	case err != nil:
	case n < lowTTL:
		p.warn(e, "%d is little for more than %d nodes", n, 1<<max(0, n-ttlMargin))
	case n > DefaultInitialTTL:
		p.warn(e, "%d is more than any path needs: who makes messages go round in circles may do so that often", n)
	}
	return err
}

func (p *parser) reliabilityTimer(e *element) error {
	// RFC 6940 §11.1: "The value MUST be at least 200 milliseconds"
	n, err := number(e, MinReliabilityTimer.Milliseconds(), math.MaxInt32)
	p.o.ReliabilityTimer = time.Duration(n) * time.Millisecond
	return err
}

// IsDNSName reports whether s can be a DNS name: letters, digits, hyphens and underscores between dots.
func IsDNSName(s string) bool {
	if s == "" || len(s) > maxNameLen {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, dnsLetters) != "" {
			return false
		}
	}
	return true
}

const dnsLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
