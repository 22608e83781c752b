package link

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A node that forwards receives over one link and sends over another: it pays for one end of each, which together are both ends of
// one link. So the CPU of one message here is the CPU of a forwarded one, but for the 0.5 µs of the node itself.
func BenchmarkForwarded(b *testing.B) {
	const under = 64 // messages on the way at a time
	// Told apart by their last octets: over DTLS a message may come twice.
	var messages [4 * under][]byte
	for i := range messages {
		messages[i] = reload(uint64(i), 1000)
	}
	measure := func(b *testing.B, send func([]byte) error, got <-chan []byte) {
		var waiting [len(messages)]atomic.Bool
		room := make(chan struct{}, under)
		done := make(chan struct{})
		b.ReportAllocs()
		n, begin := 0, cpu(b)
		start := time.Now()
		counted := make(chan int)
		go func() {
			defer close(done)
			for want, seen := -1, 0; seen != want; {
				select {
				case raw := <-got:
					if waiting[raw[len(raw)-1]].CompareAndSwap(true, false) {
						seen++
						<-room
					}
				case want = <-counted:
				}
			}
		}()
		for b.Loop() {
			room <- struct{}{}
			waiting[n%len(messages)].Store(true)
			if err := send(messages[n%len(messages)]); err != nil {
				b.Fatal(err)
			}
			n++
		}
		counted <- n
		<-done
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "messages/s")
		b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(n), "cpu-µs/message")
	}
	b.Run("TLS", func(b *testing.B) {
		left, right := pair(b, nil, nil)
		measure(b, left.Send, right.got)
		_, _ = left.finish(b), right.wait(b)
	})
	b.Run("DTLS", func(b *testing.B) {
		left, right := linked(b, nil)
		measure(b, left.Send, right.got)
		s := left.Stats()
		b.ReportMetric(float64(s.Copies)/float64(s.Sent), "copies/message")
		_, _ = left.finish(b), right.finish(b)
	})
}

// Memory of one end of a link that has carried a message and is idle: heap and stacks, without the kernel's buffers.
func BenchmarkLinkMemory(b *testing.B) {
	const pairs = 100
	message := reload(1, 1000)
	measure := func(b *testing.B, open func() (send func([]byte) error, got <-chan []byte, end func())) {
		for b.Loop() {
			before := inUse()
			var ends []func()
			for range pairs {
				send, got, end := open()
				if err := send(message); err != nil {
					b.Fatal(err)
				}
				<-got
				ends = append(ends, end)
			}
			b.ReportMetric((inUse()-before)/pairs/2, "octets/end")
			for _, end := range ends {
				end()
			}
		}
	}
	const queue = 8 // of the test's receiver, not of the link
	b.Run("TLS", func(b *testing.B) {
		w := newWorld(b)
		client, server := w.tls(), w.tls()
		measure(b, func() (func([]byte) error, <-chan []byte, func()) {
			x, y := loopback(b)
			c, s := shake(b, client, server, x, y)
			got := make(chan []byte, queue)
			left := New(c.conn, c.peer, Options{MaxMessage: size(testMax), Receive: func([]byte) {}})
			right := New(s.conn, s.peer, Options{MaxMessage: size(testMax), Receive: func(raw []byte) { got <- raw }})
			return left.Send, got, both(left, right)
		})
	})
	b.Run("DTLS", func(b *testing.B) {
		w := newWorld(b)
		p, client := servePackets(b, w.dtls()), w.dtls()
		measure(b, func() (func([]byte) error, <-chan []byte, func()) {
			c, s := dialed(b, client, p)
			got := make(chan []byte, queue)
			left := NewDatagram(c.Association, c.peer, 0, Options{MaxMessage: size(testMax), Receive: func([]byte) {}})
			right := NewDatagram(s.Association, s.peer, 0, Options{MaxMessage: size(testMax), Receive: func(raw []byte) { got <- raw }})
			return left.Send, got, both(left, right)
		})
	})
}

// both runs the two ends of a link and returns what ends them.
func both(left, right Link) (end func()) {
	ended := make(chan error, 2)
	for _, l := range []Link{left, right} {
		go func() { ended <- l.Run() }()
	}
	return func() {
		left.Close()
		right.Close()
		_, _ = <-ended, <-ended
	}
}

// inUse is the memory of heap objects and stacks, after a garbage collection.
func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
