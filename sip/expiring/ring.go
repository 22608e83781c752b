package expiring

import (
	"encoding/binary"
	"time"
)

// ring is a queue of entries of one class. Places in it are octets since it was last empty, modulo 2^32.
type ring struct {
	life       time.Duration
	pages      [][]byte
	base       uint32 // the place at which pages[0] begins
	head, tail uint32 // of the oldest entry, and behind the youngest
}

// header stands before the octets of an entry.
type header struct {
	next uint32 // of the same chain of the index; 0: none
	due  uint32 // in ticks
	key  Key
	kind uint8
	size uint32 // octets of the value
}

// length is what the entry takes in its ring.
func (h header) length() uint32 { return (headerSize + h.size + align - 1) &^ (align - 1) }

// over reports whether the entry has lived long enough.
func (h header) over(now time.Duration) bool { return int32(ticks(now)-h.due) >= 0 }

// ticks is a time as headers hold it. It begins anew after 49 days.
func ticks(t time.Duration) uint32 { return uint32(t.Milliseconds()) }

func (h header) octets() (b [headerSize]byte) {
	binary.LittleEndian.PutUint32(b[0:], h.next)
	binary.LittleEndian.PutUint32(b[4:], h.due)
	binary.LittleEndian.PutUint64(b[8:], h.key[0])
	binary.LittleEndian.PutUint64(b[16:], h.key[1])
	binary.LittleEndian.PutUint32(b[24:], uint32(h.kind)<<24|h.size)
	return b
}

func (r *ring) header(pos uint32) header {
	var b [headerSize]byte
	r.read(pos, b[:])
	last := binary.LittleEndian.Uint32(b[24:])
	return header{
		next: binary.LittleEndian.Uint32(b[0:]),
		due:  binary.LittleEndian.Uint32(b[4:]),
		key:  Key{binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])},
		kind: uint8(last >> 24),
		size: last & (1<<24 - 1),
	}
}

// next and setNext read and write the first part of a header, which lies within one page.
func (r *ring) next(pos uint32) uint32 { return binary.LittleEndian.Uint32(r.from(pos)) }

func (r *ring) setNext(pos, next uint32) { binary.LittleEndian.PutUint32(r.from(pos), next) }

// from is the rest of the page in which a place lies.
func (r *ring) from(pos uint32) []byte {
	off := pos - r.base
	return r.pages[off/PageSize][off%PageSize:]
}

func (r *ring) read(pos uint32, b []byte) {
	for len(b) > 0 {
		n := copy(b, r.from(pos))
		b, pos = b[n:], pos+uint32(n)
	}
}

func (r *ring) write(pos uint32, b []byte) {
	for len(b) > 0 {
		n := copy(r.from(pos), b)
		b, pos = b[n:], pos+uint32(n)
	}
}

// room makes room for n octets at the tail.
func (r *ring) room(n uint32, from Pages) bool {
	for uint32(len(r.pages))*PageSize < r.tail-r.base+n {
		p := from.Take()
		if p == nil {
			return false
		}
		r.pages = append(r.pages, p)
	}
	return true
}

// pop cuts n octets off at the head, and gives back the pages that are behind it then.
func (r *ring) pop(n uint32, to Pages) {
	r.head += n
	for len(r.pages) > 0 && (r.head-r.base >= PageSize || r.head == r.tail) {
		to.Give(r.pages[0])
		r.pages[0] = nil
		r.pages = r.pages[1:]
		r.base += PageSize
	}
	if len(r.pages) == 0 {
		r.pages, r.base, r.head, r.tail = nil, 0, 0, 0
	}
}
