package ice

import "net/netip"

// special are the blocks of the IANA special-purpose address registries that a TURN server of the overlay must not send to,
// besides those that netip knows: with them, whoever has a credential could reach the inside of the server's network.
// Those for documentation are not in it; nothing is there.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),     // RFC 791: this network
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598: carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),  // RFC 6890: protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"), // RFC 2544: benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),   // RFC 1112: reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),  // RFC 6052: NAT64, may lead to any IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // RFC 4380: Teredo
	netip.MustParsePrefix("2002::/16"), // RFC 3056: 6to4
	netip.MustParsePrefix("fec0::/10"), // RFC 3879: site-local
	netip.MustParsePrefix("::/96"),     // RFC 4291 §2.5.5.1: IPv4-compatible
}

// public reports whether ip may be anyone's address on the Internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
