package flow

import (
	"encoding/binary"
	"net/netip"
)

const (
	stunHeader   = 20
	stunRequest  = 0x0001     // RFC 8489 §5: Binding request
	stunSuccess  = 0x0101     // Binding success response
	stunCookie   = 0x2112A442 // RFC 8489 §5: "The Magic Cookie field MUST contain the fixed value 0x2112A442"
	stunXORMap   = 0x0020     // RFC 8489 §14.2: XOR-MAPPED-ADDRESS
	stunFamilyV4 = 0x01
	stunFamilyV6 = 0x02
)

// stun answers the Binding request by which a phone holds its NAT open and learns when the NAT has forgotten it (RFC 5626 §4.4.2,
// §8); ok is false when b is none. No other STUN message is for us.
func stun(b []byte, from netip.AddrPort) (res []byte, ok bool) {
	if len(b) < stunHeader || binary.BigEndian.Uint16(b) != stunRequest || binary.BigEndian.Uint32(b[4:]) != stunCookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader {
		return nil, false
	}
	ip, family := from.Addr().AsSlice(), byte(stunFamilyV4)
	if len(ip) == 16 {
		family = stunFamilyV6
	}
	res = binary.BigEndian.AppendUint16(nil, stunSuccess)
	res = binary.BigEndian.AppendUint16(res, uint16(8+len(ip)))
	res = append(res, b[4:stunHeader]...) // cookie and transaction ID
	res = binary.BigEndian.AppendUint16(res, stunXORMap)
	res = binary.BigEndian.AppendUint16(res, uint16(4+len(ip)))
	res = append(res, 0, family)
	// RFC 8489 §14.2: port and address are XORed with the cookie, an IPv6 address with cookie and transaction ID.
	res = binary.BigEndian.AppendUint16(res, from.Port()^stunCookie>>16)
	for i, c := range ip {
		res = append(res, c^b[4+i])
	}
	return res, true
}
