package lease

import "time"

// The times of a lease: our choice. Who takes a lease over waits longer than who had it believes to have it, whatever of this
// happens: an answer was lost, a write took long, the last renewal was lost with the peer that held it.
//
//	written      renewed                 the holder stops     record ends     another may take it
//	  0 s          6 s        12 s             14 s               18 s               23 s
const (
	// Lifetime is that of a record.
	Lifetime = 18 * time.Second
	// Renewal is when a holder writes its record anew.
	Renewal = Lifetime / 3
	// holderMargin is how long before the end of its record, counted from when it was sent, a holder stops: in this time
	// it gives back what it used.
	holderMargin = 4 * time.Second
	// takerMargin is how long after the end of somebody's record another waits. With holderMargin it is more than Renewal: a
	// renewal in time that was acknowledged and then lost makes nobody a second holder.
	takerMargin = 4 * time.Second
	// rounding is by how much a lifetime that was read may be too short: it is in whole seconds.
	rounding = time.Second
	// settle is how long a place must have been empty that nobody was seen to hold: a holder whose record was lost puts it
	// back when it renews it.
	settle = Renewal + takerMargin
	// confirm is when a lease that was just taken is read again before it counts: where two peers took the place for theirs,
	// one write is gone by then.
	confirm = time.Second
)

// Implementation limits.
const (
	poll  = 2 * time.Second  // between two looks at a lease that another has
	retry = time.Second      // after something failed
	deny  = 30 * time.Second // after something is not allowed: somebody has to change that
	// Patience is how long an operation may take: then the caller says that it failed.
	Patience = 5 * time.Second
	stale    = time.Second // how old a decision may be when it is carried out
	maxTries = 8           // writes whose end is not known; the oldest is forgotten
)
