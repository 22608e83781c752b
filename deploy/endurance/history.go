package main

import (
	"fmt"
	"slices"
	"time"
)

// key is a registration: an AOR's user part at a gateway, by its number.
type key struct {
	user string
	peer int
}

// op is one REGISTER of the history.
type op struct {
	remove     bool
	begin, end time.Time // end is zero while it is under way
	acked      bool      // 2xx; what ended without may have been done or not
}

// kept is how many REGISTERs of a registration are remembered: more than a lookup can be older than.
const kept = 8

// fault is one thing that was done to the ring.
type fault struct {
	Name       string
	Begin, End time.Time // End is zero while it is on
	partition  bool      // some could not hear of what was removed
}

// history is everything that was acknowledged, and what must and may be found. It has no clock; callers lock it.
type history struct {
	ops    map[key][]*op
	homes  map[string]map[int]bool // by user: the gateways where it has ever been
	faults []*fault
	grace  time.Duration
}

func newHistory(grace time.Duration) *history {
	return &history{ops: map[key][]*op{}, homes: map[string]map[int]bool{}, grace: grace}
}

// begin enters a REGISTER that is about to be sent.
func (h *history) begin(k key, remove bool, now time.Time) *op {
	o := &op{remove: remove, begin: now}
	list := append(h.ops[k], o)
	if len(list) > kept {
		list = slices.Delete(list, 0, len(list)-kept)
	}
	h.ops[k] = list
	if h.homes[k.user] == nil {
		h.homes[k.user] = map[int]bool{}
	}
	h.homes[k.user][k.peer] = true
	return o
}

func (o *op) finish(acked bool, now time.Time) { o.acked, o.end = acked, now }

// must tells whether a lookup in this time has to show the registration: it was acknowledged before, and no removal had been sent.
func (h *history) must(k key, begin, end time.Time) bool {
	found := false
	for _, o := range h.ops[k] {
		switch {
		case o.remove && !o.begin.After(end):
			found = false
		case !o.remove && o.acked && o.end.Before(begin):
			found = true
		}
	}
	return found
}

// may tells whether a lookup in this time is allowed to show it, and if not, since when.
func (h *history) may(k key, begin, end time.Time) (ok bool, removed time.Time) {
	for _, o := range h.ops[k] {
		switch {
		case !o.remove && !o.begin.After(end):
			ok = true
		case o.remove && o.acked && o.end.Before(begin):
			ok, removed = false, o.end
		}
	}
	return ok, removed
}

// disturbed is the last fault that was on, or over for less than the grace time, at some moment of this time.
func (h *history) disturbed(begin, end time.Time) *fault {
	for _, f := range slices.Backward(h.faults) {
		if !f.Begin.After(end) && (f.End.IsZero() || begin.Before(f.End.Add(h.grace))) {
			return f
		}
	}
	return nil
}

// partitioned tells whether there was a partition between these two times, or less than the grace time before the second.
func (h *history) partitioned(since, until time.Time) bool {
	return slices.ContainsFunc(h.faults, func(f *fault) bool {
		return f.partition && !f.Begin.After(until) && (f.End.IsZero() || !f.End.Add(h.grace).Before(since))
	})
}

// answer is what a gateway said of a user.
type answer struct {
	user       string
	at         int // the gateway that was asked
	begin, end time.Time
	peers      []int // the gateways that it named
	err        error
	sweep      bool
}

// verdict is what an answer is worth.
type verdict struct {
	missing []int // gateways that it had to show
	wrong   []int // gateways that it must not show
	stale   []int // the same, but a partition explains it
	fault   *fault
}

func (v verdict) good(a answer) bool { return a.err == nil && len(v.missing)+len(v.wrong) == 0 }

// judge compares an answer with the history.
func (h *history) judge(a answer) (v verdict) {
	v.fault = h.disturbed(a.begin, a.end)
	if a.err != nil {
		return v
	}
	for peer := range h.homes[a.user] {
		if h.must(key{a.user, peer}, a.begin, a.end) && !slices.Contains(a.peers, peer) {
			v.missing = append(v.missing, peer)
		}
	}
	for _, peer := range a.peers {
		ok, removed := h.may(key{a.user, peer}, a.begin, a.end)
		switch {
		case ok:
		case !removed.IsZero() && v.fault != nil && h.partitioned(removed, a.end):
			v.stale = append(v.stale, peer)
		default:
			v.wrong = append(v.wrong, peer)
		}
	}
	slices.Sort(v.missing)
	return v
}

// violation says what an answer breaks, "" if nothing.
func (v verdict) violation(a answer) string {
	what := ""
	switch {
	case len(v.wrong) > 0:
		what = fmt.Sprintf("wrong: names %v", v.wrong)
	case v.fault != nil:
		return ""
	case a.err != nil:
		what = fmt.Sprintf("failed: %v", a.err)
	case len(v.missing) > 0 && a.sweep:
		what = fmt.Sprintf("lost: does not name %v", v.missing)
	case len(v.missing) > 0:
		what = fmt.Sprintf("missing: does not name %v", v.missing)
	default:
		return ""
	}
	return fmt.Sprintf("%s at peer %d: %s (names %v, took %v)", a.user, a.at, what, a.peers, a.end.Sub(a.begin).Round(time.Millisecond))
}
