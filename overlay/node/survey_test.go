package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// RFC 6940 §7.4.3: a Stat tells what is stored without the values. Copies that owners and replicas have lost without noticing are back
// after two surveys at the latest; what is sent for that are as many Stores as there are differences, and a few Stats for each record.
func TestSurveyFindsWhatIsMissing(t *testing.T) {
	const records = 40
	stats, stores := 0, 0
	w := ring(t, 8)
	var all []*sim.Record
	for i := range records {
		r := w.NewRecord(fmt.Sprintf("user%d", i), w.Host(i%8))
		store(t, w, r)
		all = append(all, r)
	}
	w.Run(5 * time.Second)
	for _, h := range w.Hosts() {
		h.Tamper = func(m *wire.Message) {
			switch m.Body.(type) {
			case *wire.StatReq:
				stats++
			case *wire.StoreReq:
				stores++
			}
		}
	}
	w.Run(20 * time.Minute)
	if stores > 0 || stats < 3*records || stats > 3*3*records {
		t.Errorf("nothing was missing: %d Stats, %d Stores", stats, stores)
	}
	lost := 0
	for i, r := range all {
		if hosts := owner(w, r.Resource); i%8 < 3 { // the owner, the first and the second replica
			hosts[i%8].Node.Lose(r.Resource)
			lost++
		}
	}
	stats, stores = 0, 0
	w.Run(24 * time.Minute)
	for _, r := range all {
		for k, h := range owner(w, r.Resource)[:3] {
			if !h.Node.Holds(r.Resource) {
				t.Errorf("%s is not at its holder %d", r.User, k)
			}
		}
	}
	if stores < lost || stores > 2*lost || stats > 3*4*records {
		t.Errorf("%d copies were lost: %d Stats, %d Stores", lost, stats, stores)
	}
}
