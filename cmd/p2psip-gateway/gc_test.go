package main

import (
	"testing"
	"time"
)

const mega = 1 << 20

func TestHeapGrowsByWhatIsAllocatedBetweenTwoCollections(t *testing.T) {
	for name, c := range map[string]struct {
		live, allocated uint64
		want            int
	}{
		"many users, no calls":         {100 * mega, 0, gcPercentLeast},
		"many users, 200 calls/s":      {100 * mega, 2 * 10 * mega, 100},
		"few users, many calls":        {20 * mega, 2 * 100 * mega, gcPercent},
		"nothing was ever collected":   {0, mega, gcPercent},
		"what changes little, nothing": {100 * mega, 2 * 29 * mega, gcPercent},
	} {
		p := gcPace{percent: gcPercent}
		if got := p.next(c.live, c.allocated, gcLook); got != c.want {
			t.Errorf("%s: %d %%, want %d", name, got, c.want)
		}
	}
}

func TestHeapShrinksSomeTimeAfterABurst(t *testing.T) {
	p := gcPace{percent: gcPercentLeast}
	if got := p.next(100*mega, 2*100*mega, gcLook); got != gcPercent {
		t.Fatalf("in a burst: %d %%", got)
	}
	passed := time.Duration(0)
	for ; p.next(100*mega, 0, gcLook) > gcPercentLeast; passed += gcLook {
		if passed > 2*time.Minute {
			t.Fatalf("still %d %% after %v", p.percent, passed)
		}
	}
	if passed < gcApart {
		t.Errorf("the burst is forgotten after %v", passed)
	}
}

func TestHeapIsRead(t *testing.T) {
	_, before := readHeap()
	blocks := make([][]byte, 64)
	for i := range blocks {
		blocks[i] = make([]byte, mega)
	}
	if live, after := readHeap(); live == 0 || after < before+uint64(len(blocks))*mega {
		t.Errorf("%d octets live; %d allocated, %d after 64 MB more", live, before, after)
	}
}
