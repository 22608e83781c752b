package flow

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// dscpShift moves a DSCP to its place in the IPv4 TOS and the IPv6 traffic class octets (RFC 2474 §3).
const dscpShift = 2

// mark sets the DSCP of what is sent over c from now on. A kernel that refuses is no reason not to send.
func (t *Table) mark(c net.Conn) {
	if t.cfg.DSCP == 0 {
		return
	}
	if addrPort(c.LocalAddr()).Addr().Is4() {
		_ = ipv4.NewConn(c).SetTOS(t.cfg.DSCP << dscpShift)
	} else {
		_ = ipv6.NewConn(c).SetTrafficClass(t.cfg.DSCP << dscpShift)
	}
}
