package flow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// errUpgrade is why a connection ended that did not become a WebSocket for SIP.
var errUpgrade = errors.New("flow: not upgraded to WebSocket")

// serveWebSocket takes the HTTP request that the connection begins with, and reads SIP from then on (RFC 7118 §4). There is
// one request on a connection and no HTTP server: what it would bring along, goroutines and time-outs, the stream has.
func (s *stream) serveWebSocket() {
	defer s.t.wg.Done()
	src := &source{s: s, heard: time.Now(), until: time.Now().Add(upgradeLimit)}
	ws, err := s.upgrade(src)
	if err != nil {
		s.t.counters.drop(refuseUpgrade)
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite() // the client sees the end of the answer, and closes
		}
		s.linger()
		return
	}
	src.until, src.heard = time.Time{}, time.Now()
	s.mu.Lock()
	s.ws, s.draining = ws, false
	s.mu.Unlock()
	s.close(s.readWebSocket(src, ws))
	// The library has a finalizer on its connection, which is part of a circle: nothing of it is ever freed until it has been told of
	// the end. Nobody reads any more, so the stream is let go as well.
	_ = ws.CloseNow()
	src.s = nil
}

// upgrade answers the HTTP request. RFC 6455 §4.2.1 and the Origin check are the library's.
func (s *stream) upgrade(src *source) (*websocket.Conn, error) {
	limit := &io.LimitedReader{R: src, N: maxUpgrade}
	in := bufio.NewReaderSize(limit, wsBuffer)
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	res := &upgrader{src: src, in: in, header: http.Header{}}
	if !offersSIP(req.Header) {
		// RFC 7118 §4.1: the client "MUST include the value "sip" as part of the list of supported subprotocols".
		http.Error(res, "want Sec-WebSocket-Protocol: sip", http.StatusBadRequest)
		return nil, errUpgrade
	}
	return websocket.Accept(res, req, &websocket.AcceptOptions{
		Subprotocols: []string{"sip"}, OriginPatterns: s.t.cfg.Origins, OnPingReceived: s.t.pingReceived,
	})
}

func offersSIP(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "sip") {
				return true
			}
		}
	}
	return false
}

func (t *Table) pingReceived(context.Context, []byte) bool {
	t.counters.drop(dropKeepAlive)
	return true
}

// readWebSocket runs until the connection ends, and tells why it did.
func (s *stream) readWebSocket(src *source, ws *websocket.Conn) error {
	ws.SetReadLimit(message.MaxMessage)
	ctx := context.Background() // the source keeps the time, and the end of the table closes the connection
	for {
		_, r, err := ws.Reader(ctx)
		if err != nil {
			return err
		}
		src.begun = time.Now()
		b, err := io.ReadAll(r)
		src.begun = time.Time{}
		if err != nil {
			return err
		}
		if s.keptAlive(src, b) {
			continue
		}
		src.any = true
		s.touch()
		// RFC 7118 §5: one message in each, so that Content-Length is not needed, and a malformed one spoils no other.
		m, err := message.Parse(b)
		s.t.deliver(m, message.AsParseError(err), s.hop)
	}
}

// keptAlive takes the CRLF keep-alive of RFC 5626 §4.4.1, which RFC 7118 §6 has here too.
func (s *stream) keptAlive(src *source, b []byte) bool {
	if !junk(b) {
		return false
	}
	if src.pings++; bytes.Equal(b, crlfcrlf) && src.pings <= maxPings {
		_ = s.send(crlf, nil)
	}
	s.t.counters.drop(dropKeepAlive)
	return true
}

// putWebSocket sends one message. RFC 7118 §4.2: one with a symbol that is not UTF-8 "MUST be sent within a WebSocket binary message".
func putWebSocket(ws *websocket.Conn, b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeStuck)
	defer cancel()
	kind := websocket.MessageText
	if !utf8.Valid(b) {
		kind = websocket.MessageBinary
	}
	return ws.Write(ctx, kind, b)
}

// pingWebSocket sends a ping and waits for its pong, beside the reader, which is the caller (RFC 7118 §6, RFC 6455 §5.5.2).
func (s *stream) pingWebSocket() {
	s.t.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), pongWait)
		defer cancel()
		if s.ws.Ping(ctx) != nil {
			s.close(errPong)
		}
	})
}

// upgrader is the http.ResponseWriter and http.Hijacker of one connection.
type upgrader struct {
	src    *source
	in     *bufio.Reader
	header http.Header
	wrote  bool
}

// Header implements http.ResponseWriter.
func (u *upgrader) Header() http.Header { return u.header }

// WriteHeader implements http.ResponseWriter.
func (u *upgrader) WriteHeader(status int) {
	if u.wrote {
		return
	}
	u.wrote = true
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if status != http.StatusSwitchingProtocols {
		u.header.Set("Connection", "close")
	}
	_ = u.header.Write(&b)
	b.WriteString("\r\n")
	_, _ = u.Write(b.Bytes()) // a connection that is gone shows when it is read
}

// Write implements http.ResponseWriter.
func (u *upgrader) Write(b []byte) (int, error) {
	u.WriteHeader(http.StatusOK)
	if err := u.src.s.conn.SetWriteDeadline(time.Now().Add(writeStuck)); err != nil {
		return 0, err
	}
	return u.src.s.conn.Write(b)
}

// Hijack implements http.Hijacker: the connection is ours in any case.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &sourced{u.src.s.conn, u.src}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	return c, bufio.NewReadWriter(u.in, bufio.NewWriterSize(c, wsBuffer)), nil
}

// sourced is a connection that is read through its source, which keeps the time.
type sourced struct {
	net.Conn
	src *source
}

// Read implements net.Conn.
func (c *sourced) Read(b []byte) (int, error) { return c.src.Read(b) }
