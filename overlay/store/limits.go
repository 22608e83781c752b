package store

// Specification constants.
const (
	lastIndex = 0xffffffff // array index: append when storing, the last element when fetching (RFC 6940 §7.4.1.1, §7.4.2.1)
)

// Implementation limits.
const (
	// maxOctets bounds what a peer holds for others: about 400 000 registrations with a certificate each.
	maxOctets = 512 << 20
	// maxPerSigner bounds the values that certificates of one Node-ID may have here, so that no member fills a peer. A
	// gateway signs the registrations of all of its users with one Node-ID.
	maxPerSigner = 250_000
	// maxChosen bounds those of them whose Resource-IDs the signer has chosen: by the name of a service, which may be any. A provider
	// stands in a few tree nodes of each of its services.
	maxChosen = 1024
	// maxSynthetic bounds the non-existing values made up for the gaps of one array in one answer: indices may be sparse
	// over 32 bits.
	maxSynthetic = 256
	// maxKeys bounds the dictionary keys of one specifier: each is answered, whether it is known or not.
	maxKeys = 1024
	// maxIntermediates bounds the CA certificates kept with one value.
	maxIntermediates = 4
	// entryOverhead is what one value costs in memory besides its octets.
	entryOverhead = 256
)
