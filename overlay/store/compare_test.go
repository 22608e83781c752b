package store

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Two stores are held against each other by Stat answers, both ways round.
func TestRFC6940_7_4_3_CompareTellsWhoIsNewer(t *testing.T) {
	res := alice.resource()
	entry := func(key string, at uint64) wire.StoredData {
		h := alice
		if key == "2" {
			h = alice2
		}
		return h.entry("x", at, hour)
	}
	for name, c := range map[string]struct {
		here, there  []wire.StoredData
		ours, theirs bool
	}{
		"the same":      {[]wire.StoredData{entry("1", 5)}, []wire.StoredData{entry("1", 5)}, false, false},
		"missing there": {[]wire.StoredData{entry("1", 5)}, nil, true, false},
		"missing here":  {[]wire.StoredData{entry("1", 5)}, []wire.StoredData{entry("1", 5), entry("2", 5)}, false, true},
		"older there":   {[]wire.StoredData{entry("1", 6)}, []wire.StoredData{entry("1", 5)}, true, false},
		"older here":    {[]wire.StoredData{entry("1", 5)}, []wire.StoredData{entry("1", 6)}, false, true},
		"each its own":  {[]wire.StoredData{entry("1", 5)}, []wire.StoredData{entry("2", 5)}, true, true},
	} {
		a, b := New(testOverlay()), New(testOverlay())
		for s, values := range map[*Store][]wire.StoredData{a: c.here, b: c.there} {
			for _, d := range values {
				by := alice
				if d.Value.Key == entry("2", 1).Value.Key {
					by = alice2
				}
				mustPut(t, s, at0(0), by, kindData(sipReg, 0, d))
			}
		}
		ans, e := b.Stat(at0(60), &wire.StatReq{Resource: res, Specifiers: a.Specifiers(res)})
		if e != nil {
			t.Fatalf("%s: %s", name, e.Info)
		}
		if ours, theirs := a.Compare(at0(60), res, ans); ours != c.ours || theirs != c.theirs {
			t.Errorf("%s: %v %v, want %v %v", name, ours, theirs, c.ours, c.theirs)
		}
		if ours, theirs := a.Compare(at0(hour-2), res, ans); ours || theirs != c.theirs {
			t.Errorf("%s, at the end: %v %v", name, ours, theirs)
		}
	}
}
