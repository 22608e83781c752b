package link

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The process of a peer dies, and its host says that nobody listens any more: its association ends with the next datagram, on
// the side that has accepted it too, and the others on the same socket go on.
//
// Conformance: A-19
func TestRFC6940_6_6_3_1_HardICMPErrorEndsAnAcceptedAssociation(t *testing.T) {
	for _, c := range []struct{ name, listen, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"}, {"IPv6", "[::1]:0", "::1"}, {"IPv4 on an IPv6 socket", "[::]:0", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := servePacketsAt(t, w.dtls(), c.listen)
			_, port, err := net.SplitHostPort(p.address)
			if err != nil {
				t.Fatal(err)
			}
			address := net.JoinHostPort(c.dial, port)
			stays, far := dialedAt(t, w.dtls(), p, address)

			conn := dialUDP(t, address)
			_, _, err = w.dtls().Client(t.Context(), conn, wire.NodeID{})
			if err != nil {
				t.Fatal(err)
			}
			dies := receive(t, p.accepted, "association")
			_ = conn.Close() // without a word
			read := make(chan error, 1)
			go func() {
				_, err := dies.Read(make([]byte, maxRecord))
				read <- err
			}()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for ended := false; !ended; {
				_, _ = dies.Write([]byte("are you there?"))
				echo(t, stays, far)
				select {
				case err := <-read:
					if !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("read: %v", err)
					}
					ended = true
				case <-tick.C:
				}
			}
			if _, err = dies.Write([]byte("nor now?")); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("write: %v", err)
			}
			_ = dies.Close()
			if len(p.refusals) != 0 {
				t.Errorf("the socket was thought to be broken: %+v", <-p.refusals)
			}
		})
	}
}
