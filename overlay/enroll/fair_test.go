package enroll

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestOneSourceDoesNotTakeAllConnections has a client open connections and say nothing.
func TestOneSourceDoesNotTakeAllConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFair(l, 3)
	accepted := make(chan net.Conn, 16)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var open []net.Conn
	for range 3 {
		open = append(open, dial("127.0.0.1"), <-accepted)
	}
	over := dial("127.0.0.1")
	if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the fourth connection: %v", err)
	}
	open = append(open, over, dial("127.0.0.2"), <-accepted)
	_ = open[1].Close()
	_ = open[1].Close() // twice is as good as once
	open = append(open, dial("127.0.0.1"), <-accepted)
	again := dial("127.0.0.1")
	if _, err := again.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one has ended, and two may take its place: %v", err)
	}
	for _, c := range append(open, again) {
		_ = c.Close()
	}
	_ = l.Close()
	<-ended
	if len(f.held) > 0 {
		t.Errorf("%v are still counted", f.held)
	}
}
