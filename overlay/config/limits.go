package config

import "time"

// What RFC 6940 §11.1 fixes.
const (
	NamespaceBase        = "urn:ietf:params:xml:ns:p2p:config-base"
	NamespaceChord       = "urn:ietf:params:xml:ns:p2p:config-chord"
	NamespaceSIP         = "urn:ietf:params:xml:ns:p2p:config-base:sip"    // RFC 7904 §3.4
	NamespaceDiagnostics = "urn:ietf:params:xml:ns:p2p:config-diagnostics" // RFC 7851 §9.6
	NamespaceRedir       = "urn:ietf:params:xml:ns:p2p:redir"              // RFC 7374 §10.2
	NamespaceSelfTuning  = "urn:ietf:params:xml:ns:p2p:self-tuning"        // RFC 7363 §7

	TopologyCHORD      = "CHORD-RELOAD"
	TopologySelfTuning = "CHORD-SELF-TUNING" // RFC 7363 §9.2
	LinkProtocolTLS    = "TLS"
	DigestSHA1         = "sha1"
	DigestSHA256       = "sha256"

	DefaultPort                = 6084
	DefaultNodeIDLength        = 16
	DefaultTurnDensity         = 1
	DefaultMaxMessageSize      = 5000
	DefaultInitialTTL          = 100
	DefaultReliabilityTimer    = 3000 * time.Millisecond
	MinReliabilityTimer        = 200 * time.Millisecond
	DefaultChordUpdateInterval = 600 * time.Second  // §10.7.4.1
	DefaultChordPingInterval   = 3600 * time.Second // §10.7.4.2
	DefaultBranchingFactor     = 10                 // RFC 7374 §8
	DefaultPeersToProbe        = 4                  // RFC 7363 §7
	MaxSequence                = 65534              // 2^16-2

	sequenceModulus = MaxSequence + 1
)

// What we set.
const (
	// WrittenMaxMessageSize is for the documents that we write: the RFC's 5000 octets hold about three signed values with
	// their certificates, so that a Fetch of one address-of-record would outgrow them.
	WrittenMaxMessageSize = 65000

	lowTTL    = 20 // of initial-ttl: 32768 nodes
	ttlMargin = 5  // of initial-ttl over the logarithm of the number of nodes (RFC 6940 §13.6.5)

	maxDocument   = 1 << 20 // octets; the largest we have a use for is 20 KB
	maxDepth      = 16      // of elements: the grammar needs 7
	maxElements   = 20000   // in one document: a bad-node list of a large overlay
	maxPatterns   = 256     // of domain-restriction: each is tried on every REGISTER
	maxPatternLen = 256     // octets; the domain that it is matched against has at most 253
	maxNameLen    = 253     // octets of an instance-name, which is a DNS name (§6.3.2)
	maxWarnings   = 100

	// minBranching and maxBranching bound branching-factor: with one child there would be levels without end, and RFC 7374
	// §4.1 numbers the nodes of a level with 16 bits.
	minBranching = 2
	maxBranching = 65536

	maxPeersToProbe = 64 // of one period: more estimates are not kept

	maxKindUpdates = 64 // Kinds that ConfigUpdates brought, beyond those of the document

	// Values for Kinds of the IANA registry that a document does not describe.
	defaultMaxCount = 32
	defaultMaxSize  = 4096
)

var knownNamespaces = []string{NamespaceBase, NamespaceChord, NamespaceSIP, NamespaceDiagnostics, NamespaceRedir, NamespaceSelfTuning}
