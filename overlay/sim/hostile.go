package sim

import (
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// Times of a world with liars.
const (
	lying  = 20 * time.Second       // for how long they lie
	pause  = 300 * time.Millisecond // between two lies of one, at most
	forget = 75 * time.Second       // until nobody waits for, or leaves alone, whom they made up
)

// hostile is a random world in which some peers lie.
type hostile struct {
	random
	liars []*Liar
}

// RunHostile makes a world of 3 to maxHonest honest hosts and 1 to 3 liars that have joined like all others, drawn from
// c.Seed. While they lie, no honest host may take a value for a registration that its owner has not signed, and all tables
// keep to their limits. When they are gone, and every registration was stored again, everything must hold that holds
// in a world without them.
func RunHostile(c Config, maxHonest int) (Report, error) {
	w := &hostile{random: random{World: New(c)}}
	w.c.Ping, w.c.HoldDown = ping, 2*time.Second
	honest := 3 + w.rand.IntN(maxHonest-2)
	w.c.MaxDelay = w.delay(w.c.MinDelay, 40*time.Millisecond)
	for range honest - 1 {
		w.AddHost()
	}
	var bad []*Host
	for range 1 + w.rand.IntN(3) {
		bad = append(bad, w.AddHost())
	}
	report := Report{Seed: c.Seed, Peers: honest, Rounds: 1}
	err := w.play(bad)
	report.Records, report.Elapsed, report.Messages = len(w.records), w.Elapsed(), w.Messages
	report.Hash, report.Counts = w.Hash(), w.Counts
	if err != nil {
		err = fmt.Errorf("seed %d, %d honest peers, %d liars: %w", c.Seed, honest, len(bad), err)
	}
	return report, err
}

func (w *hostile) play(bad []*Host) error {
	w.Start(startOver)
	w.Run(startOver)
	if err := w.Settle(joinLimit); err != nil {
		return err
	}
	honest := w.hosts[:len(w.hosts)-len(bad)]
	for i := range 3 + w.rand.IntN(10) {
		w.records = append(w.records, w.NewRecord(fmt.Sprintf("user%d", i), honest[w.rand.IntN(len(honest))]))
	}
	w.storeAll()
	w.Run(atRest)
	if err := w.Check(w.records); err != nil {
		return err
	}
	for _, h := range bad {
		x := w.NewLiar(h, w.records, w.rand.IntN)
		w.liars = append(w.liars, x)
		w.mischief(x)
	}
	if err := w.withstand(honest); err != nil {
		return err
	}
	for _, h := range bad {
		w.Kill(h.Index, Crash)
	}
	return w.Recover(w.records)
}

// mischief has a liar act again and again.
func (w *hostile) mischief(x *Liar) {
	x.later(w.delay(0, pause), func() {
		x.Act()
		w.mischief(x)
	})
}

// withstand goes on with honest work among liars, and looks at what it comes to.
func (w *hostile) withstand(honest []*Host) error {
	for range int(lying / time.Second) {
		for range 3 {
			r, from := w.records[w.rand.IntN(len(w.records))], honest[w.rand.IntN(len(honest))]
			w.After(w.delay(0, time.Second), func() { w.Store(r) })
			w.After(w.delay(0, time.Second), func() { w.FetchGenuine(r, from) })
		}
		w.Run(time.Second)
		if err := w.CheckLoad(honest); err != nil {
			return err
		}
	}
	return w.violated
}

// Recover is for when all liars are gone: it stores every registration again, for a liar may have swallowed some, and
// asks for all that must hold.
func (w *World) Recover(records []*Record) error {
	w.Run(forget)
	if err := w.Settle(joinLimit); err != nil {
		return err
	}
	for _, r := range records {
		w.Store(r)
	}
	w.Run(requestLifetime + time.Second)
	for _, r := range records {
		if r.acked != r.version {
			return fmt.Errorf("at %v: %s could not be stored when the liars were gone", w.Elapsed(), r.User)
		}
	}
	return w.Check(records)
}

// FetchGenuine has a host fetch a record. What it takes for a value of the user must be one that the user has stored at
// some time; a liar can hold the newest back.
func (w *World) FetchGenuine(r *Record, from *Host) {
	from.Do(r.OpFetch(), func(done node.Done) {
		w.outcome("fetch", done)
		for _, v := range done.Values {
			if !r.genuine(v) {
				w.violate("host %d: fetch of %s gave a value of %s that was never stored: %q", from.Index, r.User, v.Signer.User,
					v.Value.Data)
			}
		}
	})
}

// genuine reports whether a value is what the owner of the record has signed.
func (r *Record) genuine(v node.Value) bool {
	for _, d := range r.signed {
		if d.Value.Exists == v.Value.Exists && string(d.Value.Data) == string(v.Value.Data) && d.Value.Key == v.Value.Key {
			return v.Signer.User == r.User
		}
	}
	return false
}

// CheckLoad asks whether the tables of some hosts are within their limits.
func (w *World) CheckLoad(hosts []*Host) error {
	for _, h := range hosts {
		if !h.Up {
			continue
		}
		s := h.Status()
		if name := s.Load.Over(); name != "" {
			return fmt.Errorf("at %v: host %d: too many %s", w.Elapsed(), h.Index, name)
		}
		if s.Oldest > requestLifetime {
			return fmt.Errorf("at %v: host %d: a transaction is %v old", w.Elapsed(), h.Index, s.Oldest)
		}
	}
	return w.violated
}
