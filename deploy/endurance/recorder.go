package main

import (
	"sync"
	"time"
)

const (
	maxViolations = 100 // that are kept in words; all are counted
	bucket        = 5 * time.Second
)

// recorder is the history with a lock and the figures of the run. It is safe for concurrent use.
type recorder struct {
	mu         sync.Mutex
	h          *history
	begin      time.Time
	figures    figures
	violations []string
	timeline   []slice
	perFault   map[*fault]*outcome
}

// figures are the sums of a run.
type figures struct {
	Registers       int `json:"registers"`
	RegistersFailed int `json:"registers_failed"` // in a fault, or of a gateway that went down
	Lookups         int `json:"lookups"`
	LookupsBad      int `json:"lookups_bad"` // failed or missing, in a fault or its grace time
	Stale           int `json:"stale"`       // showed a removal that it could not know of: a partition
	Swept           int `json:"swept"`       // lookups of the sweeps
	Violations      int `json:"violations"`
}

// slice is what happened in one bucket of time.
type slice struct{ Good, Bad int }

// outcome is how a fault was felt, in seconds after its begin and after its end.
type outcome struct {
	FirstSuccess float64 `json:"first_success_s"`      // until the first lookup that was begun after the fault and was good
	Bad          int     `json:"bad"`                  // lookups that failed or missed something
	LastBad      float64 `json:"last_bad_s"`           // the last of them, after the begin
	AfterEnd     float64 `json:"last_bad_after_end_s"` // the same after the end of the fault, 0 if it was before
}

func newRecorder(grace time.Duration, now time.Time) *recorder {
	return &recorder{h: newHistory(grace), begin: now, perFault: map[*fault]*outcome{}}
}

// register enters a REGISTER and returns what to call with its outcome.
func (r *recorder) register(k key, remove bool) func(error) {
	begin := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.h.begin(k, remove, begin)
	return func(err error) {
		now := time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		o.finish(err == nil, now)
		r.figures.Registers++
		if err == nil {
			return
		}
		r.figures.RegistersFailed++
		if r.h.disturbed(begin, now) == nil {
			r.violation("REGISTER of " + k.user + ": " + err.Error())
		}
	}
}

func (r *recorder) violation(text string) {
	r.figures.Violations++
	if len(r.violations) < maxViolations {
		r.violations = append(r.violations, time.Since(r.begin).Round(time.Millisecond).String()+" "+text)
	}
}

func (r *recorder) lookup(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.h.judge(a)
	if text := v.violation(a); text != "" {
		r.violation(text)
	}
	r.figures.Stale += len(v.stale)
	good := v.good(a)
	if a.sweep {
		r.figures.Swept++
	} else {
		r.figures.Lookups++
		r.count(a.end, good)
	}
	if !good {
		r.figures.LookupsBad++
	}
	if v.fault != nil {
		r.feel(v.fault, a, good)
	}
}

func (r *recorder) count(at time.Time, good bool) {
	i := int(at.Sub(r.begin) / bucket)
	for len(r.timeline) <= i {
		r.timeline = append(r.timeline, slice{})
	}
	if good {
		r.timeline[i].Good++
	} else {
		r.timeline[i].Bad++
	}
}

// feel enters an answer in the outcome of the fault that was on.
func (r *recorder) feel(f *fault, a answer, good bool) {
	o := r.perFault[f]
	if o == nil {
		return
	}
	since := a.end.Sub(f.Begin).Seconds()
	switch {
	case good && o.FirstSuccess == 0 && !a.begin.Before(f.Begin):
		o.FirstSuccess = since
	case !good:
		o.Bad++
		o.LastBad = max(o.LastBad, since)
		if !f.End.IsZero() {
			o.AfterEnd = max(o.AfterEnd, a.end.Sub(f.End).Seconds())
		}
	}
}

func (r *recorder) beginFault(f *fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.Begin = time.Now()
	r.h.faults = append(r.h.faults, f)
	r.perFault[f] = &outcome{}
}

func (r *recorder) endFault(f *fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.End = time.Now()
}
