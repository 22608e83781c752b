// Package route holds what a node needs for symmetric recursive routing besides a topology (RFC 6940 §6.1, §6.2): the
// checks of a forwarding header, the decision what to do with a message, the octets that leave a hop, the transactions
// of requests that wait for an answer, and the answers kept for requests that come twice. The node package is its one
// caller. Everything here is a value: no clock, I/O, goroutine or lock, and not safe for concurrent use.
package route
