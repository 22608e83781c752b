package store

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Configure has the store work by o from now on (RFC 6940 §6.5.4.2, §11.1). It drops the values of Kinds that o does not
// know, or knows with another data model, and those that a bad node of o has signed. The limits of o hold for what is
// stored from now on. It returns how many values were dropped.
func (s *Store) Configure(o *config.Overlay) int {
	s.overlay = o
	dropped := 0
	for _, res := range s.Resources() {
		for _, v := range slices.Clone(s.resources[res]) {
			dropped += s.reconfigure(v)
		}
	}
	return dropped
}

func (s *Store) reconfigure(v *values) int {
	before := len(v.entries)
	k, known := s.known(v.kind.ID)
	gone := !known || k.Model != v.kind.Model
	v.entries = slices.DeleteFunc(v.entries, func(e *entry) bool {
		// RFC 6940 §11.1: of a bad node, "the certificate with this Node-ID MUST NOT be considered valid".
		drop := gone || slices.Contains(s.overlay.BadNodes, e.signer.Node)
		if drop {
			s.remove(e)
		}
		return drop
	})
	if len(v.entries) < before {
		s.note(v.resource, v.kind.ID)
	}
	if len(v.entries) == 0 {
		s.forget(v)
	}
	if known {
		v.kind = what(k)
	}
	return before - len(v.entries)
}
