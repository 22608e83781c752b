package gateway

import (
	"fmt"
	"time"
)

// StatusReport is GET /api/v1/status.
type StatusReport struct {
	Version       string           `json:"version"`
	Role          Role             `json:"role"`
	Domain        string           `json:"domain"`
	NodeID        string           `json:"node_id"`
	State         string           `json:"state"` // of the peer: starting, joining, joined, leaving, left
	Ready         bool             `json:"ready"`
	NotReady      []string         `json:"not_ready"` // the parts that are not, by name
	UptimeSeconds int64            `json:"uptime_seconds"`
	SIP           []ListenerReport `json:"sip"`
	Overlay       OverlayReport    `json:"overlay"`
	Registrations int              `json:"registrations"` // bindings of phones at this gateway
	Transactions  int              `json:"transactions"`  // SIP transactions that have not ended
	// Valid is what this node needs and for how long it is good, the first to end first. Until then it goes on without any server.
	Valid []EndReport `json:"valid"`
	// JoinFailed is why the last attempt to enter the overlay came to nothing; empty once the node is part of it.
	JoinFailed string `json:"join_failed,omitempty"`
	// Uncertified is how many users are registered here for whom this node has no certificate: other gateways do not find them.
	Uncertified int `json:"uncertified,omitempty"`
	// ClockSkew is by how many seconds the clocks of the neighbours are ahead of this node's.
	ClockSkew float64 `json:"clock_skew_seconds"`
	// Published are the numbers and ranges that routes of this node publish.
	Published []PublishedReport `json:"published,omitempty"`
	// LastReload is absent when the configuration was read once.
	LastReload *ReloadReport `json:"last_reload,omitempty"`
	// Servers are the configuration and enrollment servers that were asked so far.
	Servers []ServerReport `json:"servers"`
}

// PublishedReport is a number or range that a route publishes.
type PublishedReport struct {
	AOR   string `json:"aor"`
	State string `json:"state"`          // of the record in the overlay: stored | alone | pending | failed | no certificate
	Code  string `json:"code,omitempty"` // of the last failure
	Error string `json:"error,omitempty"`
}

// EndReport is something that ends.
type EndReport struct {
	What  string    `json:"what"`
	Until time.Time `json:"until"`
	Then  string    `json:"then"` // what stops
}

// ServerReport is a configuration or enrollment server.
type ServerReport struct {
	Server   string    `json:"server"`                     // host and port, or the overlay's name when DNS leads to it
	Answered time.Time `json:"answered,omitzero"`          // last
	Since    time.Time `json:"unreachable_since,omitzero"` // absent: it answers
	Error    string    `json:"error,omitempty"`
}

// ListenerReport is one SIP listener.
type ListenerReport struct {
	Transport string `json:"transport"`
	Address   string `json:"address"`
}

// OverlayReport is the peer of a StatusReport.
type OverlayReport struct {
	Name         string         `json:"name"`
	Address      string         `json:"address"` // of the first of listen
	Listen       []string       `json:"listen"`  // tls://ip:port, dtls://ip:port
	Links        int            `json:"links"`
	SizeEstimate int            `json:"size_estimate"`
	Stored       map[string]int `json:"stored"` // values held for the overlay, by Kind
	Tuning       *TuningReport  `json:"self_tuning,omitempty"`
}

// TuningReport is what a peer of a self-tuning overlay (RFC 7363) goes by: its own estimates and those of others, of which it takes
// the 75th percentile.
type TuningReport struct {
	NetworkSize     float64 `json:"network_size"`     // peers
	JoinRate        float64 `json:"join_rate"`        // per 24 hours
	LeaveRate       float64 `json:"leave_rate"`       // of one peer, per 24 hours
	IntervalSeconds float64 `json:"interval_seconds"` // between two stabilizations
	ListSize        int     `json:"list_size"`        // of the successor list, and of the predecessor list
	FingerSize      int     `json:"finger_size"`      // of the finger table
}

// String is the report in a line.
func (t *TuningReport) String() string {
	return fmt.Sprintf("about %.0f peers, %.0f joins a day, a peer leaves %.2f times a day; stabilizes every %.0f s, lists of %d, %d fingers",
		t.NetworkSize, t.JoinRate, t.LeaveRate, t.IntervalSeconds, t.ListSize, t.FingerSize)
}

// RegistrationsReport is GET /api/v1/registrations.
type RegistrationsReport struct {
	Registrations []Registration `json:"registrations"`
}

// Registration is one binding of a phone at this gateway.
type Registration struct {
	AOR              string    `json:"aor"`
	Contact          string    `json:"contact"`
	Transport        string    `json:"transport"`
	Source           string    `json:"source"`
	UserAgent        string    `json:"user_agent"`
	CallID           string    `json:"call_id"`
	Q                float64   `json:"q"`
	Expires          time.Time `json:"expires"`
	ExpiresInSeconds int64     `json:"expires_in_seconds"`
	Flow             string    `json:"flow"`             // live | stale | unreachable: whether the connection stands that it was made over, and answers are given
	NAT              string    `json:"nat"`              // why the phone is taken to be behind a NAT: address | name | websocket; empty: it is not
	RTTms            float64   `json:"rtt_ms,omitempty"` // of the last OPTIONS; 0: none was answered
	State            string    `json:"state"`            // of the record in the overlay: stored | alone | pending | local-only
}

// RingReport is GET /api/v1/ring.
type RingReport struct {
	Self         string       `json:"self"`
	State        string       `json:"state"`
	Predecessors []string     `json:"predecessors"` // nearest first
	Successors   []string     `json:"successors"`   // nearest first
	Fingers      []string     `json:"fingers"`
	Links        []LinkReport `json:"links"`
	SizeEstimate int          `json:"size_estimate"`
	Alone        bool         `json:"alone,omitempty"` // nobody else was there since the start: no registration is stored before somebody comes

	Tuning *TuningReport `json:"self_tuning,omitempty"`
}

// LinkReport is one overlay link.
type LinkReport struct {
	Peer      string  `json:"peer"`
	Ready     bool    `json:"ready"`          // the peer is part of the ring: it may be routed through
	Transport string  `json:"transport"`      // tls | dtls | dtls-ice
	Pair      string  `json:"pair,omitempty"` // as in PeerReport
	RTTms     float64 `json:"rtt_ms"`
}

// LookupReport is GET /api/v1/lookup?aor=.
type LookupReport struct {
	AOR        string         `json:"aor"`
	ResourceID string         `json:"resource_id"`
	Range      string         `json:"range,omitempty"` // the number range that the records are of; empty: the AOR itself
	Found      bool           `json:"found"`
	Known      bool           `json:"known"` // a user of ours, registered or not
	Local      []Registration `json:"local"`
	Records    []RecordReport `json:"records"` // what the overlay holds, each verified
	Millis     float64        `json:"ms"`      // how long the overlay took

	Forwarded string       `json:"forwarded,omitempty"` // where calls that would ring here go; empty: they ring
	Steps     []StepReport `json:"steps,omitempty"`     // with ?explain=1: the URIs that the records lead to
}

// RecordReport is one SIP-REGISTRATION record.
type RecordReport struct {
	Owner            string    `json:"owner"` // Node-ID of the gateway that signed it, the dictionary key
	Route            []string  `json:"route,omitempty"`
	URI              string    `json:"uri,omitempty"`
	Signer           string    `json:"signer"` // user name of the certificate
	Serial           string    `json:"serial"` // of the certificate; empty when this node holds the record itself
	Stored           time.Time `json:"stored"` // storage_time
	ExpiresInSeconds int64     `json:"expires_in_seconds"`
	Addresses        []string  `json:"addresses"` // SIP URIs of the gateway, where it published them
}

// ConfigReport is GET /api/v1/config.
type ConfigReport struct {
	Settings   []SettingReport `json:"settings"`
	LastReload *ReloadReport   `json:"last_reload,omitempty"`
}

// ReloadReport is what became of reading the configuration again: POST /api/v1/reload.
type ReloadReport struct {
	Time    time.Time      `json:"time"`
	Error   string         `json:"error,omitempty"` // not empty: nothing has changed
	Changed []ChangeReport `json:"changed"`         // in force from now on
	Restart []ChangeReport `json:"restart"`         // in force after a restart
	Users   UsersReport    `json:"users"`
}

// ChangeReport is a key with a new value.
type ChangeReport struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// UsersReport is how many users of the file are new, are gone, or have another password.
type UsersReport struct {
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Changed int `json:"changed"`
}

// String is for people: "1 added, 0 removed, 2 changed".
func (u UsersReport) String() string {
	return fmt.Sprintf("%d added, %d removed, %d changed", u.Added, u.Removed, u.Changed)
}

// SettingReport is one key of the configuration.
type SettingReport struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // as YAML has it; secrets are masked
	Origin string `json:"origin"` // default, FILE:LINE:COLUMN, env NAME or flag --NAME
}

// ErrorReport is the body of an API answer that is not 2xx.
type ErrorReport struct {
	Error string `json:"error"`
}
