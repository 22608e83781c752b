package flow

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A socket on the wildcard address does not know by itself which address of this host a datagram was sent to, nor does the kernel
// know which one an answer is to come from. The control messages of the system tell (IP_PKTINFO, RFC 3542 §6.1). The response has
// to come from there (RFC 3581 §4: "MUST be sent from the same address and port that it received the request on").
type packetInfo struct {
	v4      *ipv4.PacketConn
	v6      *ipv6.PacketConn
	sources map[netip.Addr][]byte // control messages for sending; the flusher's
}

// newPacketInfo turns the control messages on; nil when the system has none.
func newPacketInfo(v4 *ipv4.PacketConn, v6 *ipv6.PacketConn) *packetInfo {
	var err error
	if v4 != nil {
		err = v4.SetControlMessage(ipv4.FlagDst, true)
	} else {
		err = v6.SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		return nil
	}
	return &packetInfo{v4: v4, v6: v6, sources: map[netip.Addr][]byte{}}
}

// room is a buffer for the control message of a datagram.
func (p *packetInfo) room() []byte {
	if p.v4 != nil {
		return ipv4.NewControlMessage(ipv4.FlagDst)
	}
	return ipv6.NewControlMessage(ipv6.FlagDst)
}

// destination is the address of ours that a datagram was sent to; not valid when that is no address to send from.
func (p *packetInfo) destination(oob []byte) netip.Addr {
	var dst net.IP
	if p.v4 != nil {
		var c ipv4.ControlMessage
		if c.Parse(oob) == nil {
			dst = c.Dst
		}
	} else {
		var c ipv6.ControlMessage
		if c.Parse(oob) == nil {
			dst = c.Dst
		}
	}
	a, _ := netip.AddrFromSlice(dst)
	if a = a.Unmap(); a.IsMulticast() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// source is the control message that sends from an address; nil lets the kernel choose.
func (p *packetInfo) source(from netip.Addr) []byte {
	if !from.IsValid() || from.IsUnspecified() {
		return nil
	}
	if b, ok := p.sources[from]; ok {
		return b
	}
	var b []byte
	if p.v4 != nil {
		b = (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
	} else {
		b = (&ipv6.ControlMessage{Src: from.AsSlice()}).Marshal()
	}
	if len(p.sources) < maxSources {
		p.sources[from] = b
	}
	return b
}
