package sim

import (
	"math/rand/v2"
	"time"
)

// Times of mixed worlds.
const (
	mixedSlot = 40 * time.Second // for one fault and what follows from it: a silent death is found within 13 s, and copies follow
	mixedHold = 2 * time.Second  // hold-down, to get on
	mixedLast = 30 * time.Second // for how long a fault lasts, at most
)

// Mixed is a scenario that a seed decides everything about: a small ring, a network of some kind, work, and up to three faults, one
// after the other, none of which may lose a registration. It is to be played with Options.Strict.
func Mixed(seed uint64, maxPeers int) Scenario {
	r := rand.New(rand.NewPCG(seed, 0x4d49_5845_44))
	u := r.Float64()
	s := Scenario{Seed: seed, Peers: 2 + int(u*u*u*float64(maxPeers-1)), Users: 3 + r.IntN(12), Lookups: 3, HoldDown: mixedHold,
		Warm: 3 * time.Second, Audit: 2}
	s.Peers = min(s.Peers, maxPeers)
	if r.IntN(2) == 0 {
		s.Join = upTo(r, 5*time.Second)
	}
	switch r.IntN(4) {
	case 0:
		s.Delay = "lan"
	case 1:
		s.Delay = "wan"
	default:
		s.MinDelay = time.Millisecond
		s.MaxDelay = time.Millisecond + upTo(r, 80*time.Millisecond)
	}
	if r.IntN(3) == 0 {
		s.Network.Loss, s.Network.Resend = 0.03*r.Float64(), 200*time.Millisecond
	}
	if r.IntN(3) == 0 {
		s.Skew = upTo(r, 5*time.Second)
	}
	if r.IntN(3) == 0 {
		s.Refresh = 10*time.Second + upTo(r, 20*time.Second)
	}
	if r.IntN(4) == 0 {
		s.Roam = time.Minute
	}
	at := time.Second
	for range 1 + r.IntN(3) {
		f := mixedFault(r, at, s.Peers)
		s.Faults = append(s.Faults, f)
		at += mixedSlot
		if f.What == FaultPartition {
			at += f.For // what was stored in the smaller part has all its copies there until there is one ring again
		}
	}
	s.Run = at
	return s
}

func upTo(r *rand.Rand, d time.Duration) time.Duration {
	return time.Millisecond + time.Duration(r.Int64N(int64(d))).Truncate(time.Millisecond)
}

// mixedFault draws a fault that two replicas survive.
func mixedFault(r *rand.Rand, at time.Duration, peers int) Fault {
	f := Fault{At: at, What: faultWhats[r.IntN(len(faultWhats))], Amount: float64(1 + r.IntN(2))}
	switch f.What {
	case FaultSessions, FaultRestart: // take more than two peers at a time
		f.What = FaultKill
	case FaultLeave, FaultJoin:
		f.Over = upTo(r, 5*time.Second)
		f.Amount = float64(1 + r.IntN(4))
	case FaultSlow:
		f.By, f.For = upTo(r, 50*time.Millisecond), upTo(r, mixedLast)
	case FaultPause:
		f.For = upTo(r, mixedLast)
	case FaultPartition:
		f.Share, f.Amount, f.For = true, 0.1+0.4*r.Float64(), upTo(r, mixedLast)
		f.OneWay = r.IntN(4) == 0
	case FaultChurn:
		f.Amount, f.For, f.Orderly = 0.1, mixedLast, 1
	}
	if (f.What == FaultKill || f.What == FaultCrash || f.What == FaultLeave) && r.IntN(2) == 0 {
		f.Back = upTo(r, mixedLast)
	}
	if peers < 4 {
		f.Amount = min(f.Amount, 1)
	}
	return f
}
