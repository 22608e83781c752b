package link

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// relay is a UDP path for one client. Each way it loses one datagram in ten, and holds back another one for up to 20 ms,
// so that those behind it overtake. Which ones does not depend on chance: five copies in a row never get lost.
type relay struct{ address string }

// newRelay runs a relay to a server until the test ends.
func newRelay(t testing.TB, server string, first int) *relay {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	clients := make(chan net.Addr, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(clients)
		known := false
		pass(first, func(b []byte) (int, error) {
			n, from, err := front.ReadFrom(b)
			if err == nil && !known {
				known = true
				clients <- from
			}
			return n, err
		}, func(b []byte) { _, _ = back.Write(b) })
	})
	wg.Go(func() {
		if client, ok := <-clients; ok {
			pass(first+3, back.Read, func(b []byte) { _, _ = front.WriteTo(b, client) })
		}
	})
	t.Cleanup(func() {
		_, _ = front.Close(), back.Close()
		wg.Wait()
	})
	return &relay{front.LocalAddr().String()}
}

// pass forwards one direction.
func pass(i int, read func([]byte) (int, error), write func([]byte)) {
	b := make([]byte, 1<<16)
	var held sync.WaitGroup
	defer held.Wait()
	for ; ; i++ {
		n, err := read(b)
		if err != nil {
			return
		}
		switch d := bytes.Clone(b[:n]); i % 10 {
		case 4:
		case 9:
			held.Add(1)
			time.AfterFunc(20*time.Millisecond, func() {
				defer held.Done()
				write(d)
			})
		default:
			write(d)
		}
	}
}
