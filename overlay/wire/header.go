package wire

// Header is the forwarding header (RFC 6940 §6.3.2). The lists of a parsed header alias the octets that it was
// parsed from.
//
//	relo_token u32 · overlay u32 · configuration_sequence u16 · version u8 · ttl u8 · fragment u32 · length u32 ·
//	transaction_id u64 · max_response_length u32 · via_list_length u16 · destination_list_length u16 ·
//	options_length u16 · via_list · destination_list · options
type Header struct {
	Overlay           OverlayID
	ConfigSequence    uint16
	Version           uint8
	TTL               uint8
	Fragment          uint32 // flags and 24-bit offset
	Length            uint32 // octets of the message or fragment, header included
	Transaction       TransactionID
	MaxResponseLength uint32 // 0: no limit
	Via               DestinationList
	Destinations      DestinationList
	Options           OptionList
}

// Whole reports whether h is the header of a message that is not fragmented: the first fragment and the last one
// (RFC 6940 §6.7). Reserved bits do not matter.
func (h *Header) Whole() bool {
	return h.Fragment&(FragmentHigh|FragmentLast|FragmentOffset) == Unfragmented
}

// ParseHeader reads the forwarding header of a message or fragment, b, and returns its length in octets. It
// allocates nothing; the lists alias b. The error is a *SyntaxError: ErrToken for what is not RELOAD; ErrLength
// when Length is not the size of b, in which case h and n are good nevertheless. Overlay, Version, TTL and Fragment
// are for the caller to judge.
func ParseHeader(b []byte) (h Header, n int, err error) {
	c := newCursor(b)
	h = c.header()
	if c.err != nil {
		return Header{}, 0, c.err
	}
	n = c.off
	if c.checkLength(h.Length); c.err != nil {
		return h, n, c.err
	}
	return h, n, nil
}

// checkLength holds the length field, at octet 16, against the size of what came.
func (c *cursor) checkLength(n uint32) {
	if c.err == nil && int64(n) != int64(len(c.b)) {
		c.off = lengthOffset
		// RFC 6940 §6.3.2: "The count in bytes of the size of the message, including the header".
		c.fail("ForwardingHeader.length", ErrLength)
	}
}

func (c *cursor) header() (h Header) {
	// RFC 6940 §6.3.2: "This field MUST contain the value 0xd2454c4f".
	if c.u32("ForwardingHeader.relo_token") != Token {
		c.off = 0
		c.fail("ForwardingHeader.relo_token", ErrToken)
	}
	h.Overlay = OverlayID(c.u32("ForwardingHeader.overlay"))
	h.ConfigSequence = c.u16("ForwardingHeader.configuration_sequence")
	h.Version = c.u8("ForwardingHeader.version")
	h.TTL = c.u8("ForwardingHeader.ttl")
	h.Fragment = c.u32("ForwardingHeader.fragment")
	h.Length = c.u32("ForwardingHeader.length")
	h.Transaction = TransactionID(c.u64("ForwardingHeader.transaction_id"))
	h.MaxResponseLength = c.u32("ForwardingHeader.max_response_length")
	via := c.listLength("ForwardingHeader.via_list_length")
	dest := c.listLength("ForwardingHeader.destination_list_length")
	options := c.listLength("ForwardingHeader.options_length")
	h.Via = c.viaList(via, "ForwardingHeader.via_list")
	h.Destinations = c.destinationList(dest, "ForwardingHeader.destination_list")
	h.Options = c.optionList(options, "ForwardingHeader.options")
	return h
}

func (c *cursor) listLength(name string) uint16 {
	at := c.off
	n := c.u16(name)
	if n > maxListLen {
		c.off = at
		c.fail(name, ErrSize)
	}
	return n
}

// AppendTo appends the header as it stands. Length is written as given: see Message.AppendTo.
func (h *Header) AppendTo(b []byte) []byte {
	checkFit(len(h.Via), 2, "ForwardingHeader.via_list")
	checkFit(len(h.Destinations), 2, "ForwardingHeader.destination_list")
	checkFit(len(h.Options), 2, "ForwardingHeader.options")
	b = append32(b, Token)
	b = append32(b, h.Overlay)
	b = append16(b, h.ConfigSequence)
	b = append(b, h.Version, h.TTL)
	b = append32(b, h.Fragment)
	b = append32(b, h.Length)
	b = append64(b, h.Transaction)
	b = append32(b, h.MaxResponseLength)
	b = append16(b, uint16(len(h.Via)))
	b = append16(b, uint16(len(h.Destinations)))
	b = append16(b, uint16(len(h.Options)))
	b = append(b, h.Via...)
	b = append(b, h.Destinations...)
	return append(b, h.Options...)
}
