package trunk

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Config is what a Plan is made of. It belongs to the Plan from then on.
type Config struct {
	Domain string  // SIP domain of the overlay
	Trunks []Trunk // names are unique
	Routes []Route // in the order of the configuration: of two for the same numbers the first counts
	// Identity is the user part, a number most often, that calls to the outside come from; "": the caller's own.
	Identity string
	Caps     Caps
}

// Caps limit what one user may spend over routes that are not published. 0: no limit.
type Caps struct {
	Calls int // at a time
	Daily int // begun within a day, UTC
}

// Trunk is one PBX or provider.
type Trunk struct {
	Name       string
	Targets    []Target // where calls to it go, in order; none when it registers here
	AcceptFrom []netip.Prefix
	// Certificate are names one of which its TLS certificate must hold; Headers are what its requests must say. Each narrows AcceptFrom down.
	Certificate []string
	Headers     []Header
	// TrustIdentity: P-Asserted-Identity is taken from it and given to it (RFC 3325: it is in our Trust Domain).
	TrustIdentity bool
	Health        HealthConfig
	Register      *RegisterConfig // nil: no account there
	RegisteredAs  string          // user part of whom it registers here as, "" when it does not: its bindings are the targets
	MaxCalls      int             // at a time, either way; 0: any number
	Weighted      bool            // load share by Target.Weight instead of in order
	Domain        string          // host that it wants in Request-URI, From and To; "": as they are
	Timeout       time.Duration   // without any response, after which the next target has its turn
	Country       string          // country code without +, for Format
	Inbound       Numbers         // of calls from it
	Outbound      Numbers         // of calls to it
	Prefixes      []Pattern       // the only numbers, as they are dialled, that may be called over it; empty: all
}

// Target is one place where a trunk takes calls.
type Target struct {
	URI    string // sip or sips
	Weight int    // 1 or more
}

// Header is a field that identifies a trunk.
type Header struct{ Name, Value string }

// HealthConfig says how a trunk is watched by OPTIONS.
type HealthConfig struct {
	Options  time.Duration // between two probes of a target; 0: none
	Down, Up int           // misses in a row that mean down, answers in a row that mean up
}

// RegisterConfig is an account at a provider.
type RegisterConfig struct {
	Server   string // URI of the registrar; "": nothing is registered, challenges are answered all the same
	User     string // user part of the AOR there
	AuthUser string // user name in credentials
	Secret   string
	Realm    string // the only one that credentials are for
	Expires  time.Duration
	// Owner is the name of the account among the gateways that have it, of which one uses it at a time; "": no other has it.
	Owner string
	// CalledParty: the number that was called stands in P-Called-Party-ID, when that is there, instead of To.
	CalledParty bool
}

// Route leads numbers to trunks.
type Route struct {
	Match     Pattern
	To        []string // names of trunks: the next one when one fails
	Publish   bool     // other gateways may use it
	Change    Change
	Require   Require
	Emergency bool
	Allow     []Pattern // callers who may use it; empty: all that Require lets through
}

// Require is who may use a route.
type Require uint8

// The kinds of Require. A peer is another gateway of the overlay, which may use published routes only.
const (
	RequireKnown Require = iota // users that proved who they are, trusted networks, trunks, peers
	RequireAuth                 // the same, but of trunks those that are trusted with identities, and of peers those with a verified caller
	RequireNone                 // anybody
)

// ParseTarget reads "sip:10.0.0.9:5060", or "<sip:10.0.0.9:5060>;weight=2".
func ParseTarget(s string) (Target, error) {
	t := Target{URI: s, Weight: 1}
	if strings.HasPrefix(s, "<") {
		a, err := message.ParseAddress(s)
		if err != nil {
			return t, fmt.Errorf("%q: %w", s, err)
		}
		t.URI = a.URI
		if w, ok := message.Param(a.Params, "weight"); ok {
			if t.Weight, err = strconv.Atoi(w); err != nil || t.Weight < 1 || t.Weight > maxWeight {
				return t, fmt.Errorf("weight %q: want 1 to %d", w, maxWeight)
			}
		}
	}
	u, err := message.ParseURI(t.URI)
	if err != nil || !u.IsSIP() || u.Host == "" {
		return t, fmt.Errorf("%q: want a URI such as sip:10.0.0.9:5060, or <sip:10.0.0.9:5060>;weight=2", s)
	}
	return t, nil
}
