package proxy

import "sync/atomic"

// Labels of the counters: closed sets.
const (
	resultSuccess = iota
	resultRedirect
	resultAuth // 401, 407
	resultClient
	resultCancelled // 487
	resultServer
	resultGlobal
	resultUnreachable // no response at all
	results
)

var resultNames = [results]string{
	"success", "redirect", "auth", "client_error", "cancelled", "server_error", "global_failure", "unreachable",
}

const (
	lookupCached = iota
	lookupAnswered
	lookupFailures
	lookupRejected
	lookupKinds
)

var lookupNames = [lookupKinds]string{"cached", "answered", "failed", "rejected"}

const (
	ackForwarded = iota
	ackDropped
	ackKinds
)

var ackNames = [ackKinds]string{"forwarded", "dropped"}

type counters struct {
	calls    [results]atomic.Uint64
	branches [results]atomic.Uint64
	lookups  [lookupKinds]atomic.Uint64
	acks     [ackKinds]atomic.Uint64
	refused  [codes]atomic.Uint64
	dropped  atomic.Uint64
	callers  [verdicts]atomic.Uint64
	proofs   atomic.Uint64
}

// Count is one counter with the value of its label.
type Count struct {
	Label string
	N     uint64
}

// Stats is what a Proxy has done since it was made. The sets of labels are closed: each comes with every snapshot.
type Stats struct {
	Active   int     // requests under way
	Calls    []Count // final responses sent upstream, by result: every method
	Branches []Count // ends of branches, by result
	Lookups  []Count // of AORs in the overlay, by outcome
	ACKs     []Count // for 2xx, by outcome
	Refused  []Count // requests not forwarded, by the word of their Warning
	Callers  []Count // requests that began something, by what is known of who sent them
	Proofs   uint64  // callers that the overlay was asked about, because nothing was known
	Dropped  uint64  // provisional responses and repeated 2xx thrown away in a flood
}

// Stats returns a snapshot of the counters.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	active := len(p.calls)
	p.mu.Unlock()
	c := &p.counters
	s := Stats{Active: active, Dropped: c.dropped.Load(), Proofs: c.proofs.Load(), Callers: counts(c.callers[:], verdictNames[:]),
		Calls: counts(c.calls[:], resultNames[:]), Branches: counts(c.branches[:], resultNames[:]),
		Lookups: counts(c.lookups[:], lookupNames[:]), ACKs: counts(c.acks[:], ackNames[:])}
	for i := fine + 1; i < codes; i++ {
		s.Refused = append(s.Refused, Count{Label: i.String(), N: c.refused[i].Load()})
	}
	return s
}

func counts(values []atomic.Uint64, names []string) []Count {
	out := make([]Count, len(values))
	for i := range values {
		out[i] = Count{Label: names[i], N: values[i].Load()}
	}
	return out
}

// resultOf is the label of a final status.
func resultOf(status int) int {
	switch {
	case status < 300:
		return resultSuccess
	case status < 400:
		return resultRedirect
	case status == 401 || status == 407:
		return resultAuth
	case status == 487:
		return resultCancelled
	case status < 500:
		return resultClient
	case status < 600:
		return resultServer
	}
	return resultGlobal
}
