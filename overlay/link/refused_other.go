//go:build !linux

package link

import "net/netip"

// reportRefusals does nothing: a dead peer is found by what it does not acknowledge.
func reportRefusals(Socket) {}

func refusals(Socket) []netip.AddrPort { return nil }
