package flow

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

const wsVia = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKx"

// dialWS opens a WebSocket for SIP to listener i.
func dialWS(t testing.TB, tb *Table, i int, o *websocket.DialOptions) (*websocket.Conn, error) {
	t.Helper()
	if o == nil {
		o = &websocket.DialOptions{Subprotocols: []string{"sip"}}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: tb.cfg.Roots, ServerName: "gw.example.org", MinVersion: tls.VersionTLS12}}
	o.HTTPClient = &http.Client{Transport: transport}
	scheme := strings.ToLower(tb.Listeners()[i].Transport)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, res, err := websocket.Dial(ctx, scheme+"://"+addr(tb, i).String()+"/any/path", o)
	if err != nil {
		if res != nil {
			err = fmt.Errorf("%s: %w", res.Status, err)
		}
		transport.CloseIdleConnections()
		return nil, err
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(-1)
	return c, nil
}

func mustDialWS(t testing.TB, tb *Table, i int) *websocket.Conn {
	t.Helper()
	c, err := dialWS(t, tb, i, nil)
	check(t, err)
	return c
}

func writeWS(t testing.TB, c *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(t, c.Write(ctx, kind, []byte(text)))
}

func readWS(t testing.TB, c *websocket.Conn) (websocket.MessageType, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, b, err := c.Read(ctx)
	check(t, err)
	return kind, string(b)
}

// Feature: TRN-04
func TestRFC7118_4_2_TextAndBinaryFramesBothWays(t *testing.T) {
	tb, in := newTable(t, Config{}, WS, WSS)
	for i, transport := range []string{WS, WSS} {
		c := mustDialWS(t, tb, i)
		if c.Subprotocol() != "sip" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		for _, v := range []struct {
			kind websocket.MessageType
			body string
		}{{websocket.MessageText, "grüße"}, {websocket.MessageBinary, "\xff\x00"}} {
			writeWS(t, c, v.kind, request(wsVia, v.body))
			a := in.next(t)
			if a.from.Transport != transport || a.from.Flow == 0 || string(a.m.Body) != v.body {
				t.Fatalf("%+v, body %q", a.from, a.m.Body)
			}
			check(t, tb.Send(a.from, a.m.AppendTo(nil), nil))
			if kind, text := readWS(t, c); kind != v.kind || !strings.HasSuffix(text, "\r\n\r\n"+v.body) {
				t.Errorf("%v frame %q, want %v", kind, text, v.kind)
			}
			if via := tb.Via(a.from, "z9hG4bKb"); !strings.HasPrefix(via, "SIP/2.0/"+transport+" 127.0.0.1:") {
				t.Errorf("our Via is %q", via)
			}
		}
	}
	if s := tb.Stats(); s.Received[WS] != 2 || s.Sent[WSS] != 2 || s.Connections["accepted"] != 2 {
		t.Errorf("%+v", s)
	}
}

// RFC 7118 §5: "the use of the Content-Length header in SIP messages is not necessary".
func TestRFC7118_5_ContentLengthIsNotNeededAndMalformedSpoilsNothing(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	c := mustDialWS(t, tb, 0)
	bare := strings.Replace(request(wsVia, "hello"), "Content-Length: 5\r\n", "", 1)
	writeWS(t, c, websocket.MessageText, bare)
	if a := in.next(t); string(a.m.Body) != "hello" {
		t.Fatalf("body %q", a.m.Body)
	}
	writeWS(t, c, websocket.MessageText, strings.Replace(bare, "CSeq: 7", "CSeq: x", 1))
	if _, text := readWS(t, c); !strings.HasPrefix(text, "SIP/2.0 400 ") {
		t.Fatalf("%q", text)
	}
	w, err := c.Writer(t.Context(), websocket.MessageText)
	check(t, err)
	for _, part := range strings.SplitAfter(bare, "\r\n") {
		_, err := io.WriteString(w, part)
		check(t, err)
	}
	check(t, w.Close())
	in.next(t)
}

// RFC 7118 §5: "a WebSocket message MUST NOT contain more than one SIP message", also when many are written at once.
//
// Feature: TRN-04
func TestRFC7118_5_OneMessageInEach(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	c := mustDialWS(t, tb, 0)
	writeWS(t, c, websocket.MessageText, request(wsVia, ""))
	a := in.next(t)
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := tb.Send(a.from, []byte(request(wsVia, fmt.Sprintf("%d/%d", w, i))), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for range writers * each {
		_, text := readWS(t, c)
		m, err := message.Parse([]byte(text))
		check(t, err)
		if strings.Count(text, "OPTIONS sip:") != 1 || seen[string(m.Body)] {
			t.Fatalf("%q", text)
		}
		seen[string(m.Body)] = true
	}
	wg.Wait()
}

func TestRFC7118_4_1_HandshakeWithoutSIPIsRefused(t *testing.T) {
	tb, _ := newTable(t, Config{}, WS)
	for _, o := range []*websocket.DialOptions{{}, {Subprotocols: []string{"chat"}}} {
		if _, err := dialWS(t, tb, 0, o); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%v: %v", o.Subprotocols, err)
		}
	}
	if _, err := dialWS(t, tb, 0, &websocket.DialOptions{Subprotocols: []string{"chat", "sip"}}); err != nil {
		t.Error(err)
	}
	condition(t, "the refused connections to be gone", func() bool { return tb.Stats().Connections["accepted"] == 1 })
	if n := tb.Stats().Dropped["upgrade_failed"]; n != 2 {
		t.Errorf("%d refusals counted", n)
	}
}

// Feature: TRN-04
func TestRFC6455_10_2_OriginIsChecked(t *testing.T) {
	tb, _ := newTable(t, Config{Origins: []string{"phone.example.org", "*.example.net"}}, WS)
	for origin, ok := range map[string]bool{
		"": true, "http://" + addr(tb, 0).String(): true, "https://phone.example.org": true, "https://a.example.net": true,
		"https://evil.example": false, "https://phone.example.org.evil.example": false,
	} {
		o := &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPHeader: http.Header{}}
		if origin != "" {
			o.HTTPHeader.Set("Origin", origin)
		}
		_, err := dialWS(t, tb, 0, o)
		if ok != (err == nil) || !ok && !strings.Contains(err.Error(), "403") {
			t.Errorf("Origin %q: %v", origin, err)
		}
	}
}

func TestWebSocketKeepAlives(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	c := mustDialWS(t, tb, 0)
	writeWS(t, c, websocket.MessageText, "\r\n\r\n")
	if _, text := readWS(t, c); text != "\r\n" {
		t.Fatalf("answer to CRLF CRLF: %q", text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { _, _, _ = c.Read(ctx) }()
	check(t, c.Ping(ctx))
	in.none(t)
	if s := tb.Stats(); s.Dropped["keep_alive"] != 2 {
		t.Errorf("%+v", s.Dropped)
	}
}

func TestWebSocketMessageOverTheLimitEndsTheConnection(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	c := mustDialWS(t, tb, 0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = c.Write(ctx, websocket.MessageText, bytes.Repeat([]byte("x"), message.MaxMessage+1))
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Error(err)
	}
	in.none(t)
	condition(t, "the connection to be gone", func() bool { return tb.Stats().Connections["accepted"] == 0 })
}

// What is not HTTP, or too much of it, ends the connection and nothing else.
func TestWebSocketListenerIsRobust(t *testing.T) {
	tb, _ := newTable(t, Config{}, WS)
	for name, text := range map[string]string{
		"SIP":       request(wsVia, ""),
		"no HTTP":   strings.Repeat("\x00\xff", 9000) + "\r\n\r\n",
		"no end":    "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxUpgrade),
		"HTTP only": "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
	} {
		c := dialTCP(t, addr(tb, 0))
		_, _ = io.WriteString(c, text)
		b, err := io.ReadAll(c)
		if bytes.HasPrefix(b, []byte("HTTP/1.1 101")) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if name == "HTTP only" {
			res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
			check(t, err)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUpgradeRequired {
				t.Errorf("%s: %s", name, res.Status)
			}
		}
	}
	condition(t, "the connections to be gone", func() bool { return tb.Stats().Connections["accepted"] == 0 })
	mustDialWS(t, tb, 0)
}

func TestWebSocketIsNeverDialled(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	c := mustDialWS(t, tb, 0)
	writeWS(t, c, websocket.MessageText, request(wsVia, ""))
	a := in.next(t)
	check(t, c.Close(websocket.StatusNormalClosure, ""))
	condition(t, "the connection to be gone", func() bool { return !tb.Alive(a.from) })
	if err := tb.Send(a.from, []byte("x"), nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// pipeWS is a server connection over a pipe in virtual time, and the client's end of the pipe.
func pipeWS(t *testing.T) (tb *Table, client net.Conn, done chan struct{}) {
	tb = &Table{cfg: Config{MaxConnections: 1, MaxPerAddress: 1}, byFlow: map[uint64]*stream{}, byKey: map[streamKey]*stream{}}
	client, server := net.Pipe()
	s := &stream{conn: server, class: dialled, draining: true}
	check(t, tb.add(s))
	done = make(chan struct{})
	go func() {
		s.serveWebSocket()
		close(done)
	}()
	return tb, client, done
}

func TestWebSocketUpgradeHasTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, done := pipeWS(t)
		defer func() { _ = client.Close() }()
		began := time.Now()
		var writer sync.WaitGroup
		writer.Go(func() {
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 4000)) {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		<-done
		writer.Wait()
		if took := time.Since(began); took < upgradeLimit || took > upgradeLimit+2*time.Second {
			t.Errorf("the slow client held on for %v", took)
		}
	})
}

func TestRFC6455_5_5_2_ADeadWebSocketIsFoundByItsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, client, done := pipeWS(t)
		began := time.Now()
		check(t, func() error {
			_, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
			return err
		}())
		seen, err := io.ReadAll(client) // takes everything and says nothing
		check(t, err)
		<-done
		tb.wg.Wait()
		if took := time.Since(began); took != pingInterval+pongWait {
			t.Errorf("it took %v", took)
		}
		if _, frames, _ := bytes.Cut(seen, []byte("\r\n\r\n")); len(frames) < 2 || frames[0] != 0x89 {
			t.Errorf("no ping in %q", seen)
		}
	})
}

// A WebSocket that has ended is freed. The library puts a finalizer on its connections, with which a circle of references stays for ever.
func TestEndedWebSocketsAreFreed(t *testing.T) {
	tb, in := newTable(t, Config{}, WS)
	for name, end := range map[string]func(c *websocket.Conn, s *stream){
		"by the client": func(c *websocket.Conn, _ *stream) { check(t, c.CloseNow()) },
		"by us":         func(_ *websocket.Conn, s *stream) { s.close(errIdle) },
	} {
		t.Run(name, func(t *testing.T) { endedIsFreed(t, tb, in, end) })
	}
}

func endedIsFreed(t *testing.T, tb *Table, in inbox, end func(c *websocket.Conn, s *stream)) {
	freed := make(chan struct{}, 1)
	c := mustDialWS(t, tb, 0)
	writeWS(t, c, websocket.MessageText, request(wsVia, ""))
	from := in.next(t).from
	tb.mu.Lock()
	s := tb.byFlow[from.Flow]
	tb.mu.Unlock()
	s.mu.Lock()
	runtime.AddCleanup(s.ws, func(struct{}) { freed <- struct{}{} }, struct{}{})
	s.mu.Unlock()
	end(c, s)
	condition(t, "the connection to be gone", func() bool { return !tb.Alive(from) })
	condition(t, "its memory to be freed", func() bool {
		runtime.GC()
		return len(freed) > 0
	})
}
