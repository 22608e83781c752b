package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Scenario is a world as data: what it is made of, what it has to do, and what happens to it. Zero means what the comment of a
// field says. String gives its text, and ParseScenario reads it.
type Scenario struct {
	Name  string // of those in Scenarios; nothing depends on it
	Seed  uint64
	Peers int // at the start; 0: 100
	// Join is the time within which they start and join one after the other, by the protocol; 0: they are born into a ring that
	// has settled.
	Join time.Duration
	// MinDelay and MaxDelay are how long a message is on its way, drawn evenly; or Delay names a distribution: "lan" or "wan".
	// Nothing at all means 10 ms to 50 ms.
	MinDelay, MaxDelay time.Duration
	Delay              string
	Network            Network       // Loss, Resend, Duplicate and Reorder count; Delay is given above
	Skew               time.Duration // by how much clocks are wrong, at most
	HoldDown           time.Duration // of the node; 0: its default
	Update             time.Duration // chord-update-interval of the overlay; 0: its default
	Durable            bool          // what a peer stores outlives it
	SelfTuning         bool          // the overlay is one of RFC 7363
	Links              int           // of a peer; 0: the node's default, below 0: no more than the RFC asks for
	Users              int           // registrations
	Refresh            time.Duration // between two Stores of one registration; 0: one is enough
	Roam               time.Duration // after which a user moves to another gateway, on the average; 0: never
	Lookups            float64       // per second, in all
	Warm               time.Duration // after the registrations, before the measurement begins: 0: 10 s
	Run                time.Duration // of the measurement; 0: 1 minute
	Heal               time.Duration // to wait for the ring to be whole, at most; 0: 5 minutes
	Audit              int           // lookups of each registration at the end, from as many peers; 0: 1, below 0: from all
	Faults             []Fault
}

// What a Fault may be.
const (
	FaultKill      = "kill"      // peers stop, and their links stay up until somebody finds out
	FaultCrash     = "crash"     // peers stop, and their links are reset
	FaultLeave     = "leave"     // peers leave in order
	FaultJoin      = "join"      // new peers start
	FaultRestart   = "restart"   // peers crash, all at once, and start again
	FaultPause     = "pause"     // peers stand still
	FaultSlow      = "slow"      // peers take the time By for each message
	FaultPartition = "partition" // some are cut off from all others
	FaultChurn     = "churn"     // Amount peers join, and as many go, per second: two Poisson processes
	FaultSessions  = "sessions"  // each peer stays for a while that is Pareto distributed, with the mean By, and comes back
)

// faultWhats are all that a fault may be.
var faultWhats = []string{FaultKill, FaultCrash, FaultLeave, FaultJoin, FaultRestart, FaultPause, FaultSlow, FaultPartition, FaultChurn,
	FaultSessions}

// Fault is something that happens to a world. Times are since the beginning of the measurement.
type Fault struct {
	At    time.Duration
	Every time.Duration // and again, until Until; 0: once
	Until time.Duration
	What  string
	// Amount is how many peers, drawn from those that are up; or, with Share, which part of them. For FaultChurn it is peers per
	// second.
	Amount  float64
	Share   bool
	For     time.Duration // how long it goes on: of a pause, a slowness, a partition, a churn, sessions
	Over    time.Duration // within which they leave, join or start again, one after the other
	Back    time.Duration // after which each starts again, empty; 0: never. For FaultSessions the mean of it
	By      time.Duration // of FaultSlow and FaultSessions
	Orderly float64       // of FaultChurn: the part of those that go that leaves in order; the others are killed
	OneWay  bool          // of FaultPartition: packets get in, and not out
}

// ends is when it is over, as far as that can be said.
func (f *Fault) ends() time.Duration { return max(f.At, f.Until) + max(f.For, f.Over+f.Back) }

// fill gives fields that are zero their meaning.
func (s Scenario) fill() Scenario {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if s.Peers == 0 {
		s.Peers = 100
	}
	if s.MaxDelay == 0 && s.Delay == "" {
		s.MinDelay, s.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	}
	set(&s.Warm, 10*time.Second)
	set(&s.Run, time.Minute)
	set(&s.Heal, 5*time.Minute)
	if s.Audit == 0 {
		s.Audit = 1
	}
	return s
}

// config is the world that the scenario plays in.
func (s *Scenario) config() Config {
	c := Config{Seed: s.Seed, Peers: s.Peers, MinDelay: s.MinDelay, MaxDelay: s.MaxDelay, Crypto: -1, HoldDown: s.HoldDown,
		Network: s.Network, Skew: s.Skew, Durable: s.Durable, Links: s.Links, RealSize: true}
	switch s.Delay {
	case "lan":
		c.Network.Delay = LANDelay()
	case "wan":
		c.Network.Delay = WANDelay()
	}
	c.Overlay = s.overlay()
	if s.SelfTuning {
		c.Links = -1 // those of RFC 6940 §10.7, and then what the peers find right
	}
	return c
}

// overlay is the configuration of the overlay.
func (s Scenario) overlay() *config.Overlay {
	o := Overlay()
	if s.Update > 0 {
		o.ChordUpdateInterval = s.Update
	}
	if s.SelfTuning {
		config.WithSelfTuning(o)
	}
	return o
}

// String is the text of the scenario, one statement a line.
func (s Scenario) String() string {
	var b strings.Builder
	line := func(say bool, format string, args ...any) {
		if say {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	line(true, "peers %d", s.Peers)
	line(true, "seed %d", s.Seed)
	for _, f := range s.fields() {
		switch v := f.value.(type) {
		case *time.Duration:
			line(*v != 0, "%s %s", f.name, *v)
		case *float64:
			line(*v != 0, "%s %g", f.name, *v)
		case *int:
			line(*v != 0, "%s %d", f.name, *v)
		case *bool:
			line(*v, "%s", f.name)
		}
	}
	line(s.Delay != "", "delay %s", s.Delay)
	line(s.Delay == "" && s.MaxDelay > 0, "delay %s %s", s.MinDelay, s.MaxDelay)
	for _, f := range s.Faults {
		line(true, "%s", f)
	}
	return b.String()
}

// field is a statement that sets one value.
type field struct {
	name  string
	value any // *time.Duration, *float64, *int or *bool
}

func (s *Scenario) fields() []field {
	return []field{{"join", &s.Join}, {"loss", &s.Network.Loss}, {"resend", &s.Network.Resend}, {"duplicate", &s.Network.Duplicate},
		{"reorder", &s.Network.Reorder}, {"skew", &s.Skew}, {"hold-down", &s.HoldDown}, {"update", &s.Update}, {"durable", &s.Durable}, {"self-tuning", &s.SelfTuning},
		{"links", &s.Links}, {"users", &s.Users}, {"refresh", &s.Refresh}, {"roam", &s.Roam}, {"lookups", &s.Lookups}, {"warm", &s.Warm}, {"run", &s.Run},
		{"heal", &s.Heal}, {"audit", &s.Audit}}
}

// String is the fault as a statement of a Scenario.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %s ", f.At)
	if f.Every > 0 {
		fmt.Fprintf(&b, "every %s until %s ", f.Every, f.Until)
	}
	b.WriteString(f.What)
	switch {
	case f.What == FaultSessions:
	case f.Share:
		fmt.Fprintf(&b, " %g%%", 100*f.Amount)
	default:
		fmt.Fprintf(&b, " %g", f.Amount)
	}
	for _, p := range f.fields() {
		switch v := p.value.(type) {
		case *time.Duration:
			if *v != 0 {
				fmt.Fprintf(&b, " %s %s", p.name, *v)
			}
		case *float64:
			if *v != 0 {
				fmt.Fprintf(&b, " %s %g", p.name, *v)
			}
		case *bool:
			if *v {
				b.WriteString(" " + p.name)
			}
		}
	}
	return b.String()
}

func (f *Fault) fields() []field {
	return []field{{"for", &f.For}, {"over", &f.Over}, {"back", &f.Back}, {"by", &f.By}, {"orderly", &f.Orderly}, {"oneway", &f.OneWay}}
}
