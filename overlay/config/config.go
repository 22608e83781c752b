// Package config is the overlay configuration document: what every node of an overlay agrees on (RFC 6940 §11.1,
// RFC 7904 §3.4). It reads and writes documents and keeps the octets that signatures cover; checking the signatures is
// trust's part. Every other overlay package reads an *Overlay. An *Overlay is immutable after Parse and safe for
// concurrent use.
package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// BootstrapNode is an address at which the overlay can be entered (RFC 6940 §11.1).
type BootstrapNode struct {
	Address string // host or IP address
	Port    uint16
}

// Overlay is one overlay's configuration (RFC 6940 §11.1). Defaults are filled in by Parse and New.
type Overlay struct {
	InstanceName         string
	Sequence             uint16
	Expiration           time.Time // zero: never
	TopologyPlugin       string
	NodeIDLength         int // octets
	RootCerts            []*x509.Certificate
	EnrollmentServers    []string
	SelfSignedPermitted  bool
	SelfSignedDigest     string // "sha1" or "sha256"
	Bootstrap            []BootstrapNode
	TurnDensity          uint8
	ClientsPermitted     bool
	NoICE                bool
	SharedSecret         string
	MaxMessageSize       int // octets
	InitialTTL           uint8
	ReliabilityTimer     time.Duration // whole milliseconds
	LinkProtocols        []string
	KindSigners          []wire.NodeID
	ConfigurationSigners []wire.NodeID
	BadNodes             []wire.NodeID
	MandatoryExtensions  []string
	DiagnosticKinds      []DiagnosticAccess // RFC 7851 §7
	Kinds                []Kind
	KindBlocks           []KindBlock // what Kinds come from, in the same order; fewer for a composed overlay
	Domains              *DomainRestriction
	ChordPingInterval    time.Duration // whole seconds
	ChordUpdateInterval  time.Duration // whole seconds
	ChordReactive        bool
	PeersToProbe         int          // number-of-peers-to-probe of RFC 7363 §7, of a self-tuning overlay
	Ranges               numbers.Plan // shapes that the number ranges of the overlay have; none: it has no ranges
}

// New returns the overlay named name with the defaults of RFC 6940 §11.1, for whoever composes a document.
func New(name string) *Overlay {
	return &Overlay{
		InstanceName:        name,
		TopologyPlugin:      TopologyCHORD,
		NodeIDLength:        DefaultNodeIDLength,
		SelfSignedDigest:    DigestSHA1,
		TurnDensity:         DefaultTurnDensity,
		ClientsPermitted:    true,
		MaxMessageSize:      DefaultMaxMessageSize,
		InitialTTL:          DefaultInitialTTL,
		ReliabilityTimer:    DefaultReliabilityTimer,
		LinkProtocols:       []string{LinkProtocolTLS},
		ChordPingInterval:   DefaultChordPingInterval,
		ChordUpdateInterval: DefaultChordUpdateInterval,
		ChordReactive:       true,
		PeersToProbe:        DefaultPeersToProbe,
	}
}

// ID is the value of the overlay field in forwarding headers.
func (o *Overlay) ID() wire.OverlayID { return wire.OverlayIDOf(o.InstanceName) }

// Expired reports whether the document's time is over at now (RFC 6940 §11.1).
func (o *Overlay) Expired(now time.Time) bool {
	return !o.Expiration.IsZero() && !now.Before(o.Expiration)
}

// ErrUnsupported is the error of Supported: this program cannot be a member of the overlay.
var ErrUnsupported = errors.New("not supported")

// Supported says why this program cannot join o, or nil. RFC 6940 §11.1: "If a node is not capable of supporting the new
// requirements, it MUST exit the overlay."
func (o *Overlay) Supported() error {
	refuse := func(element, value string) error {
		return fmt.Errorf("config: overlay %s: %s %q: %w", o.InstanceName, element, value, ErrUnsupported)
	}
	if o.TopologyPlugin != TopologyCHORD && !o.SelfTuning() {
		return refuse("topology-plugin", o.TopologyPlugin)
	}
	// Deviation: RFC 6940 §11.1 allows 17 to 20 as well, but §10.1 and §10.2 do all arithmetic modulo 2^128.
	if o.NodeIDLength != DefaultNodeIDLength {
		return refuse("node-id-length", fmt.Sprint(o.NodeIDLength))
	}
	if !slices.Contains(o.LinkProtocols, LinkProtocolTLS) {
		return refuse("overlay-link-protocol", fmt.Sprint(o.LinkProtocols))
	}
	if o.SharedSecret != "" {
		return refuse("shared-secret", "...")
	}
	for _, ns := range o.MandatoryExtensions {
		// RFC 6940 §11.1: mandatory-extension is "the name of an XML namespace that a node joining the overlay MUST support".
		if !slices.Contains(knownNamespaces, ns) {
			return refuse("mandatory-extension", ns)
		}
	}
	for _, k := range o.Kinds {
		if k.ID == 0 || k.Model == 0 || !k.Access.known() {
			return refuse("kind", k.Name+" "+string(k.Access))
		}
	}
	return nil
}

// Newer reports whether sequence b is later than a. Sequences count modulo 65535: 65535 itself has another meaning in the
// forwarding header (RFC 6940 §6.3.2.1, §11.1), so after 65534 comes 0.
func Newer(b, a uint16) bool {
	d := (int(b) - int(a) + sequenceModulus) % sequenceModulus
	return 0 < d && d < (sequenceModulus+1)/2
}
