// Package wire holds the RELOAD structures and their octets (RFC 6940 §6.3 to §7 and §10, RFC 7904 §3, RFC 7851 §4 and §5). Every
// package of the overlay uses it. It is pure and safe for concurrent use as long as a message that is being read is
// not changed.
//
// A forwarding peer calls ParseHeader and touches nothing else; the destination calls Schema.Parse for the whole
// message. What is parsed aliases the octets that came. Whatever Parse accepts, AppendTo gives back octet by octet;
// what would lose something on the way is kept raw or refused.
package wire
