package sim

import (
	"maps"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// keep writes to the host's disk, at once and without failure.
func (h *Host) keep(records []store.Record) {
	for i := range records {
		r := &records[i]
		if len(r.Values) == 0 {
			delete(h.disk, r.Key())
			continue
		}
		if h.disk == nil {
			h.disk = make(map[string][]byte)
		}
		h.disk[r.Key()] = r.AppendTo(nil)
	}
}

// restore gives a node that has not started what its earlier life left on the disk.
func (h *Host) restore() {
	for _, key := range slices.Sorted(maps.Keys(h.disk)) {
		r, err := store.ParseRecord(h.disk[key])
		if err != nil {
			h.w.violate("host %d: record %x: %v", h.Index, key, err)
			return
		}
		m := &wire.Message{Security: wire.SecurityBlock{Certificates: r.Certificates}}
		h.Node.Restore(h.now(), r, h.w.trust.values(nil, m, signed{r.Resource, r.Kind, r.Values}))
	}
}
