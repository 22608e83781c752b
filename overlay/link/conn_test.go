package link

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expect reads want from a played peer.
func expect(t testing.TB, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want)/2)
	if _, err := io.ReadFull(from, got); err != nil {
		t.Fatalf("reading %s: %v", want, err)
	}
	if hex.EncodeToString(got) != want {
		t.Fatalf("got %x, want %s", got, want)
	}
}

// Conformance: A-09
func TestRFC6940_6_6_2_FramesSplitAtEveryOctet(t *testing.T) {
	a, b := loopback(t)
	link, peer := linkTo(t, a, b, nil)
	long := bytes.Repeat([]byte{0xd2}, readBuffer+1) // does not fit into the reader's buffer
	frames := wire.AppendData(nil, 7, []byte("first"))
	frames = wire.AppendAck(frames, 99, 0)
	frames = wire.AppendData(frames, 8, []byte("second"))
	short := len(frames)
	frames = wire.AppendData(frames, 9, long)
	cuts := []int{short + 100, len(frames) - 1}
	for i := range short + 10 {
		cuts = append(cuts, i)
	}
	for _, i := range cuts {
		for _, part := range [][]byte{frames[:i], frames[i:]} {
			if _, err := peer.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		for k, want := range [][]byte{[]byte("first"), []byte("second"), long} {
			if got := receive(t, link.got, "message"); !bytes.Equal(got, want) {
				t.Fatalf("split at %d: message %d is %q", i, k, got)
			}
		}
		var acks [3 * wire.AckFrameLen]byte
		if _, err := io.ReadFull(peer, acks[:]); err != nil {
			t.Fatal(err)
		}
	}
	closeAll(peer)
	_ = link.wait(t)
}

// Conformance: A-11
func TestRFC6940_6_6_2_SequenceNumbersStartAtZero(t *testing.T) {
	a, b := loopback(t)
	link, peer := linkTo(t, a, b, nil)
	for i, want := range []string{"8000000000000002" + "6869", "8000000001000002" + "6869", "8000000002000002" + "6869"} {
		if err := link.Send([]byte("hi")); err != nil {
			t.Fatalf("Send %d: %v", i, err)
		}
		expect(t, peer, want)
	}
	closeAll(peer)
	_ = link.wait(t)
}

// Conformance: A-12 A-13
func TestRFC6940_6_6_2_AckReportsWhatWasReceived(t *testing.T) {
	a, b := loopback(t)
	link, peer := linkTo(t, a, b, nil)
	for _, c := range []struct {
		seq uint32
		ack string
	}{{1, "810000000100000000"}, {3, "810000000300000002"}, {4, "810000000400000005"}, {5, "81000000050000000b"}} {
		if _, err := peer.Write(wire.AppendData(nil, c.seq, []byte("x"))); err != nil {
			t.Fatal(err)
		}
		expect(t, peer, c.ack)
	}
	closeAll(peer)
	_ = link.wait(t)
}

// Conformance: A-10
func TestAcksAreNotAcknowledged(t *testing.T) {
	left, right := pair(t, nil, nil)
	if err := left.Send([]byte("once")); err != nil {
		t.Fatal(err)
	}
	receive(t, right.got, "message")
	_, _ = left.finish(t), right.wait(t)
	if l, r := left.Stats(), right.Stats(); l.Sent != 1 || l.Received != 0 || r.Sent != 0 || r.Received != 1 {
		t.Errorf("left %+v\nright %+v", l, r)
	}
}

// Conformance: A-23 A-41 A-44
func TestRFC6940_6_6_BadFramesEndTheLink(t *testing.T) {
	limit := testMax + slack
	for _, c := range []struct {
		name, frame string
		want        error
	}{
		{"unknown type", "7f0000000000000161", wire.ErrFrame},
		{"SIP on a RELOAD link", hex.EncodeToString([]byte("INVITE sip:bob@example.org SIP/2.0")), wire.ErrFrame},
		{"data frame without a message", "8000000000000000", wire.ErrFrame},
		{"message larger than max-message-size, header only", fmt.Sprintf("8000000000%06x", limit+1), wire.ErrFrameSize},
		{"largest message there is, and all its octets", "8000000000ffffff" + strings.Repeat("00", 1<<24-1), wire.ErrFrameSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := loopback(t)
			link, peer := linkTo(t, a, b, nil)
			go func() { _, _ = peer.Write(unhex(t, c.frame)) }() // it may be cut short
			if err := link.wait(t); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := io.Copy(io.Discard, peer); err != nil {
				t.Errorf("the peer reads %v, want a closure alert", err)
			}
			closeAll(peer)
		})
	}
}

// The receiver sees the beginning of a message that is too long, answers it, and closes: the other side reads the answer although it
// has not sent all yet.
//
// Conformance: A-23
func TestRFC6940_6_6_TooLongMessageIsAnswered(t *testing.T) {
	a, b := loopback(t)
	begun := make(chan []byte, 1)
	link, peer := linkTo(t, a, b, func(raw []byte) { begun <- raw })
	limit := testMax + slack
	if _, err := peer.Write(append(unhex(t, "8000000000ffffff"), bytes.Repeat([]byte{0x5a}, limit+100)...)); err != nil {
		t.Fatal(err)
	}
	if raw := receive(t, begun, "beginning of the message"); len(raw) != limit {
		t.Errorf("%d octets", len(raw))
	}
	if err := link.Send([]byte("too large")); err != nil {
		t.Fatal(err)
	}
	link.Close()
	if err := link.wait(t); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	got, err := io.ReadAll(peer)
	if want := unhex(t, "8000000000000009"); err != nil || !bytes.Contains(got, append(want, "too large"...)) {
		t.Errorf("the peer reads %x, %v", got, err)
	}
	closeAll(peer)
}

func TestLargestMessagePasses(t *testing.T) {
	left, right := pair(t, nil, nil)
	big := bytes.Repeat([]byte{0x5a}, testMax+slack)
	for range maxQueueOctets/len(big) + 2 { // more than the queue holds at a time
		if err := left.Send(big); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, right.got, "message"); !bytes.Equal(got, big) {
			t.Fatalf("%d octets arrived, want %d", len(got), len(big))
		}
	}
	if err := left.Send(append(big, 0)); !errors.Is(err, ErrTooLong) {
		t.Errorf("one octet more: %v, want ErrTooLong", err)
	}
	if s := left.Stats(); s.Queued != 0 || s.QueuedOctets != 0 {
		t.Errorf("after all: %+v", s)
	}
	_, _ = left.finish(t), right.wait(t)
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	left, right := pair(t, nil, nil)
	const n = 200
	for i := range n {
		if err := right.Send([]byte{1, byte(i)}); err != nil { // something for left to leave unread
			t.Fatal(err)
		}
		if err := left.Send([]byte{0, byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := left.finish(t); !errors.Is(err, ErrClosed) {
		t.Errorf("Run returned %v, want ErrClosed", err)
	}
	if err := right.wait(t); !errors.Is(err, io.EOF) {
		t.Errorf("the peer's Run returned %v, want EOF", err)
	}
	for i := range n {
		if got := receive(t, right.got, "message"); got[1] != byte(i) {
			t.Fatalf("message %d is %v", i, got)
		}
	}
	if err := left.Send([]byte("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
	left.Close()
}

// A connection that is closed with octets unread is reset, and the reset can overtake the last message.
func TestCloseWaitsForThePeersClosureAlert(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			link, peer := pipe(t, nil)
			start := time.Now()
			go func() {
				_, _ = io.Copy(io.Discard, peer)
				if answers {
					time.Sleep(flushTimeout / 2)
					_ = peer.Close()
				}
			}()
			want := flushTimeout
			if answers {
				want /= 2
			}
			_ = link.finish(t)
			if d := time.Since(start); d != want {
				t.Errorf("closed after %v, want %v", d, want)
			}
			_ = peer.Close()
		})
	}
}

func TestOrderBothWays(t *testing.T) {
	const n = 2000
	left, right := pair(t, nil, nil)
	send := func(r *running) {
		for i := 0; i < n; {
			err := r.Send(fmt.Appendf(nil, "%d", i))
			switch {
			case err == nil:
				i++
			case !errors.Is(err, ErrFull):
				t.Errorf("Send: %v", err)
				return
			}
		}
	}
	go send(left)
	go send(right)
	for i := range n {
		want := fmt.Sprint(i)
		if a, b := string(receive(t, left.got, "message")), string(receive(t, right.got, "message")); a != want || b != want {
			t.Fatalf("message %d is %s and %s", i, a, b)
		}
	}
	if s := left.Stats(); s.RTT <= 0 || s.RTO != minRTO {
		t.Errorf("RTT %v, RTO %v; want a measurement, and the floor of RFC 6298 §2.4 on loopback", s.RTT, s.RTO)
	}
	_, _ = left.finish(t), right.wait(t)
}

// pipe is linkTo inside a synctest bubble: a connection without a kernel, so that time moves only when everybody waits.
func pipe(t *testing.T, receive func([]byte)) (*running, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	return linkTo(t, a, b, receive)
}

// frozen starts a peer that reads everything and says nothing.
func frozen(peer io.Reader) { go func() { _, _ = io.Copy(io.Discard, peer) }() }

// Conformance: A-22 A-43
func TestRFC6940_6_6_5_SilentPeerIsStalledThenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, peer := pipe(t, nil)
		frozen(peer)
		start := time.Now()
		_ = link.Send([]byte("hello?"))
		if !<-link.stalled || time.Since(start) != initialRTO {
			t.Errorf("stalled after %v, want %v", time.Since(start), initialRTO)
		}
		if err := <-link.done; !errors.Is(err, ErrDead) || time.Since(start) != initialRTO+retention {
			t.Errorf("ended after %v with %v, want ErrDead after %v", time.Since(start), err, initialRTO+retention)
		}
		_ = peer.Close()
	})
}

// Conformance: A-22
func TestRFC6940_6_6_AcksRestoreTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, peer := pipe(t, nil)
		frozen(peer)
		_ = link.Send([]byte("hello?"))
		if !<-link.stalled {
			t.Error("not stalled")
		}
		time.Sleep(20 * time.Second)
		if _, err := peer.Write(wire.AppendAck(nil, 0, 0)); err != nil {
			t.Fatal(err)
		}
		if <-link.stalled {
			t.Error("not restored")
		}
		time.Sleep(time.Hour)
		if s := link.Stats(); s.Stalled || s.RTT != 21*time.Second || s.RTO != retention {
			t.Errorf("after an hour without traffic: %+v", s)
		}
		_ = link.finish(t)
		_ = peer.Close()
	})
}

func TestIdleLinkIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, peer := pipe(t, nil)
		frozen(peer)
		time.Sleep(24 * time.Hour)
		if err := link.finish(t); !errors.Is(err, ErrClosed) || len(link.stalled) != 0 {
			t.Errorf("ended with %v, %d stalls", err, len(link.stalled))
		}
		_ = peer.Close()
	})
}

// While this side does not read, the peer's ACKs lie in the socket: no reason to blame the peer.
func TestBusyReceiverDoesNotBlameThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const busy = 10*time.Minute - 100*time.Millisecond
		link, peer := pipe(t, func([]byte) { time.Sleep(busy) })
		frozen(peer)
		if _, err := peer.Write(wire.AppendData(nil, 0, []byte("work"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = link.Send([]byte("question"))
		time.Sleep(busy + initialRTO/2) // the ACK is sent and read half an RTO after the reader is back
		if _, err := peer.Write(wire.AppendAck(nil, 0, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(link.stalled) != 0 {
			t.Error("stalled")
		}
		_ = link.finish(t)
		_ = peer.Close()
	})
}

func TestStuckWriterEndsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, peer := pipe(t, nil) // the peer does not read
		start := time.Now()
		var err error
		for n := 0; err == nil; n++ {
			err = link.Send(make([]byte, 1000))
		}
		if !errors.Is(err, ErrFull) {
			t.Fatalf("Send: %v, want ErrFull", err)
		}
		if s := link.Stats(); s.Full != 1 || s.Queued > maxQueue {
			t.Errorf("stats %+v", s)
		}
		if err := <-link.done; err == nil || time.Since(start) != writeTimeout {
			t.Errorf("ended after %v with %v, want a write error after %v", time.Since(start), err, writeTimeout)
		}
		_ = peer.Close()
	})
}

func TestQueueIsBoundedInOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, peer := pipe(t, nil)
		octets := 0
		for link.Send(make([]byte, testMax+slack)) == nil {
			octets += testMax + slack
		}
		if octets < maxQueueOctets/2 || octets > maxQueueOctets+maxBatch+testMax+slack {
			t.Errorf("%d octets were queued, the limit is %d", octets, maxQueueOctets)
		}
		_ = link.finish(t)
		_ = peer.Close()
	})
}

func TestFrameThatDoesNotEnd(t *testing.T) {
	for _, begun := range []string{"80", "80000000000000", "800000000000000a61", "81000000"} {
		synctest.Test(t, func(t *testing.T) {
			link, peer := pipe(t, nil)
			time.Sleep(time.Hour) // silence between frames is fine
			start := time.Now()
			if _, err := peer.Write(unhex(t, begun)); err != nil {
				t.Fatal(err)
			}
			frozen(peer)
			if err := <-link.done; err == nil || time.Since(start) != frameTimeout {
				t.Errorf("%s: ended after %v with %v, want %v", begun, time.Since(start), err, frameTimeout)
			}
			_ = peer.Close()
		})
	}
}

func TestPeerThatVanishes(t *testing.T) {
	a, b := loopback(t)
	link, peer := linkTo(t, a, b, nil)
	closeAll(peer) // no closure alert
	if err := link.wait(t); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
}

func TestCloseBeforeRun(t *testing.T) {
	a, b := loopback(t)
	w := newWorld(t)
	c, s := shake(t, w.tls(), w.tls(), a, b)
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	link := New(c.conn, c.peer, Options{MaxMessage: size(testMax), Receive: func([]byte) {}})
	link.Close()
	go func() {
		_, _ = io.Copy(io.Discard, s.conn)
		closeAll(s.conn)
	}()
	if err := link.Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	back := make(chan struct{}, 1)
	var echo *running
	left, right := pair(b, func([]byte) { back <- struct{}{} }, func(raw []byte) { _ = echo.Send(raw) })
	echo = right
	message := make([]byte, 1200)
	b.ReportAllocs()
	for b.Loop() {
		if err := left.Send(message); err != nil {
			b.Fatal(err)
		}
		<-back
	}
	_, _ = left.finish(b), right.wait(b)
}

// A link is not made anew for a configuration in which messages may be longer.
func TestRFC6940_11_1_TheLimitOfMessagesMayChange(t *testing.T) {
	w := newWorld(t)
	a, b := loopback(t)
	c, s := shake(t, w.tls(), w.tls(), a, b)
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	var limit atomic.Int64
	limit.Store(testMax)
	got, ended := make(chan []byte, 1), make(chan error, 2)
	options := Options{MaxMessage: func() int { return int(limit.Load()) }, Receive: func(raw []byte) { got <- raw }}
	left, right := New(c.conn, c.peer, options), New(s.conn, s.peer, options)
	go func() { ended <- left.Run() }()
	go func() { ended <- right.Run() }()
	for _, n := range []int{testMax, 10 * testMax} { // with the first one both have begun to wait for more
		limit.Store(int64(n))
		if err := left.Send(reload(1, n-100)); err != nil {
			t.Fatal(err)
		}
		select {
		case raw := <-got:
			if len(raw) < n-100 {
				t.Errorf("%d octets of %d", len(raw), n)
			}
		case err := <-ended:
			t.Fatalf("a message of %d octets ended the link: %v", n, err)
		}
	}
	left.Close()
	right.Close()
	<-ended
	<-ended
}
