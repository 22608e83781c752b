package link

import (
	"encoding/binary"
	"net/netip"
)

// STUN (RFC 8489 §5, §14.2).
const (
	stunHeader   = 20
	stunBinding  = 0x0001
	stunSuccess  = 0x0101
	stunCookie   = 0x2112a442
	stunMapped   = 0x0020 // XOR-MAPPED-ADDRESS
	stunOptional = 0x8000 // attributes from here on may be ignored
)

// bindingAnswer answers a STUN Binding request, by which nodes learn their reflexive address from their neighbours (RFC
// 6940 §6.5.1.4), and returns nil for everything else: responses and indications, and connectivity checks, which carry
// attributes that must be understood and belong to ICE.
func bindingAnswer(b []byte, from netip.AddrPort) []byte {
	if len(b) < stunHeader || binary.BigEndian.Uint16(b) != stunBinding || binary.BigEndian.Uint32(b[4:]) != stunCookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader {
		return nil
	}
	for a := b[stunHeader:]; len(a) > 0; {
		if len(a) < 4 || binary.BigEndian.Uint16(a) < stunOptional {
			return nil
		}
		a = a[min(len(a), 4+(int(binary.BigEndian.Uint16(a[2:]))+3)&^3):] // RFC 8489 §14: padded to 4 octets
	}
	ip, family := from.Addr().Unmap().AsSlice(), byte(1)
	if len(ip) == 16 {
		family = 2
	}
	answer := binary.BigEndian.AppendUint16(nil, stunSuccess)
	answer = binary.BigEndian.AppendUint16(answer, uint16(8+len(ip)))
	answer = append(answer, b[4:stunHeader]...) // cookie and transaction ID
	answer = binary.BigEndian.AppendUint16(answer, stunMapped)
	answer = binary.BigEndian.AppendUint16(answer, uint16(4+len(ip)))
	answer = append(answer, 0, family)
	// RFC 8489 §14.2: the port is XORed with the cookie, the address with cookie and transaction ID.
	answer = binary.BigEndian.AppendUint16(answer, from.Port()^stunCookie>>16)
	for i, x := range ip {
		answer = append(answer, x^b[4+i])
	}
	return answer
}
