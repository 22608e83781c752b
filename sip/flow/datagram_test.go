package flow

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// packetPipe is two ends that carry datagrams: net.Pipe does so for a reader with room.
func packetPipe(t testing.TB, tb *Table) net.Conn {
	t.Helper()
	p, q := net.Pipe()
	check(t, tb.AddNode(NodeConn{Conn: p, GR: "g1", Datagram: true}))
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func datagramOf(t testing.TB, c net.Conn) string {
	t.Helper()
	b := make([]byte, maxNodeDatagram)
	n, err := c.Read(b)
	check(t, err)
	return string(b[:n])
}

func parsed(t testing.TB, text string) *message.Message {
	t.Helper()
	m, err := message.Parse([]byte(text))
	check(t, err)
	return m
}

// One message is one datagram, also when several wait, and says DTLS-UDP in our Via alone.
func TestNodeOverDTLSHasAMessageInEachDatagram(t *testing.T) {
	tb, in := newTable(t, Config{Domain: "dht.example.org"})
	q := packetPipe(t, tb)
	to := location.Hop{Node: "g1"}
	const theirs = "SIP/2.0/TLS 192.0.2.7;branch=z9hG4bKy"
	via := tb.Via(to, "z9hG4bKx")
	for range 3 {
		check(t, tb.Send(to, []byte(request(via, "v=0\r\n", "Via: "+theirs)), nil))
	}
	for range 3 {
		m := parsed(t, datagramOf(t, q))
		if v := m.Values(message.Via); len(v) != 2 || v[0] != "SIP/2.0/DTLS-UDP dht.example.org;branch=z9hG4bKx" || v[1] != theirs || string(m.Body) != "v=0\r\n" {
			t.Fatalf("Via %q, body %q", v, m.Body)
		}
	}
	response := message.NewResponse(parsed(t, request(via, "")), 200, "", "x").AppendTo(nil)
	check(t, tb.Send(to, response, nil))
	if got := datagramOf(t, q); got != string(response) {
		t.Errorf("a response was changed: %s", got)
	}

	write(t, q, "not SIP at all")
	write(t, q, request(plainVia, ""))
	from := in.next(t).from
	if from.Transport != DTLS || from.Node != "g1" || tb.Reliable(from) || tb.Reliable(to) || !tb.Reliable(location.Hop{Node: "g2"}) {
		t.Errorf("came from %+v", from)
	}
	if s := tb.Stats(); s.Received[DTLS] != 2 || s.Sent[DTLS] != 4 || s.Dropped["malformed"] != 1 {
		t.Errorf("%+v", s)
	}
}

// RFC 3261 §18.1.1: there is no stream to send it over; what IP can cut is sent, what the other side can not receive is not.
func TestRFC3261_18_1_1_LargeMessageOverDTLS(t *testing.T) {
	tb, _ := newTable(t, Config{Domain: "dht.example.org"})
	q := packetPipe(t, tb)
	to := location.Hop{Node: "g1"}
	r, _ := newReceipt()
	defer r.Release()
	check(t, tb.Send(to, []byte(strings.Repeat("x", maxNodeMessage)), r))
	if n := len(datagramOf(t, q)); n != maxNodeMessage {
		t.Errorf("%d octets", n)
	}
	if err := tb.Send(to, []byte(strings.Repeat("x", maxNodeMessage+1)), nil); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if s := tb.Stats(); s.Dropped["too_long"] != 1 || s.Oversize != 1 {
		t.Errorf("%+v", s)
	}
}

// What waits for a connection and then does not fit is not lost in silence.
func TestTooLongForTheConnectionThatWasOpened(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	tb, _ := newTable(t, Config{DialNode: func(context.Context, string) (NodeConn, error) {
		return NodeConn{Conn: near, GR: "g1", Datagram: true}, nil
	}})
	r, o := newReceipt()
	check(t, tb.Send(location.Hop{Node: "g1"}, []byte(strings.Repeat("x", maxNodeMessage+1)), r))
	if err := o.failed(t); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

// Conformance: H-22
func TestOverlayConnectionOverDTLSIsKeptAliveAndFoundDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, in := pipeTable(Config{Domain: "dht.example.org"})
		defer tb.Close()
		q := packetPipe(t, tb)
		start := time.Now()
		for i := 1; i <= 3; i++ {
			m := parsed(t, datagramOf(t, q))
			if d := time.Since(start); d != time.Duration(i)*pingInterval || m.Method != "OPTIONS" {
				t.Fatalf("%s after %v", m.Method, d)
			}
			write(t, q, string(message.NewResponse(m, 483, "", "x").AppendTo(nil)))
		}
		start = time.Now()
		for _, after := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			_ = datagramOf(t, q)
			if d := time.Since(start); d != pingInterval+after {
				t.Errorf("copy after %v", d)
			}
		}
		if d := ended(q); d != pongWait-8*time.Second {
			t.Errorf("dead %v after the last copy", d)
		}
		if len(in) != 0 {
			t.Error("an answer to a keep-alive was delivered")
		}
	})
}

// A request that nobody answers: the other side is asked soon whether it is there, the connection ends, and a new one is opened.
func TestRequestOverDTLSFindsOutThatTheOtherSideIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, _ := pipeTable(Config{Domain: "dht.example.org"})
		defer tb.Close()
		q := packetPipe(t, tb)
		to := location.Hop{Node: "g1"}
		time.Sleep(10 * time.Second)
		start := time.Now()
		r, o := newReceipt()
		check(t, tb.Send(to, []byte(request(tb.Via(to, "z9hG4bKx"), "")), r))
		for _, after := range []time.Duration{0, askAfter, askAfter + time.Second, askAfter + 2*time.Second, askAfter + 4*time.Second, askAfter + 8*time.Second} {
			_ = datagramOf(t, q)
			if d := time.Since(start); d != after {
				t.Errorf("datagram after %v, want %v", d, after)
			}
		}
		if err := <-o; !errors.Is(err, ErrLost) || time.Since(start) != askAfter+pongWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A keep-alive that is on its way already has its 10 seconds, whatever is sent meanwhile.
func TestRequestOverDTLSWhileAKeepAliveIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, _ := pipeTable(Config{Domain: "dht.example.org"})
		defer tb.Close()
		q := packetPipe(t, tb)
		start := time.Now()
		_ = datagramOf(t, q)
		r, o := newReceipt()
		check(t, tb.Send(location.Hop{Node: "g1"}, []byte(request(plainVia, "")), r))
		ended(q)
		if err := <-o; !errors.Is(err, ErrLost) || time.Since(start) != pingInterval+pongWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// The keep-alives of the other side are answered, and do not keep a connection that nobody uses.
func TestKeepAliveOverDTLSIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, in := pipeTable(Config{Domain: "dht.example.org"})
		defer tb.Close()
		q := packetPipe(t, tb)
		const pace = 21 * time.Second
		start := time.Now()
		for {
			time.Sleep(pace)
			text := strings.Replace(request(plainVia, ""), "Max-Forwards: 70", "Max-Forwards: 0", 1)
			if _, err := q.Write([]byte(text)); err != nil {
				break
			}
			if m := parsed(t, datagramOf(t, q)); m.StatusCode != 200 {
				t.Fatalf("%d", m.StatusCode)
			}
		}
		if d := time.Since(start); d < nodeIdle || d >= nodeIdle+pace {
			t.Errorf("closed within %v", d)
		}
		if len(in) != 0 {
			t.Error("a keep-alive was delivered")
		}
	})
}

// A datagram that a packet filter took says nothing of the next one; a refused one ends the connection.
func TestWriteErrorsOverDTLS(t *testing.T) {
	gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(t, err)
	c, err := net.Dial("udp", gone.LocalAddr().String())
	check(t, err)
	tb, _ := newTable(t, Config{})
	check(t, tb.AddNode(NodeConn{Conn: c, GR: "g1", Datagram: true}))
	to := location.Hop{Node: "g1"}
	r, o := newReceipt()
	check(t, tb.Send(to, []byte(strings.Repeat("x", maxNodeMessage)), r))
	check(t, gone.Close())
	condition(t, "the connection to end", func() bool {
		_ = tb.Send(to, []byte("x"), nil)
		return tb.Stats().Connections["node"] == 0
	})
	if o.failed(t) == nil {
		t.Error("the sender was not told")
	}
}
