// Package ice makes connections through NATs: full ICE with one component for Attach and AppAttach (RFC 6940 §6.5.1.3
// to §6.5.1.12, RFC 5245), STUN at the peers (§6.5.1.4), and the TURN server that a peer offers to others (§9, RFC 5766).
// Package overlay calls it; what a Session connects is a net.Conn that carries one DTLS association of package link.
//
// # Who owns the socket
//
// A Mux owns one UDP socket: it alone reads it and it closes it. Every Session of the Mux uses this socket, and so does
// Mux.Rest, for whoever accepts associations without ICE and answers plain STUN Binding requests there. Where a datagram
// goes is decided by its first octet (RFC 7983 §7) and then:
//
//   - STUN request with a USERNAME: to the session whose ufrag it begins with; nobody else's business
//   - STUN request without: to Rest
//   - STUN response: to who sent the request, when the transaction ID and the address are those of the request
//   - other STUN: dropped; a Binding indication was for the NATs on the way
//   - DTLS: to the sessions for which the sender's address has answered a connectivity check; without one, to Rest
//   - anything else: to Rest
//
// An address becomes a session's by answering its check, not by being listed in a candidate: a peer that lists the address
// of another one does not divert that one's records.
//
// Two sessions between the same two sockets share all addresses, and DTLS records do not say which association they are
// of. Records in clear text then go to the session whose check was answered last, protected ones to all, which ignore
// what they cannot decipher. That is what the replacement of a link needs. AppAttach connections have a Mux of their own.
//
// TURN allocations are made on sockets of their own, because an allocation is named by the addresses of both ends (RFC 5766
// §2.2) and every session needs one of its own.
//
// The ICE library has no frozen pairs and tries all of them at the same pace; its keepalives, timeouts, gathering and
// multiplexing are not used, because they send a check every 2 s, cannot say why a candidate is missing, have queues
// without bounds and believe addresses that have proven nothing. What it does is the check list, the checks and the nomination.
//
// All exported types are safe for concurrent use, unless they say otherwise.
package ice
