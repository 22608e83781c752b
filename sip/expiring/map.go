// Package expiring is a map from keys to octets whose entries leave in the order in which they came: each of a class lives equally long. So
// an entry costs its octets, a header of 28 and some 4 in the index, no timer and no pointer, and what is over is cut off at the end of a
// queue. sip/transaction keeps in it what a retransmission needs of finished transactions; the package knows nothing of that.
//
// The memory comes in pages from outside, which need not be the garbage collector's. A Map is not safe for concurrent use, and has no clock.
package expiring

import "time"

// Key names an entry. Its second half is to be hard to guess: it decides which entries are looked at together.
type Key [2]uint64

// Entry is what is put into a Map.
type Entry struct {
	Key   Key
	Kind  uint8 // below Kinds; the user's to give a meaning
	Class int   // index of Config.Lives
	Value []byte
}

// Pages is where memory comes from. Both methods are called while a method of the Map runs.
type Pages interface {
	// Take returns PageSize octets that are zero; nil when there are no more.
	Take() []byte
	// Give takes back what Take returned.
	Give(page []byte)
}

// Config is what a Map is made of.
type Config struct {
	Lives []time.Duration // how long an entry of each class lives; 1 to MaxClasses
	Pages Pages
}

// Map is the map. Use New.
type Map struct {
	pages  Pages
	rings  []ring
	index  index
	counts [Kinds]int
	count  int
}

// New returns an empty Map. It holds no memory while it is empty.
func New(c Config) *Map {
	m := &Map{pages: c.Pages, rings: make([]ring, min(len(c.Lives), MaxClasses))}
	for i := range m.rings {
		m.rings[i].life = c.Lives[i]
	}
	return m
}

// Put enters e, a copy of its octets, at the time now, which is not before that of the last call by more than a moment. An entry of the same
// key is hidden by it. When there is no memory left the oldest entries go; false when that does not help.
func (m *Map) Put(now time.Duration, e Entry) bool {
	if len(e.Value) > MaxValue || !m.index.ready(m.pages) {
		return false
	}
	r := &m.rings[e.Class]
	h := header{key: e.Key, kind: e.Kind, size: uint32(len(e.Value)), due: ticks(now + r.life)}
	for !r.room(h.length(), m.pages) {
		if !m.evict(r) {
			return false
		}
	}
	pos := r.tail
	at := reference(pos, e.Class)
	h.next = m.index.swap(e.Key, at)
	b := h.octets()
	r.write(pos, b[:])
	r.write(pos+headerSize, e.Value)
	r.tail += h.length()
	m.count++
	m.counts[e.Kind]++
	m.fit()
	return true
}

// Get appends to b the octets that were put in last under k, unless their time is over.
func (m *Map) Get(now time.Duration, k Key, b []byte) (kind uint8, value []byte, ok bool) {
	if m.count == 0 {
		return 0, b, false
	}
	for at := m.index.first(k); at != 0; {
		r, pos := m.at(at)
		h := r.header(pos)
		if h.key == k {
			if h.over(now) {
				return 0, b, false
			}
			n := len(b)
			b = append(b, make([]byte, h.size)...)
			r.read(pos+headerSize, b[n:])
			return h.kind, b, true
		}
		at = h.next
	}
	return 0, b, false
}

// Expire takes out what is over at the time now.
func (m *Map) Expire(now time.Duration) {
	for i := range m.rings {
		r := &m.rings[i]
		for r.tail != r.head && r.header(r.head).over(now) {
			m.pop(i)
		}
	}
	m.fit()
}

// Count is the number of entries of a kind that Expire has not taken out.
func (m *Map) Count(kind uint8) int { return m.counts[kind] }

// Len is the number of all of them.
func (m *Map) Len() int { return m.count }

// evict takes out the oldest entry of r, or of another class when r has none; false when there is no entry.
func (m *Map) evict(r *ring) bool {
	for i := range m.rings {
		if &m.rings[i] == r && r.head != r.tail {
			m.pop(i)
			return true
		}
	}
	for i := range m.rings {
		if m.rings[i].head != m.rings[i].tail {
			m.pop(i)
			return true
		}
	}
	return false
}

// pop takes out the oldest entry of a class.
func (m *Map) pop(class int) {
	r := &m.rings[class]
	h := r.header(r.head)
	m.unlink(reference(r.head, class), h)
	m.count--
	m.counts[h.kind]--
	r.pop(h.length(), m.pages)
}

// unlink takes an entry out of the index. It is among the oldest, and so near the end of its chain.
func (m *Map) unlink(at uint32, h header) {
	prev := m.index.first(h.key)
	if prev == at {
		m.index.swap(h.key, h.next)
		return
	}
	for {
		r, pos := m.at(prev)
		if prev = r.next(pos); prev == at {
			r.setNext(pos, h.next)
			return
		}
	}
}

// fit keeps the index at a size that suits the number of entries.
func (m *Map) fit() {
	n := m.index.wanted(m.count)
	if n == m.index.size || !m.index.resize(n, m.pages) {
		return
	}
	for i := range m.rings {
		r := &m.rings[i]
		for pos := r.head; pos != r.tail; {
			h := r.header(pos)
			r.setNext(pos, m.index.swap(h.key, reference(pos, i)))
			pos += h.length()
		}
	}
}

// A reference names an entry in the index: its place in the ring of its class, which is a multiple of 4, and the class counted from 1. 0 is
// none.
func reference(pos uint32, class int) uint32 { return pos | uint32(class+1) }

func (m *Map) at(reference uint32) (r *ring, pos uint32) {
	return &m.rings[reference%align-1], reference &^ (align - 1)
}

// Clear takes out everything.
func (m *Map) Clear() {
	for i := range m.rings {
		for m.rings[i].head != m.rings[i].tail {
			m.pop(i)
		}
	}
	m.fit()
}
