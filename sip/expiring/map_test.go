package expiring

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// heap is a Pages that counts and has a limit.
type heap struct{ out, limit int }

func (h *heap) Take() []byte {
	if h.out >= h.limit {
		return nil
	}
	h.out++
	return make([]byte, PageSize)
}

func (h *heap) Give(p []byte) {
	h.out--
	for i := range p {
		p[i] = 0xff // nobody is to look at it again
	}
}

// obvious is the obvious implementation.
type obvious struct {
	entries map[Key]Entry
	due     map[Key]time.Duration
}

func (o *obvious) expire(now time.Duration) {
	for k, d := range o.due {
		if d <= now {
			delete(o.entries, k)
			delete(o.due, k)
		}
	}
}

// The Map answers as a map with a timer for each entry does, whatever the sizes, keys of one chain included, and holds nothing when all is over.
func TestMapIsAMapWithTimers(t *testing.T) {
	lives := []time.Duration{32 * time.Second, 5 * time.Second}
	rapid.Check(t, func(t *rapid.T) {
		pages := &heap{limit: 1 << 20}
		m := New(Config{Lives: lives, Pages: pages})
		o := &obvious{map[Key]Entry{}, map[Key]time.Duration{}}
		now := 1<<32*time.Millisecond - time.Minute // the ticks begin anew on the way
		next := uint64(0)
		spread := rapid.SampledFrom([]uint64{1, 7, 1 << 62}).Draw(t, "chains")
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "n") {
					next++
					e := Entry{Key: Key{next, next % spread}, Kind: uint8(next % Kinds), Class: rapid.IntRange(0, 1).Draw(t, "class"),
						Value: bytes.Repeat([]byte{byte(next)}, rapid.SampledFrom([]int{0, 1, 45, 90, 91, 92, 93, PageSize + 7}).Draw(t, "size"))}
					if !m.Put(now, e) {
						t.Fatal("no room")
					}
					o.entries[e.Key], o.due[e.Key] = e, now+lives[e.Class]
				}
			},
			"pass": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(1, 20000).Draw(t, "ms")) * time.Millisecond
				o.expire(now)
			},
			"expire": func(t *rapid.T) {
				m.Expire(now)
				if m.Len() != len(o.entries) {
					t.Fatalf("%d entries, want %d", m.Len(), len(o.entries))
				}
			},
			"": func(t *rapid.T) {
				i := rapid.Uint64Range(1, next+1).Draw(t, "key")
				for _, k := range []Key{{i, i % spread}, {i + 1, i % spread}, {i, i%spread + 1<<40}} {
					e, want := o.entries[k]
					kind, value, ok := m.Get(now, k, []byte("x"))
					if ok != want || ok && (kind != e.Kind || !bytes.Equal(value[1:], e.Value)) || value[0] != 'x' {
						t.Fatalf("%v: %d, %d octets, %v; want %v", k, kind, len(value), ok, want)
					}
				}
			},
		})
		m.Expire(now + lives[0])
		if pages.out != 0 || m.Len() != 0 {
			t.Fatalf("%d pages and %d entries are left", pages.out, m.Len())
		}
	})
}

// The index looks at a part of one half of the key only: an entry is found by the whole of it all the same.
func TestAnotherKeyOfTheSameChainIsNotFound(t *testing.T) {
	m := New(Config{Lives: []time.Duration{time.Second}, Pages: &heap{limit: 10}})
	m.Put(0, Entry{Key: Key{1, 5}, Value: []byte("secret")})
	for _, k := range []Key{{2, 5}, {1, 5 + 1<<32}, {0, 5}} {
		if _, v, ok := m.Get(0, k, nil); ok || v != nil {
			t.Errorf("%v: %q", k, v)
		}
	}
	if _, v, ok := m.Get(0, Key{1, 5}, nil); !ok || string(v) != "secret" {
		t.Errorf("%q %v", v, ok)
	}
}

// Without more memory the oldest go, of the same class first, and what does not fit at all is not taken.
func TestMemoryIsBoundedAndTheOldestGo(t *testing.T) {
	pages := &heap{limit: 4} // one is the index's
	m := New(Config{Lives: []time.Duration{time.Hour, time.Minute}, Pages: pages})
	value := make([]byte, 1000)
	m.Put(0, Entry{Key: Key{0, 1 << 40}, Class: 1})
	for i := range uint64(1000) {
		if !m.Put(0, Entry{Key: Key{i, i}, Value: value}) {
			t.Fatal(i)
		}
		if pages.out > pages.limit {
			t.Fatalf("%d pages", pages.out)
		}
	}
	got := map[uint64]bool{}
	for i := range uint64(1000) {
		if _, _, ok := m.Get(0, Key{i, i}, nil); ok {
			got[i] = true
		}
	}
	if n := len(got); n < PageSize/1028 || n > 2*PageSize/1028 || !got[999] || !got[1000-uint64(n)] {
		t.Errorf("%d left", n)
	}
	if _, _, ok := m.Get(0, Key{0, 1 << 40}, nil); !ok {
		t.Error("the other class had to go")
	}
	if m.Put(0, Entry{Key: Key{5000, 5000}, Value: make([]byte, 4*PageSize)}) || m.Put(0, Entry{Value: make([]byte, MaxValue+1)}) {
		t.Error("taken")
	}
	if !m.Put(0, Entry{Key: Key{7000, 7000}}) {
		t.Error("no room after one that did not fit")
	}
	none := New(Config{Lives: []time.Duration{time.Hour}, Pages: &heap{}})
	if none.Put(0, Entry{}) {
		t.Error("taken without memory")
	}
}

func TestKindsAreCounted(t *testing.T) {
	m := New(Config{Lives: []time.Duration{time.Second}, Pages: &heap{limit: 10}})
	for i := range uint64(10) {
		m.Put(time.Duration(i)*100*time.Millisecond, Entry{Key: Key{i, i}, Kind: uint8(i % 2)})
	}
	m.Expire(1200 * time.Millisecond)
	if diff := cmp.Diff([]int{3, 4, 7}, []int{m.Count(0), m.Count(1), m.Len()}); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkMap(b *testing.B) {
	m := New(Config{Lives: []time.Duration{32 * time.Second}, Pages: &heap{limit: 1 << 20}})
	value, buf := make([]byte, 80), make([]byte, 0, 200)
	key := func(i uint64) (k Key) {
		var o [8]byte
		binary.LittleEndian.PutUint64(o[:], i*0x9e3779b97f4a7c15)
		return Key{i, binary.BigEndian.Uint64(o[:])}
	}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		now := time.Duration(i) * 100 * time.Microsecond // 320,000 of them live
		m.Put(now, Entry{Key: key(i), Value: value})
		_, _, _ = m.Get(now, key(i+1), buf)
		if i%64 == 0 {
			m.Expire(now)
		}
	}
}
