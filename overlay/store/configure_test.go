package store

import (
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: F-38 B-37
func TestRFC6940_11_1_ANewConfigurationOverridesWhatWasKnown(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("a", 1000, hour)), kindData(kindSingle, 0, alice.single("s", 1000, hour)),
		kindData(kindArray, 0, alice.element(0, "e", 1000, hour)))
	mustPut(t, s, at0(0), alice2, kindData(sipReg, 0, alice2.entry("a2", 1000, hour)))

	o := testOverlay()
	o.Kinds = slices.DeleteFunc(o.Kinds, func(k config.Kind) bool { return k.ID == kindSingle })
	for i := range o.Kinds {
		switch k := &o.Kinds[i]; k.ID {
		case wire.KindSIPRegistration:
			k.MaxSize = 200
		case kindArray:
			k.Model = wire.SingleValue
		}
	}
	o.BadNodes = []wire.NodeID{alice2.Node}
	if n := s.Configure(o); n != 3 {
		t.Errorf("%d values dropped; want a Kind that is gone, one of another data model and one of a bad node", n)
	}
	if got := s.Count(); len(got) != 1 || got[sipReg] != 1 {
		t.Errorf("left: %v", got)
	}
	mustPut(t, s, at0(1), alice, kindData(sipReg, 0, alice.entry(strings.Repeat("x", 150), 2000, hour)))
	if n := s.Configure(o); n != 0 {
		t.Errorf("%d values dropped by the same configuration", n)
	}
	req := storeReq(alice, alice.resource(), 0, kindData(kindSingle, 0, alice.single("s", 3000, hour)))
	if _, e := s.Put(at0(2), req, true); e == nil || e.ErrorCode != wire.ErrorUnknownKind {
		t.Errorf("a Kind that is gone: %v", e)
	}
}
