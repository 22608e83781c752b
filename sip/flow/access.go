package flow

import "net/netip"

// access says who may use a listener.
type access struct {
	allow, deny []netip.Prefix
}

// permits is asked before anything from an address is read; a refusal is counted, and says nothing to the other side.
func (a *access) permits(t *Table, from netip.Addr) bool {
	switch {
	case len(a.allow) > 0 && !within(a.allow, from), within(a.deny, from):
		t.counters.drop(refuseDenied)
	case t.cfg.Banned != nil && t.cfg.Banned(from):
		t.counters.drop(refuseBanned)
	default:
		return true
	}
	return false
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}
