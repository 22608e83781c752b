// Package proof makes and checks proof files: what the overlay holds of an address-of-record, with everything that is needed to check it without the
// overlay. A gateway that fetched the record seals a file; anybody with the overlay's configuration document, or its root certificate, reads it.
//
// A file is one line of JSON, written in one way only: there is no white space outside of strings, the members stand in the order of the fields of
// Proof, and binary values are base64 of RFC 4648 §4 with padding. A file that is not octet for octet what its contents are written as is refused.
//
//	format, overlay, aor   "p2psip-proof-1", the name of the overlay, the address-of-record
//	resource_id, kind      where the record stands: hexadecimal, and a number (RFC 7904 §7)
//	access_control         "USER-NODE-MATCH", by which it may stand there (RFC 6940 §7.3.3)
//	fetched, fetched_by    when it was seen, RFC 3339 in UTC with milliseconds, and the Node-ID of the gateway that saw it
//	responsible, replicas  the Node-IDs of those who answered with the values
//	values                 each a StoredData as it stood in the answer (RFC 6940 §7): lifetime is what was left when it was fetched
//	certificates           DER, of those who signed the values, with intermediates
//	seal                   a SecurityBlock (RFC 6940 §6.3.4): the signature of fetched_by over the file as it is without this member and its line feed
//
// The values prove themselves: each is signed with a certificate of the address-of-record, for the octets of RFC 6940 §7.1. That does not cover the
// lifetime, nor who answered when; for these there is the word of the gateway that sealed the file.
//
// The package is pure but for the signatures.
package proof
