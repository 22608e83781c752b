package expiring

import "encoding/binary"

// index leads from keys to references: it holds the youngest entry of each of its chains, and headers hold the next.
type index struct {
	pages [][]byte
	size  uint32 // chains, a power of two; 0: it is empty
}

// ready has the index hold one chain at least.
func (x *index) ready(p Pages) bool { return x.size > 0 || x.resize(perPage, p) }

// wanted is the number of chains for so many entries: one for each or two of them, and no less than before until there are far too many.
func (x *index) wanted(entries int) uint32 {
	n := uint32(entries)
	switch {
	case n == 0:
		return 0
	case n > 2*x.size:
		return 2 * x.size
	case n < x.size/8 && x.size > perPage:
		return x.size / 2
	}
	return x.size
}

// resize makes the index one of n chains, all of them empty; false when there is no memory, and everything as it was.
func (x *index) resize(n uint32, p Pages) bool {
	pages := make([][]byte, 0, n/perPage)
	for range n / perPage {
		page := p.Take()
		if page == nil {
			give(pages, p)
			return false
		}
		pages = append(pages, page)
	}
	give(x.pages, p)
	x.pages, x.size = pages, n
	return true
}

func give(pages [][]byte, to Pages) {
	for _, p := range pages {
		to.Give(p)
	}
}

func (x *index) place(k Key) []byte {
	i := uint32(k[1]) & (x.size - 1)
	return x.pages[i/perPage][i%perPage*4:]
}

func (x *index) first(k Key) uint32 { return binary.LittleEndian.Uint32(x.place(k)) }

// swap puts another entry at the beginning of the chain of k, and returns the one that was there.
func (x *index) swap(k Key, at uint32) (was uint32) {
	p := x.place(k)
	was = binary.LittleEndian.Uint32(p)
	binary.LittleEndian.PutUint32(p, at)
	return was
}
