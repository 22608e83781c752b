// Package sdp reads where a session description (RFC 8866, RFC 4566) says that media goes, and writes other places into it. It is no model of
// SDP: every octet that does not name such a place stays as it came. Package media calls it; it calls nobody.
package sdp

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Errors of Parse.
var (
	ErrSyntax = errors.New("sdp: not a session description")
	ErrLimit  = errors.New("sdp: more than is looked at")
)

// Description is a session description with the places in it. It refers to the octets that it was parsed from and does not change.
type Description struct {
	text    []byte
	lines   []line
	conn    int // session-level c= line, -1: none
	Streams []Stream
}

// Stream is a media description: an m= line and what follows.
type Stream struct {
	Media string // audio, video
	Proto string // RTP/AVP, UDP/TLS/RTP/SAVPF, udptl
	Port  uint16 // 0: rejected, or not in use (RFC 3264 §6)
	Ports int    // of "port/ports", 1 without
	// Addr is where media goes; not valid when a name stands there. It is unspecified for a stream on hold as RFC 2543 had it.
	Addr      netip.Addr
	RTCP      netip.AddrPort // where RTCP goes (RFC 3605); not valid: Addr, and the port after Port
	Mux       bool           // RTP and RTCP may share a port (RFC 5761)
	ICE       bool           // it has candidates or credentials of ICE, its own or the session's
	Direction Direction
	line      int // m=
	conn      int // own c= line, -1: the session's
	rtcp      int // a=rtcp line, -1: none
}

// Direction is who sends, seen from the one who wrote the description (RFC 3264 §5.1).
type Direction uint8

// The directions.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

var directions = map[string]Direction{"sendrecv": SendRecv, "sendonly": SendOnly, "recvonly": RecvOnly, "inactive": Inactive}

// Datagrams reports whether the stream is one of UDP datagrams, which can be relayed without a look inside.
func (s *Stream) Datagrams() bool {
	// RFC 4145 §3 and others: "TCP" begins the names of those over TCP.
	return !strings.HasPrefix(strings.ToUpper(s.Proto), "TCP") && s.Ports == 1
}

// WebRTC reports whether the stream is one of a browser: it has ICE and DTLS, and no browser does without (RFC 8827 §6.5, RFC 8835 §3.4).
func (s *Stream) WebRTC() bool {
	return s.ICE && strings.HasPrefix(strings.ToUpper(s.Proto), "UDP/TLS/")
}

// line is one line: text[start:end], without its end of line.
type line struct{ start, end int }

// Parse reads a description. Its lines may end in CRLF or LF. b must not change from then on.
func Parse(b []byte) (*Description, error) {
	if len(b) > maxText {
		return nil, ErrLimit
	}
	d := &Description{text: b, conn: -1}
	if !bytes.HasPrefix(b, []byte("v=0\r\n")) && !bytes.HasPrefix(b, []byte("v=0\n")) {
		return nil, ErrSyntax // RFC 8866 §5.1: "This memo defines version 0"
	}
	var session level
	for at := 0; at < len(b); {
		end, next := len(b), len(b)
		if i := bytes.IndexByte(b[at:], '\n'); i >= 0 {
			end, next = at+i, at+i+1
			if end > at && b[end-1] == '\r' {
				end--
			}
		}
		d.lines = append(d.lines, line{at, end})
		if len(d.lines) > maxLines {
			return nil, ErrLimit
		}
		if err := d.line(len(d.lines)-1, &session); err != nil {
			return nil, err
		}
		at = next
	}
	return d, nil
}

// level is what the session part says for streams that say nothing themselves.
type level struct {
	addr      netip.Addr
	ice       bool
	direction Direction
}

func (d *Description) line(i int, session *level) error {
	text := string(d.text[d.lines[i].start:d.lines[i].end])
	if text == "" {
		return nil // an empty line at the end is common
	}
	if len(text) < 2 || text[1] != '=' {
		return ErrSyntax
	}
	var s *Stream
	if n := len(d.Streams); n > 0 {
		s = &d.Streams[n-1]
	}
	switch text[0] {
	case 'm':
		return d.media(i, text[2:], session)
	case 'c':
		return d.connection(i, text[2:], s, session)
	case 'a':
		return attribute(i, text[2:], s, session)
	}
	return nil
}

// media reads m=<media> <port>["/"<number of ports>] <proto> <fmt> .. (RFC 8866 §5.14).
func (d *Description) media(i int, value string, session *level) error {
	if len(d.Streams) >= maxStreams {
		return ErrLimit
	}
	f := words(value)
	if len(f) < 4 {
		return ErrSyntax
	}
	port, count, several := strings.Cut(f[1], "/")
	p, err := strconv.ParseUint(port, 10, 16)
	n := uint64(1)
	if err == nil && several {
		n, err = strconv.ParseUint(count, 10, 16)
	}
	if err != nil || n == 0 {
		return ErrSyntax
	}
	d.Streams = append(d.Streams, Stream{Media: f[0], Proto: f[2], Port: uint16(p), Ports: int(n), Addr: session.addr, ICE: session.ice,
		Direction: session.direction, line: i, conn: -1, rtcp: -1})
	return nil
}

// connection reads c=<nettype> <addrtype> <connection-address> (RFC 8866 §5.7). A stream with several such lines keeps the last.
func (d *Description) connection(i int, value string, s *Stream, session *level) error {
	f := words(value)
	if len(f) < 3 {
		return ErrSyntax
	}
	addr := address(f[2])
	if s == nil {
		d.conn, session.addr = i, addr
		return nil
	}
	s.conn, s.Addr = i, addr
	return nil
}

// words splits a value where the writer does: at blanks and tabs, and at nothing else that counts as white space elsewhere.
func words(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r < utf8.RuneSelf && space(byte(r)) })
}

// address reads an address; a name, a multicast address with its TTL and anything else give one that is not valid.
func address(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}

func attribute(i int, value string, s *Stream, session *level) error {
	name, arg, _ := strings.Cut(value, ":")
	name = strings.TrimSpace(name)
	direction, isDirection := directions[name]
	switch {
	case isDirection && s == nil:
		session.direction = direction
	case isDirection:
		s.Direction = direction
	case name == "ice-ufrag" || name == "candidate":
		if s == nil {
			session.ice = true
		} else {
			s.ICE = true
		}
	case s == nil:
	case name == "rtcp-mux" || name == "rtcp-mux-only":
		s.Mux = true
	case name == "rtcp":
		return s.readRTCP(i, arg)
	}
	return nil
}

// readRTCP reads a=rtcp:<port> [<nettype> <addrtype> <connection-address>] (RFC 3605 §2.1).
func (s *Stream) readRTCP(i int, arg string) error {
	f := words(arg)
	if len(f) != 1 && len(f) != 4 {
		return ErrSyntax
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return ErrSyntax
	}
	addr := s.Addr
	if len(f) == 4 {
		addr = address(f[3])
	}
	s.rtcp, s.RTCP = i, netip.AddrPortFrom(addr, uint16(port))
	return nil
}
