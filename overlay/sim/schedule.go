package sim

import (
	"math"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// schedule plans the faults.
func (r *run) schedule() {
	for i := range r.s.Faults {
		f := &r.s.Faults[i]
		at := f.At
		for again := true; again; again = f.Every > 0 && at <= f.Until {
			r.After(at, func() { r.fault(f) })
			at += max(f.Every, 1)
		}
	}
}

// fault has f happen.
func (r *run) fault(f *Fault) {
	switch f.What {
	case FaultKill, FaultCrash:
		dead := r.victims(f)
		for _, h := range dead {
			r.Kill(h.Index, Death(f.What == FaultKill))
			r.comeBack(h, f.Back)
		}
		r.bereave(dead)
	case FaultLeave:
		for _, h := range r.victims(f) {
			r.After(r.delay(0, f.Over), func() { r.depart(h, true, f.Back) })
		}
	case FaultJoin:
		for range int(f.Amount) {
			h := r.AddHost()
			r.After(r.delay(0, f.Over), func() { r.rise(h) })
		}
	case FaultRestart:
		r.restart(f)
	case FaultPause:
		for _, h := range r.victims(f) {
			h.Pause()
			r.forLife(h, f.For, h.Resume)
		}
	case FaultSlow:
		for _, h := range r.victims(f) {
			h.Slow(f.By)
			r.forLife(h, f.For, func() { h.Slow(0) })
		}
	case FaultPartition:
		if x := r.Raise(r.victims(f), f.OneWay); x != nil {
			r.After(f.For, func() { r.Fell(x) })
		}
	case FaultChurn:
		r.churn(f, r.Elapsed()+f.For)
	case FaultSessions:
		for _, h := range r.Living() {
			r.session(h, f, r.Elapsed()+f.For)
		}
	}
}

// forLife runs f after d, if the host is still in the life that it is in.
func (r *run) forLife(h *Host, d time.Duration, f func()) {
	life := h.life
	r.After(d, func() {
		if h.life == life && h.Up {
			f()
		}
	})
}

// victims draws hosts that are up, and leaves one.
func (r *run) victims(f *Fault) []*Host {
	living := r.Living()
	n := int(f.Amount)
	if f.Share {
		n = int(math.Round(f.Amount * float64(len(living))))
	}
	n = min(n, len(living))
	if f.What == FaultKill || f.What == FaultCrash || f.What == FaultLeave {
		n = min(n, len(living)-1)
	}
	for i := range n {
		k := i + r.rand.IntN(len(living)-i)
		living[i], living[k] = living[k], living[i]
	}
	return living[:n]
}

// restart has hosts crash, all at once, and start again within f.Over; the first of them as the first of the overlay when
// nobody is left.
func (r *run) restart(f *Fault) {
	hosts := r.victims(f)
	for _, h := range hosts {
		r.Kill(h.Index, Crash)
	}
	for _, h := range hosts {
		r.After(f.Back+r.delay(0, f.Over), func() { r.rise(h) })
	}
}

// rise starts a host that is not up. Its bootstrap nodes are any others, be they up or not: that is what a configuration
// document lists.
func (r *run) rise(h *Host) {
	if h.Up {
		return
	}
	living := r.Living()
	known := append(h.bootstrap(r.hosts), h.bootstrap(living)...)
	h.start(len(living) == 0, known)
	h.restore()
	h.input("start", func() { h.Node.Tick(h.now()) })
	r.returned(h)
}

// comeBack starts a host again after a while, empty.
func (r *run) comeBack(h *Host, after time.Duration) {
	if after > 0 {
		r.After(after, func() {
			if !h.Up && !r.s.Durable {
				h.disk = nil
			}
			r.rise(h)
		})
	}
}

// depart ends a host: in order, or without a word.
func (r *run) depart(h *Host, orderly bool, back time.Duration) {
	if !h.Up {
		return
	}
	if orderly && h.Node.State() == node.Joined && !h.paused {
		h.Do(node.OpLeave{}, func(node.Done) {
			h.Up, h.linked = false, false
			r.comeBack(h, back)
		})
		return
	}
	r.Kill(h.Index, Silent)
	r.bereave([]*Host{h})
	r.comeBack(h, back)
}

// churn is two Poisson processes: hosts come, and hosts go.
func (r *run) churn(f *Fault, until time.Duration) {
	r.poisson(f.Amount, until, func() { r.rise(r.AddHost()) })
	r.poisson(f.Amount, until, func() {
		// Never the last one: who is on its way in or out is not there.
		if there := r.serving(); len(there) > 1 {
			r.depart(there[r.rand.IntN(len(there))], r.rand.Float64() < f.Orderly, f.Back)
		}
	})
}

// serving lists the hosts that can be asked for something.
func (w *World) serving() []*Host {
	return slices.DeleteFunc(w.Living(), func(h *Host) bool { return !h.serves() })
}

// poisson has f happen again and again, at random, so often per second on the average.
func (r *run) poisson(perSecond float64, until time.Duration, f func()) {
	if perSecond <= 0 {
		return
	}
	r.After(time.Duration(r.rand.ExpFloat64()/perSecond*float64(time.Second)), func() {
		if r.Elapsed() <= until {
			f()
			r.poisson(perSecond, until, f)
		}
	})
}

// paretoShape is the shape of session lengths: with 1.5 many are short and a few are very long, as has been measured of
// peer-to-peer systems.
const paretoShape = 1.5

// session has a host stay for a while and then go, without a word, and come back.
func (r *run) session(h *Host, f *Fault, until time.Duration) {
	least := float64(f.By) * (paretoShape - 1) / paretoShape
	stay := time.Duration(min(least/math.Pow(1-r.rand.Float64(), 1/paretoShape), float64(maxRun)))
	r.forLife(h, stay, func() {
		if r.Elapsed() > until || len(r.Living()) < 2 {
			return
		}
		r.depart(h, r.rand.Float64() < f.Orderly, 0)
		r.After(time.Duration(r.rand.ExpFloat64()*float64(max(f.Back, time.Second))), func() {
			r.rise(h)
			r.session(h, f, until)
		})
	})
}
