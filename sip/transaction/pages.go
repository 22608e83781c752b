package transaction

import "sync/atomic"

// pages is the memory of what finished transactions leave, for all shards together. It implements expiring.Pages.
type pages struct {
	taken atomic.Int64
	max   int64
}

func (p *pages) Take() []byte {
	if p.taken.Add(1) > p.max {
		p.taken.Add(-1)
		return nil
	}
	b := newPage()
	if b == nil {
		p.taken.Add(-1)
	}
	return b
}

func (p *pages) Give(b []byte) {
	p.taken.Add(-1)
	freePage(b)
}
