package sim

import (
	"slices"
	"time"
)

// Shrink makes a scenario that fails smaller: fewer faults first, by delta debugging, then fewer peers, users, lookups and less time, and a
// network that does less. fails says whether a scenario still does; it is called up to tries times.
func Shrink(s Scenario, fails func(Scenario) bool, tries int) Scenario {
	x := &shrinker{best: s, fails: fails, left: tries}
	for before := ""; before != x.best.String() && x.left > 0; {
		before = x.best.String()
		x.faults()
		x.numbers()
		x.plain()
	}
	return x.best
}

type shrinker struct {
	best  Scenario
	fails func(Scenario) bool
	left  int
}

// try keeps a smaller scenario if it fails.
func (x *shrinker) try(edit func(*Scenario)) bool {
	s := x.best
	s.Faults = slices.Clone(s.Faults)
	edit(&s)
	if x.left == 0 || s.String() == x.best.String() || s.Check() != nil {
		return false
	}
	x.left--
	if !x.fails(s) {
		return false
	}
	x.best = s
	return true
}

// faults leaves out as many as possible: halves, then quarters, and so on down to one by one.
func (x *shrinker) faults() {
	for size := (len(x.best.Faults) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(x.best.Faults); {
			to := min(from+size, len(x.best.Faults))
			if !x.try(func(s *Scenario) { s.Faults = slices.Delete(s.Faults, from, to) }) {
				from = to
			}
		}
	}
	for i := range x.best.Faults {
		x.lessOf(i)
	}
}

// lessOf makes one fault smaller and earlier.
func (x *shrinker) lessOf(i int) {
	f := func(s *Scenario) *Fault { return &s.Faults[i] }
	x.try(func(s *Scenario) { f(s).Every, f(s).Until = 0, 0 })
	x.try(func(s *Scenario) { f(s).Back = 0 })
	x.try(func(s *Scenario) { f(s).Over = 0 })
	x.try(func(s *Scenario) { f(s).At = time.Second })
	for f(&x.best).Amount > 1 && x.try(func(s *Scenario) { f(s).Amount = float64(int(f(s).Amount / 2)) }) {
	}
	for f(&x.best).For > time.Second && x.try(func(s *Scenario) { f(s).For = (f(s).For / 2).Truncate(time.Millisecond) }) {
	}
}

// numbers halves what can be halved, then takes one away at a time.
func (x *shrinker) numbers() {
	for _, n := range []func(*Scenario) *int{
		func(s *Scenario) *int { return &s.Peers },
		func(s *Scenario) *int { return &s.Users },
	} {
		for *n(&x.best) > 1 && x.try(func(s *Scenario) { *n(s) /= 2 }) {
		}
		for *n(&x.best) > 1 && x.try(func(s *Scenario) { *n(s)-- }) {
		}
	}
	for x.best.Run > time.Second && x.try(func(s *Scenario) { s.Run = (s.Run / 2).Truncate(time.Second) }) {
	}
}

// plain leaves out whatever makes a world less plain.
func (x *shrinker) plain() {
	for _, edit := range []func(*Scenario){
		func(s *Scenario) { s.Lookups = 0 },
		func(s *Scenario) { s.Roam = 0 },
		func(s *Scenario) { s.Refresh = 0 },
		func(s *Scenario) { s.Skew = 0 },
		func(s *Scenario) { s.Network.Loss, s.Network.Resend = 0, 0 },
		func(s *Scenario) { s.Network.Duplicate, s.Network.Reorder = 0, 0 },
		func(s *Scenario) { s.Join = 0 },
		func(s *Scenario) { s.Delay, s.MinDelay, s.MaxDelay = "", 10*time.Millisecond, 10*time.Millisecond },
	} {
		x.try(edit)
	}
}
