package keyed

import (
	"bytes"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
)

// The first, second and sixth test case of RFC 4231 §4.
func TestRFC4231_4_HMACSHA256(t *testing.T) {
	for _, c := range []struct {
		key        []byte
		data, want string
	}{
		{bytes.Repeat([]byte{0x0b}, 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{[]byte("Jefe"), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{bytes.Repeat([]byte{0xaa}, 131), "Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	} {
		k := New(c.key)
		clear(c.key)                 // the key is copied
		for i := range len(c.data) { // wherever it is cut, and however often it was used
			if got := k.Of([]byte(c.data[:i]), c.data[i:]); hex.EncodeToString(got[:]) != c.want {
				t.Fatalf("%q | %q: %x", c.data[:i], c.data[i:], got)
			}
		}
	}
}

func TestCodesAreMadeConcurrently(t *testing.T) {
	k := New([]byte("key"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			text := strings.Repeat("x", i*50)
			want := New([]byte("key")).Of(nil, text)
			for range 200 {
				if k.Of([]byte(text), "") != want {
					t.Error("another code")
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkOf(b *testing.B) {
	k, body := New([]byte("key")), make([]byte, 40)
	b.ReportAllocs()
	for b.Loop() {
		k.Of(body, "a84b4c76e66710@pc33.example.org")
	}
}
