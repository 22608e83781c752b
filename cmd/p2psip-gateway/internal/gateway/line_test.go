package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// line is how a phone reaches its gateway: messages over any transport.
type line interface {
	Write(b []byte) (int, error)
	next() (*message.Message, error)
	LocalAddr() net.Addr
	SetReadDeadline(time.Time) error
	Close() error
}

// dial opens the way to a listener. The certificate of the test gateways is made at their start and signed by nobody.
func dial(t testing.TB, transport string, at netip.AddrPort) line {
	t.Helper()
	w, err := dialWire(transport, at.String())
	if err != nil {
		t.Fatal(transport, at, err)
	}
	return w
}

func dialWire(transport, at string) (line, error) {
	insecure := &tls.Config{InsecureSkipVerify: true}
	switch transport {
	case "UDP":
		c, err := net.Dial("udp", at)
		return &datagrams{c, make([]byte, 65535)}, err
	case "TCP":
		c, err := net.Dial("tcp", at)
		return &octets{c, message.NewReader(c)}, err
	case "TLS":
		c, err := tls.Dial("tcp", at, insecure)
		return &octets{c, message.NewReader(c)}, err
	}
	scheme := map[string]string{"WS": "ws://", "WSS": "wss://"}[transport]
	ctx, cancel := context.WithTimeout(context.Background(), phoneWait)
	defer cancel()
	c, _, err := websocket.Dial(ctx, scheme+at, &websocket.DialOptions{Subprotocols: []string{"sip"},
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: insecure}}})
	return &frames{Conn: c}, err
}

type datagrams struct {
	net.Conn
	buf []byte
}

func (d *datagrams) next() (*message.Message, error) {
	for {
		n, err := d.Read(d.buf)
		if err != nil {
			return nil, err
		}
		if n > 4 { // else a keep-alive
			return message.Parse(d.buf[:n])
		}
	}
}

type octets struct {
	net.Conn
	r *message.Reader
}

func (o *octets) Write(b []byte) (int, error) {
	if err := o.SetWriteDeadline(time.Now().Add(phoneWait)); err != nil {
		return 0, err
	}
	return o.Conn.Write(b)
}

func (o *octets) next() (*message.Message, error) {
	for {
		m, ping, err := o.r.Next()
		if !ping {
			return m, err
		}
	}
}

type frames struct {
	*websocket.Conn
	until time.Time
}

func (f *frames) next() (*message.Message, error) {
	ctx, cancel := context.WithDeadline(context.Background(), f.until)
	defer cancel()
	_, b, err := f.Read(ctx)
	if err != nil {
		return nil, err
	}
	return message.Parse(b)
}

func (f *frames) Write(b []byte) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), phoneWait)
	defer cancel()
	return len(b), f.Conn.Write(ctx, websocket.MessageText, b)
}

func (f *frames) LocalAddr() net.Addr { return nil }

func (f *frames) SetReadDeadline(t time.Time) error {
	f.until = t
	return nil
}

func (f *frames) Close() error { return f.CloseNow() }

// everyTransport are listeners of all transports over both families; the order is that of flow.Table.Listeners.
var everyTransport = List{"udp://127.0.0.1:0", "udp://127.0.0.2:0", "udp://[::1]:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0",
	"tcp://[::1]:0", "tls://[::1]:0", "ws://[::1]:0", "wss://[::1]:0"}

// A phone on each transport and family registers, calls and is called, at its own gateway and at another one, by phones on all others
// what differs between them is bridged, and each hears from the socket that it knows.
//
// Feature: TRN-01 TRN-02 TRN-04 TRN-05 TRN-07
func TestEveryTransportCallsEveryOther(t *testing.T) {
	gs := ringOver(t, 2, 2*len(everyTransport), everyTransport, "tls://127.0.0.1:0")
	var phones []*phone
	for k, g := range gs {
		for i, l := range g.flows.Listeners() {
			p := newPhoneOn(t, userName(k*len(everyTransport)+i), l.Transport, l.Local)
			if res := p.register(300); res.StatusCode != 200 {
				t.Fatalf("REGISTER over %s from %s: %d", l.Transport, l.Local, res.StatusCode)
			}
			phones = append(phones, p)
		}
	}
	for i, p := range phones {
		eventually(t, "the record of "+p.user, func() error { return found(gs[0], p.user, gs[i/len(everyTransport)]) })
	}
	n := len(phones)
	for i, caller := range phones {
		// Each transport with itself at the other gateway, and with others at both: all pairs of kinds in ten steps.
		for _, step := range []int{1, len(everyTransport), 3 + i%7} {
			caller.call(phones[(i+step)%n])
		}
	}
}
