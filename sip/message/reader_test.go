package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// chunks hands out its parts one Read each, and then fails with end.
type chunks struct {
	parts [][]byte
	end   error
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, c.end
	}
	n := copy(b, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	return n, nil
}

// readAll tells what a reader finds, in words.
func readAll(r *Reader) (out []string) {
	for range 1000 {
		m, ping, err := r.Next()
		e := AsParseError(err)
		switch {
		case ping:
			out = append(out, "ping")
		case e != nil:
			out = append(out, fmt.Sprintf("%d fatal=%v", e.Status, e.Fatal))
			if e.Fatal {
				return out
			}
		case err != nil:
			return append(out, err.Error())
		default:
			out = append(out, m.Method+" "+string(m.Body))
		}
	}
	return append(out, "endless")
}

func stream(method, body string) string {
	return request(method+" sip:b@example.org SIP/2.0", "CSeq: 1 "+method, fmt.Sprint("l: ", len(body))) + body
}

func TestReader(t *testing.T) {
	a, b := stream("OPTIONS", ""), stream("MESSAGE", "\r\n\r\nSIP/2.0\r\n\r\n")
	fold := strings.Replace(a, "l: 0", "X-a: x\r\n y\r\nl:\r\n 0", 1)
	binary := stream("MESSAGE", "\x00\x00\x00\x00")
	tests := []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", []string{"EOF"}},
		{"one", a, []string{"OPTIONS ", "EOF"}},
		{"two", a + b + a, []string{"OPTIONS ", "MESSAGE \r\n\r\nSIP/2.0\r\n\r\n", "OPTIONS ", "EOF"}},
		{"folded", fold + a, []string{"OPTIONS ", "OPTIONS ", "EOF"}},
		{"binary", binary + a, []string{"MESSAGE \x00\x00\x00\x00", "OPTIONS ", "EOF"}},
		{"ping", "\r\n\r\n", []string{"ping", "EOF"}},
		{"two pings", "\r\n\r\n\r\n\r\n", []string{"ping", "ping", "EOF"}},
		{"pong", "\r\n", []string{"EOF"}},
		{"ping, message, ping", "\r\n\r\n" + a + "\r\n\r\n", []string{"ping", "OPTIONS ", "ping", "EOF"}},
		{"pong, message, pong, message, ping", "\r\n" + a + "\r\n" + b + "\r\n\r\n", []string{"OPTIONS ", "MESSAGE \r\n\r\nSIP/2.0\r\n\r\n", "ping", "EOF"}},
		{"cut in the header", a[:40], []string{"unexpected EOF"}},
		{"cut in the body", b[:len(b)-1], []string{"unexpected EOF"}},
		{"no Content-Length", request() + a, []string{"400 fatal=true"}},
		{"two Content-Length", request("l: 0", "Content-Length: 0") + a, []string{"400 fatal=true"}},
		{"malformed Content-Length", request("l: -1") + a, []string{"400 fatal=true"}},
		{"LF in header", request("X-a: 1\nl: 9", "Content-Length: 0") + a, []string{"400 fatal=true"}},
		{"lone CR in front", "\r" + a, []string{"400 fatal=true"}},
		{"lone LF in front", "\n" + a, []string{"400 fatal=true"}},
		{"Content-Length over the limit", request("l: 65536") + a, []string{"513 fatal=true"}},
		{"Content-Length far over the limit", request("l: 99999999999999999999"), []string{"513 fatal=true"}},
		{"wrong in itself", request("CSeq: 1 INVITE", "l: 2") + "ab" + a, []string{"400 fatal=false", "OPTIONS ", "EOF"}},
		{"unwanted response", request("SIP/2.0 200 OK", "To", "l: 2") + "ab" + a, []string{"0 fatal=false", "OPTIONS ", "EOF"}},
		{"bad version", strings.Replace(a, "SIP/2.0", "SIP/3.0", 1) + a, []string{"505 fatal=false", "OPTIONS ", "EOF"}},
		{"header without end", a[:len(a)-2] + strings.Repeat("X: y\r\n", MaxMessage/6), []string{"513 fatal=true"}},
		{"line without end", strings.Repeat("x", MaxMessage+10), []string{"0 fatal=true"}},
		{"HTTP", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", []string{"0 fatal=true"}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, readAll(NewReader(strings.NewReader(tt.in)))); d != "" {
			t.Errorf("%s, at once:\n%s", tt.name, d)
		}
		if d := cmp.Diff(tt.want, readAll(NewReader(iotest.OneByteReader(strings.NewReader(tt.in))))); d != "" {
			t.Errorf("%s, by octets:\n%s", tt.name, d)
		}
		if len(tt.in) > 3000 {
			continue
		}
		for k := range len(tt.in) {
			src := &chunks{parts: [][]byte{[]byte(tt.in[:k]), []byte(tt.in[k:])}, end: io.EOF}
			if d := cmp.Diff(tt.want, readAll(NewReader(src))); d != "" {
				t.Fatalf("%s, split at %d:\n%s", tt.name, k, d)
			}
		}
	}
}

// The largest message passes, one octet more does not, and the buffer is given back.
func TestReaderAtTheLimit(t *testing.T) {
	head := len(request("l: 65000"))
	whole := request("l: "+fmt.Sprint(MaxMessage-head)) + strings.Repeat("x", MaxMessage-head)
	r := NewReader(strings.NewReader(whole + stream("OPTIONS", "") + request("l: "+fmt.Sprint(MaxMessage-head+1))))
	m, _, err := r.Next()
	if err != nil || len(m.Body) != MaxMessage-head {
		t.Fatal(err)
	}
	if _, _, err = r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, _, err = r.Next(); AsParseError(err) == nil || AsParseError(err).Status != 513 {
		t.Error(err)
	}
	if len(r.buf) > MaxMessage {
		t.Errorf("buffer of %d", len(r.buf))
	}
	r = NewReader(io.MultiReader(strings.NewReader(whole), strings.NewReader(stream("OPTIONS", ""))))
	for range 2 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) || len(r.buf) != smallBuffer {
		t.Errorf("%v, buffer of %d when idle", err, len(r.buf))
	}
}

// A source with a deadline fails in between; what was read stays, and Partial tells what the deadline is about.
func TestReaderGoesOnAfterADeadline(t *testing.T) {
	errLate := errors.New("deadline")
	whole := stream("MESSAGE", "hello")
	for k := range len(whole) {
		src := &chunks{parts: [][]byte{[]byte(whole[:k])}, end: errLate}
		if k == 0 {
			src.parts = nil
		}
		r := NewReader(src)
		if _, _, err := r.Next(); !errors.Is(err, errLate) || r.Partial() != (k > 0) {
			t.Fatalf("split at %d: %v, partial %v", k, err, r.Partial())
		}
		src.parts = [][]byte{[]byte(whole[k:])}
		m, _, err := r.Next()
		if err != nil || string(m.Body) != "hello" || r.Partial() || r.Buffered() != 0 {
			t.Fatalf("split at %d: %v", k, err)
		}
	}
}

// Between two messages a CRLF, which any number of may come, is no message that has begun.
func TestReaderKeepAliveIsNotPartial(t *testing.T) {
	errLate := errors.New("deadline")
	r := NewReader(&chunks{parts: [][]byte{[]byte("\r\n")}, end: errLate})
	if _, _, err := r.Next(); !errors.Is(err, errLate) || r.Partial() {
		t.Error(err, r.Partial())
	}
}

func TestReaderGivesUpOnASourceThatDoesNothing(t *testing.T) {
	r := NewReader(&chunks{parts: [][]byte{}, end: nil})
	if _, _, err := r.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

// A Content-Length asks for no memory before the octets come.
func TestReaderDoesNotAllocateForAPromise(t *testing.T) {
	r := NewReader(strings.NewReader(request("l: 60000")))
	if _, _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) || len(r.buf) != smallBuffer {
		t.Errorf("%v, buffer of %d", err, len(r.buf))
	}
}

func FuzzReader(f *testing.F) {
	for _, b := range tortureFiles(f) {
		f.Add(b, uint64(1))
	}
	f.Add([]byte("\r\n\r\n"+stream("OPTIONS", "")+"\r\n"+stream("MESSAGE", "\r\n\r\n")), uint64(2))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		// However the octets are cut, the same comes out.
		rnd := rand.New(rand.NewPCG(seed, 0))
		src := &chunks{end: io.EOF}
		for rest := b; len(rest) > 0; {
			n := 1 + rnd.IntN(min(len(rest), 64))
			src.parts, rest = append(src.parts, rest[:n]), rest[n:]
		}
		whole := readAll(NewReader(bytes.NewReader(b)))
		if d := cmp.Diff(whole, readAll(NewReader(src))); d != "" {
			t.Fatal(d)
		}
		// And the first message is the one that a datagram of the same octets holds.
		m, err := Parse(b)
		if err != nil || !m.Has(ContentLength) {
			return
		}
		r := NewReader(bytes.NewReader(b))
		sm, ping, err := r.Next()
		for ping {
			sm, ping, err = r.Next()
		}
		if err != nil {
			t.Fatalf("stream: %v", err)
		}
		if d := cmp.Diff(m, sm); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, b := range tortureFiles(f) {
		f.Add(b)
	}
	f.Add(invite1k)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if m == nil {
			if err == nil {
				t.Fatal("neither message nor error")
			}
			return
		}
		use(m)
		if err != nil {
			return
		}
		out := m.AppendTo(nil)
		if len(out) > MaxMessage {
			return
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%v\nin  %q\nout %q", err, b, out)
		}
		if second := again.AppendTo(nil); !bytes.Equal(out, second) {
			t.Fatalf("not the same twice:\n%q\n%q", out, second)
		}
	})
}

// use calls everything that looks into a message.
func use(m *Message) {
	_, _ = m.TopVia()
	_, _ = m.CSeq()
	_, _ = m.Hops()
	_ = NewResponse(m, 400, "", "tag").AppendTo(nil)
	for _, n := range []Name{Via, Route, RecordRoute, Contact, Path, Supported} {
		for _, v := range m.Values(n) {
			_, _ = ParseVia(v)
			_, _ = ParseRoute(v)
			if c, err := ParseContact(v); err == nil {
				_, _ = ParseURI(c.URI)
			}
		}
	}
	c := m.Clone()
	c.SetFirstValue(Via, "SIP/2.0/UDP h")
	for _, ok := c.PopValue(Via); ok; {
		_, ok = c.PopValue(Via)
	}
}
