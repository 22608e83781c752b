package wire

import (
	"net/netip"
	"strconv"
)

// LinkType is an overlay link type (RFC 6940 §14.10).
type LinkType uint8

// The overlay link types (RFC 6940 §6.5.1.6, §14.10).
const (
	LinkDTLSUDPSR      LinkType = 1
	LinkDTLSUDPSRNoICE LinkType = 3
	LinkTLSTCPFHNoICE  LinkType = 4
)

// String is the name of RFC 6940 §14.10, "TLS-TCP-FH-NO-ICE".
func (t LinkType) String() string {
	switch t {
	case LinkDTLSUDPSR:
		return "DTLS-UDP-SR"
	case LinkDTLSUDPSRNoICE:
		return "DTLS-UDP-SR-NO-ICE"
	case LinkTLSTCPFHNoICE:
		return "TLS-TCP-FH-NO-ICE"
	}
	return "link" + strconv.Itoa(int(t))
}

// CandidateType is the type of an ICE candidate (RFC 6940 §6.5.1.1).
type CandidateType uint8

// The candidate types.
const (
	CandidateHost  CandidateType = 1
	CandidateSrflx CandidateType = 2
	CandidateRelay CandidateType = 4
)

// AddressType values of an IpAddressPort (RFC 6940 §6.3.1.1).
const (
	addressIPv4 uint8 = 1
	addressIPv6 uint8 = 2
)

// IceCandidate is one transport address at which a node may be reached (RFC 6940 §6.5.1.1). A candidate whose address
// type is unknown has an invalid Address and is to be ignored.
//
//	addr_port · overlay_link u8 · foundation v8 · priority u32 · type u8 · [rel_addr_port] · extensions v16
type IceCandidate struct {
	Address    netip.AddrPort
	RawAddress []byte // the whole IpAddressPort of an unknown address type, for re-encoding
	Link       LinkType
	Foundation string
	Priority   uint32
	Type       CandidateType
	Related    netip.AddrPort // srflx and relay
	RawRelated []byte
	Extensions []IceExtension
}

// IceExtension is an extension attribute of a candidate.
//
//	name v16 · value v16
type IceExtension struct{ Name, Value string }

func (c *cursor) candidates(name string) (list []IceCandidate) {
	outer := c.open(2, name)
	for c.more() {
		list = append(list, c.candidate())
	}
	c.shut(outer, name)
	return list
}

func appendCandidates(b []byte, list []IceCandidate, name string) []byte {
	b, at := begin(b, 2)
	for i := range list {
		b = list[i].AppendTo(b)
	}
	return finish(b, at, 2, name)
}

func (c *cursor) candidate() (i IceCandidate) {
	i.Address, i.RawAddress = c.address("IceCandidate.addr_port")
	i.Link = LinkType(c.u8("IceCandidate.overlay_link"))
	i.Foundation = c.str(1, "IceCandidate.foundation")
	i.Priority = c.u32("IceCandidate.priority")
	at := c.off
	switch i.Type = CandidateType(c.u8("IceCandidate.type")); i.Type {
	case CandidateHost:
	case CandidateSrflx, CandidateRelay:
		i.Related, i.RawRelated = c.address("IceCandidate.rel_addr_port")
	default:
		// RFC 6940 §6.3.1.1: "any unknown type SHOULD be treated as a parsing error": CandType may not be extended.
		c.off = at
		c.fail("IceCandidate.type", ErrSelector)
	}
	outer := c.open(2, "IceCandidate.extensions")
	for c.more() {
		i.Extensions = append(i.Extensions, IceExtension{c.str(2, "IceExtension.name"), c.str(2, "IceExtension.value")})
	}
	c.shut(outer, "IceCandidate.extensions")
	return i
}

// AppendTo appends the encoded structure.
func (i *IceCandidate) AppendTo(b []byte) []byte {
	b = appendAddress(b, i.Address, i.RawAddress)
	b = appendVec(append(b, byte(i.Link)), 1, i.Foundation, "IceCandidate.foundation")
	b = append32(b, i.Priority)
	b = append(b, byte(i.Type))
	if i.Type != CandidateHost {
		b = appendAddress(b, i.Related, i.RawRelated)
	}
	b, at := begin(b, 2)
	for _, e := range i.Extensions {
		b = appendVec(b, 2, e.Name, "IceExtension.name")
		b = appendVec(b, 2, e.Value, "IceExtension.value")
	}
	return finish(b, at, 2, "IceCandidate.extensions")
}

// address reads an IpAddressPort. RFC 6940 §6.3.1.1: "an implementation which does not understand new address type
// X can still parse the IpAddressPort field and then discard it"; its octets are returned instead.
//
//	type u8 · length u8 · address · port u16
func (c *cursor) address(name string) (a netip.AddrPort, raw []byte) {
	at := c.off
	t := c.u8(name)
	value := c.vec(1, name)
	if c.err != nil {
		return a, nil
	}
	switch {
	case t == addressIPv4 && len(value) == 6:
		a = netip.AddrPortFrom(netip.AddrFrom4([4]byte(value[:4])), uint16(value[4])<<8|uint16(value[5]))
	case t == addressIPv6 && len(value) == 18:
		a = netip.AddrPortFrom(netip.AddrFrom16([16]byte(value[:16])), uint16(value[16])<<8|uint16(value[17]))
	case t == addressIPv4 || t == addressIPv6:
		c.off = at
		c.fail(name, ErrAddress)
	default:
		raw = c.b[at:c.off:c.off]
	}
	return a, raw
}

// appendAddress appends an IpAddressPort; an address that is not valid becomes one of type 0, invalidAddressType.
func appendAddress(b []byte, a netip.AddrPort, raw []byte) []byte {
	switch {
	case raw != nil:
		return append(b, raw...)
	case !a.IsValid():
		return append(b, 0, 0)
	case a.Addr().Is4():
		v4 := a.Addr().As4()
		b = append(append(b, addressIPv4, 6), v4[:]...)
	default:
		v6 := a.Addr().As16()
		b = append(append(b, addressIPv6, 18), v6[:]...)
	}
	return append16(b, a.Port())
}
