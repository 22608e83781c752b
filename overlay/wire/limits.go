package wire

// Specification constants.
const (
	Token   uint32 = 0xd2454c4f // relo_token (RFC 6940 §6.3.2)
	Version uint8  = 0x0a       // version 1.0 (RFC 6940 §6.3.2)

	FragmentHigh   uint32 = 0x80000000 // "MUST be set for historical reasons" (RFC 6940 §6.3.2)
	FragmentLast   uint32 = 0x40000000 // last or only fragment (RFC 6940 §6.3.2)
	FragmentOffset uint32 = 0x00ffffff // the offset in octets (RFC 6940 §6.7)
	Unfragmented          = FragmentHigh | FragmentLast

	// HeaderFixedLen is the size of a forwarding header without its three lists, in octets (RFC 6940 §6.3.2).
	HeaderFixedLen = 38
	lengthOffset   = 16 // of the length field

	ConfigSequenceAny uint16 = 65535 // only on ConfigUpdate requests (RFC 6940 §6.3.2.1)

	// MinNodeIDLen and MaxNodeIDLen bound node-id-length, in octets (RFC 6940 §6.3.1.1, §11.1).
	MinNodeIDLen = 16
	MaxNodeIDLen = 20

	// MaxResourceIDLen is the longest Resource-ID, in octets (RFC 6940 §6.3.1.1: "up to 254 bytes").
	MaxResourceIDLen = 254

	// DataFrameOverhead and AckFrameLen are octets of the framing header (RFC 6940 §6.6.2).
	DataFrameOverhead = 8
	AckFrameLen       = 9

	// receivedWindow is how many sequence numbers a receiver remembers (RFC 6940 §6.6.2).
	receivedWindow = 32

	// minRouteList is the least size of SipRegistration.destination_list (RFC 7904 §3.2: <3..2^16-1>).
	minRouteList = 3
)

// Implementation limits.
const (
	// maxListLen bounds each list of a forwarding header that is accepted, in octets. A list of 100 hops, the most that
	// initial-ttl allows, is 2200 octets long; half of what the length field can say leaves forwarders room to append.
	maxListLen = 1 << 15
	// maxStoreKinds bounds the Kinds of one StoreReq: the StoreAns lists each of them again, in a vector of at most
	// 65535 octets, where a StoreReq has room for 2^32.
	maxStoreKinds = 255
	// maxUnknownKinds is what fits the length octet of an Unknown_Kind error_info: 63 Kind-IDs of 4 octets.
	maxUnknownKinds = 255 / 4
	// maxErrorText bounds the text of an error, in octets: it is for people.
	maxErrorText = 1024
	// maxSoftware bounds a SOFTWARE_VERSION made here, in octets: it is for people.
	maxSoftware = 255
	// maxInstances is what fits a diagnostic_info_contents: 5461 entries of 12 octets.
	maxInstances = 65535 / 12
)
