package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ends is the two ends of a path inside a synctest bubble, without a kernel and without DTLS: datagrams arrive at once.
type datagramEnd struct {
	in, out chan []byte
	closed  chan struct{}
	once    sync.Once
	fail    error // of Write
}

func datagramPipe() (a, b *datagramEnd) {
	x, y := make(chan []byte, 1024), make(chan []byte, 1024)
	return &datagramEnd{in: x, out: y, closed: make(chan struct{})}, &datagramEnd{in: y, out: x, closed: make(chan struct{})}
}

func (e *datagramEnd) Read(b []byte) (int, error) {
	select {
	case d := <-e.in:
		return copy(b, d), nil
	case <-e.closed:
		return 0, io.EOF
	}
}

func (e *datagramEnd) Write(b []byte) (int, error) {
	if e.fail != nil {
		return 0, e.fail
	}
	e.out <- bytes.Clone(b)
	return len(b), nil
}

func (e *datagramEnd) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func (e *datagramEnd) LocalAddr() net.Addr              { return nil }
func (e *datagramEnd) RemoteAddr() net.Addr             { return nil }
func (e *datagramEnd) SetDeadline(time.Time) error      { return nil }
func (e *datagramEnd) SetReadDeadline(time.Time) error  { return nil }
func (e *datagramEnd) SetWriteDeadline(time.Time) error { return nil }

func (e *datagramEnd) association(budget uint64) *Association {
	return &Association{Conn: e, guard: newGuard(e), budget: budget}
}

// runningDatagram is a DatagramConn whose Run runs, and what it told.
type runningDatagram struct {
	*DatagramConn
	got      chan []byte
	stalled  chan bool
	replaced chan time.Time
	done     chan error
}

func runDatagram(a *Association, peer trust.Identity, max int, receive func([]byte)) *runningDatagram {
	r := &runningDatagram{got: make(chan []byte, 4096), stalled: make(chan bool, 16), replaced: make(chan time.Time, 16),
		done: make(chan error, 1)}
	if receive == nil {
		receive = func(raw []byte) { r.got <- raw }
	}
	r.DatagramConn = NewDatagram(a, peer, 0, Options{MaxMessage: size(max), Receive: receive,
		Stalled: func(s bool) { r.stalled <- s }, Replace: func() { r.replaced <- time.Now() }})
	go func() { r.done <- r.Run() }()
	return r
}

func (r *runningDatagram) finish(t testing.TB) error {
	t.Helper()
	r.Close()
	return receive(t, r.done, "end of Run")
}

// reload is a RELOAD message of about n octets, told by its transaction ID.
func reload(id uint64, n int) []byte {
	h := wire.Header{Version: wire.Version, TTL: 100, Fragment: wire.Unfragmented, Transaction: wire.TransactionID(id),
		Destinations: wire.NewDestinationList(wire.ToResource("\x07"))}
	h.Length = uint32(len(h.AppendTo(nil)) + n)
	return append(h.AppendTo(nil), bytes.Repeat([]byte{byte(id)}, n)...)
}

func transaction(t testing.TB, raw []byte) uint64 {
	t.Helper()
	h, _, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatalf("%x: %v", raw, err)
	}
	return uint64(h.Transaction)
}

// frames reads what an end sent, without waiting.
func (e *datagramEnd) frames(t testing.TB) (all []wire.Frame) {
	t.Helper()
	for {
		select {
		case b := <-e.in:
			f, n, err := wire.ParseFrame(b, 1<<20)
			if err != nil || n != len(b) {
				t.Fatalf("%x: %v", b, err)
			}
			all = append(all, f)
		default:
			return all
		}
	}
}

func TestRFC6940_6_6_3_1_BlackHoleIsStalledThenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
		start := time.Now()
		_, _ = link.Send(reload(1, 100)), link.Send(reload(2, 100))
		if !<-link.stalled || time.Since(start) != 3500*ms {
			t.Errorf("stalled after %v", time.Since(start))
		}
		if err := <-link.done; !errors.Is(err, ErrDead) || time.Since(start) != 15500*ms {
			t.Errorf("ended after %v with %v, want ErrDead", time.Since(start), err)
		}
		if left := link.Unsent(); len(left) != 2 || transaction(t, left[0]) != 1 || transaction(t, left[1]) != 2 {
			t.Errorf("left are %x", left)
		}
		if n := len(peer.frames(t)); n != 6 {
			t.Errorf("%d frames, want five of one message and one of the other", n)
		}
		if s := link.Stats(); s.Sent != 2 || s.Copies != 4 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRFC6940_6_6_3_1_LinkIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
		_ = link.Send(reload(1, 100))
		if !<-link.stalled {
			t.Error("not stalled")
		}
		_, _ = peer.Write(wire.AppendAck(nil, 2, 0))
		if <-link.stalled {
			t.Error("not restored")
		}
		time.Sleep(time.Hour)
		if s := link.Stats(); s.Stalled || s.Copies != 3 || s.RTT != 2*time.Second {
			t.Errorf("%+v", s)
		}
		if err := link.finish(t); !errors.Is(err, ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	})
}

// Conformance: A-19
func TestRFC6940_6_6_3_1_HardICMPErrorEndsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err  error
			hard bool
		}{{syscall.ECONNREFUSED, true}, {syscall.ENETUNREACH, false}, {syscall.ENOBUFS, false}} {
			end, _ := datagramPipe()
			end.fail = &net.OpError{Op: "write", Err: c.err}
			link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
			start := time.Now()
			_ = link.Send(reload(1, 100))
			err := <-link.done
			if c.hard && (!errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) != 0) || !c.hard && !errors.Is(err, ErrDead) {
				t.Errorf("%v: ended after %v with %v", c.err, time.Since(start), err)
			}
		}
	})
}

// Conformance: A-12 A-13
func TestRFC6940_6_6_2_DatagramsAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
		for i, seq := range []uint32{1, 3, 4, 5} {
			_, _ = peer.Write(wire.AppendData(nil, seq, reload(uint64(i), 10)))
			synctest.Wait()
		}
		var got []wire.Frame
		for _, f := range peer.frames(t) {
			got = append(got, wire.Frame{Type: f.Type, Sequence: f.Sequence, Received: f.Received})
		}
		want := []wire.Frame{{Type: wire.FrameAck, Sequence: 1}, {Type: wire.FrameAck, Sequence: 3, Received: 2},
			{Type: wire.FrameAck, Sequence: 4, Received: 5}, {Type: wire.FrameAck, Sequence: 5, Received: 0xb}}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		_ = link.finish(t)
	})
}

// A receiver that is busy stops no ACK and no closure, and what it cannot hold is not acknowledged.
func TestBusyReceiverDoesNotStopTheDatagramPump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		release := make(chan struct{})
		link := runDatagram(end.association(0), trust.Identity{}, testMax, func([]byte) { <-release })
		for i := range maxInbox + 10 {
			_, _ = peer.Write(wire.AppendData(nil, uint32(i), reload(uint64(i), 10)))
			synctest.Wait()
		}
		if n := len(peer.frames(t)); n != maxInbox+1 {
			t.Errorf("%d ACKs, want one for each message that is held", n)
		}
		_ = link.Send(reload(1, 10))
		synctest.Wait()
		_, _ = peer.Write(wire.AppendAck(nil, 0, 0))
		synctest.Wait()
		if s := link.Stats(); s.RTT == 0 {
			t.Error("the ACK was not read")
		}
		_ = peer.frames(t)
		link.Close()
		close(release)
		if err := <-link.done; !errors.Is(err, ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestRFC6940_6_6_BadFramesEndTheDatagramLink(t *testing.T) {
	for _, c := range []struct {
		name, frame string
		want        error
	}{
		{"unknown type", "7f0000000000000161", wire.ErrFrame},
		{"data frame without a message", "8000000000000000", wire.ErrFrame},
		{"longer than its record", "800000000000000261", wire.ErrFrame},
		{"half an ACK", "8100000000", wire.ErrFrame},
		{"octets behind a frame", "81000000000000000000", wire.ErrFrame},
		{"message larger than max-message-size", fmt.Sprintf("8000000000%06x61", testMax+slack+1), wire.ErrFrameSize},
	} {
		synctest.Test(t, func(t *testing.T) {
			end, peer := datagramPipe()
			link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
			_, _ = peer.Write(unhex(t, c.frame))
			if err := <-link.done; !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
		})
	}
}

func TestRecordBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(80), trust.Identity{}, testMax, nil)
		for i := range 90 {
			if i == 80 && len(link.replaced) != 1 {
				t.Error("at 80 records nobody was asked to replace the link")
			}
			select {
			case <-link.done:
				t.Fatalf("ended after %d records", i)
			default:
			}
			_, _ = peer.Write(wire.AppendData(nil, uint32(i), reload(uint64(i), 10)))
			synctest.Wait()
		}
		if err := <-link.done; !errors.Is(err, ErrWorn) || len(link.replaced) != 1 {
			t.Errorf("ended with %v; asked %d times", err, len(link.replaced))
		}
	})
}

// A link that is worn gives back every message that it has taken and of which no ACK came, with several under way.
func TestWornLinkLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(80), trust.Identity{}, testMax, nil)
		known := make(map[uint64]int) // acknowledged or given back
		const n = 200
		for i := range uint64(n) {
			if err := link.Send(reload(i, 10)); err != nil {
				t.Fatal(err)
			}
		}
		for open := true; open; {
			time.Sleep(10 * ms)
			for _, f := range peer.frames(t) {
				if f.Sequence%5 != 2 {
					known[transaction(t, f.Message)]++
					_, _ = peer.Write(wire.AppendAck(nil, f.Sequence, 0))
				}
			}
			synctest.Wait()
			select {
			case err := <-link.done:
				if open = false; !errors.Is(err, ErrWorn) {
					t.Errorf("ended with %v", err)
				}
			default:
			}
		}
		acknowledged := len(known)
		for _, raw := range link.Unsent() {
			known[transaction(t, raw)]++
		}
		if acknowledged < 50 || len(known) != n {
			t.Errorf("%d acknowledged, of %d nothing is known", acknowledged, n-len(known))
		}
	})
}

func TestCloseOfADatagramLink(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			end, peer := datagramPipe()
			link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
			for i := range 3 {
				_ = link.Send(reload(uint64(i), 10))
			}
			start := time.Now()
			link.Close()
			if err := link.Send(reload(9, 10)); !errors.Is(err, ErrClosed) {
				t.Errorf("Send after Close: %v", err)
			}
			synctest.Wait()
			if f := peer.frames(t); len(f) != 3 {
				t.Errorf("%d frames: %+v", len(f), f)
			}
			if answers {
				time.Sleep(30 * ms)
				_, _ = peer.Write(wire.AppendAck(nil, 2, 0b11))
			}
			want := flushTimeout
			if answers {
				want = 30 * ms
			}
			if err := <-link.done; !errors.Is(err, ErrClosed) || time.Since(start) != want {
				t.Errorf("answers %v: ended after %v with %v", answers, time.Since(start), err)
			}
			link.Close()
		})
	}
}

func TestSendOfADatagramLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(0), trust.Identity{}, 100_000, nil)
		if err := link.Send(reload(1, 100_000+slack)); !errors.Is(err, ErrTooLong) {
			t.Errorf("too long: %v", err)
		}
		if err := link.Send([]byte("no RELOAD message, and too long for a datagram"[:40])); !errors.Is(err, ErrTooLong) {
			t.Errorf("not RELOAD: %v", err)
		}
		sent := 0
		for ; ; sent++ {
			if err := link.Send(reload(1, 5000)); errors.Is(err, ErrFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if s := link.Stats(); s.Full != 1 || s.Queued > maxQueue || sent < maxQueue/6 {
			t.Errorf("after %d: %+v", sent, s)
		}
		synctest.Wait()
		for _, f := range peer.frames(t) {
			if len(f.Message) > pathMTU-32 {
				t.Errorf("a fragment of %d octets", len(f.Message))
			}
		}
		_ = peer.Close()
		_ = link.finish(t)
	})
}

// RFC 6940 §6.7: with header lists that leave no room, IP fragmentation is allowed.
func TestLongListsGoInLargeDatagrams(t *testing.T) {
	h := wire.Header{Version: wire.Version, Fragment: wire.Unfragmented}
	for i := range 60 {
		id, err := wire.NodeIDFromBytes(bytes.Repeat([]byte{byte(i + 1)}, 16))
		if err != nil {
			t.Fatal(err)
		}
		h.Via = h.Via.Append(wire.ToNode(id))
	}
	h.Destinations = wire.NewDestinationList(wire.ToResource("\x01"))
	for _, c := range []struct{ body, parts, largest int }{{1000, 1, maxWhole}, {20000, 3, maxWhole}} {
		raw := make([]byte, len(h.AppendTo(nil))+c.body)
		h.Length = uint32(len(raw))
		copy(raw, h.AppendTo(nil))
		parts, err := cut(raw)
		if err != nil || len(parts) != c.parts {
			t.Fatalf("%d octets: %d parts, %v", len(raw), len(parts), err)
		}
		for _, p := range parts {
			if len(p) > c.largest {
				t.Errorf("a part of %d octets", len(p))
			}
		}
	}
}

// linked is two running links over DTLS on loopback, with a path in between.
func linked(t testing.TB, through func(server string) string) (left, right *runningDatagram) {
	t.Helper()
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	address := p.address
	if through != nil {
		address = through(address)
	}
	c, s := dialedAt(t, w.dtls(), p, address)
	return runDatagram(c.Association, c.peer, 70_000, nil), runDatagram(s.Association, s.peer, 70_000, nil)
}

func TestMessagesOverDTLS(t *testing.T) {
	left, right := linked(t, nil)
	a := route.NewAssembler(70_000)
	want := reload(5, 30_000)
	for i := range 5 {
		for _, x := range []*runningDatagram{left, right} {
			if err := x.Send(reload(uint64(i), 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := left.Send(want); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5) {
		for _, x := range []*runningDatagram{left, right} {
			if got := transaction(t, receive(t, x.got, "message")); got != i {
				t.Errorf("message %d, want %d", got, i)
			}
		}
	}
	for {
		whole, _, drop := a.Add(time.Now(), wire.NodeID{}, false, receive(t, right.got, "fragment"))
		if drop != "" {
			t.Fatal(drop)
		}
		if whole == nil {
			continue
		}
		if !bytes.Equal(whole, want) {
			t.Error("another message came out")
		}
		break
	}
	if s := left.Stats(); s.RTT <= 0 || s.RTO < minSRRTO || s.Sent != 32 {
		t.Errorf("%+v", s)
	}
	if err := left.finish(t); !errors.Is(err, ErrClosed) {
		t.Errorf("left: %v", err)
	}
	if err := receive(t, right.done, "end of Run"); !errors.Is(err, io.EOF) {
		t.Errorf("right: %v, want EOF", err)
	}
}

// A path that loses and reorders a tenth of the datagrams each way: everything arrives, some of it twice.
func TestMessagesOverALossyPath(t *testing.T) {
	left, right := linked(t, func(server string) string { return newRelay(t, server, 7).address })
	const n = 30
	for i := range uint64(n) {
		for _, x := range []*runningDatagram{left, right} {
			if err := x.Send(reload(i, 200)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []*runningDatagram{left, right} {
		seen := map[uint64]bool{}
		for len(seen) < n {
			seen[transaction(t, receive(t, x.got, "message"))] = true
		}
	}
	for l, r := left.Stats(), right.Stats(); l.Copies+r.Copies == 0; {
		t.Fatalf("no copies on a lossy path: %+v, %+v", l, r)
	}
	_, _ = left.finish(t), right.finish(t)
}

// The peer's process is gone: its host says so, and the link ends long before five copies are out.
func TestRFC6940_6_6_3_1_PortUnreachableOnLoopback(t *testing.T) {
	w := newWorld(t)
	a, b := udpPair(t)
	done := make(chan *Association, 1)
	go func() {
		s, _, err := w.dtls().Server(context.Background(), a, wire.NodeID{})
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	c, peer, err := w.dtls().Client(t.Context(), b, wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	s := receive(t, done, "server")
	link := runDatagram(c, peer, testMax, nil)
	_ = a.Close() // without a closure alert
	_ = link.Send(reload(1, 100))
	if err := receive(t, link.done, "end"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want ECONNREFUSED", err)
	}
	if s := link.Stats(); s.Copies > 1 {
		t.Errorf("%d copies after a hard error", s.Copies)
	}
	_ = s.Close()
}

func BenchmarkDTLSLink(b *testing.B) {
	for _, size := range []int{200, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			left, right := linked(b, nil)
			raw := reload(1, size)
			b.ReportAllocs()
			for b.Loop() {
				if err := left.Send(raw); err != nil {
					b.Fatal(err)
				}
				<-right.got
			}
			_, _ = left.finish(b), right.finish(b)
		})
	}
}

// The association alone, one record at a time.
func BenchmarkDTLSRecords(b *testing.B) {
	w := newWorld(b)
	c, s := dialed(b, w.dtls(), servePackets(b, w.dtls()))
	frame := wire.AppendData(nil, 0, reload(1, 1000))
	buf := make([]byte, maxRecord)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		binary.BigEndian.PutUint32(frame[1:], 1)
		if _, err := c.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
