package flow

import "net/netip"

// access says who may use a listener, or every one of a Table.
type access struct {
	allow, deny []netip.Prefix
}

// SetNetworks replaces the networks that Config.Allow and Config.Deny named. Connections that stand go on.
func (t *Table) SetNetworks(allow, deny []netip.Prefix) { t.networks.Store(&access{allow, deny}) }

// permits is asked before anything from an address is read; a refusal is counted, and says nothing to the other side.
func (a *access) permits(t *Table, from netip.Addr) bool {
	all := t.networks.Load()
	allow := a.allow
	if allow == nil {
		allow = all.allow
	}
	switch {
	case len(allow) > 0 && !within(allow, from), within(a.deny, from), within(all.deny, from):
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
