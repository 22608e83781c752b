// Package chord is the ring of CHORD-RELOAD as one peer sees it: positions, responsibility, next hops, neighbours,
// fingers and replica sets (RFC 6940 §10). It holds identifiers only. Which of them are linked and alive is known to the
// node package, its one caller, which adds a peer when its Update came over a link (§6.5.1) and removes it when the link
// is lost. A Ring is a value: no clock, I/O, goroutine or lock, and not safe for concurrent use.
package chord
