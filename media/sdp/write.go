package sdp

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
)

// Place is where one stream is to go. The zero Place leaves the stream as it is.
type Place struct{ RTP, RTCP uint16 }

// Write returns the description with the streams at the places given, all at one address. There is a place for each stream; a stream whose port is 0
// has none, and one on hold (c=0.0.0.0) keeps its address. Without a change the octets of the description itself are returned. withoutICE removes the
// attributes of ICE from the streams that move, so that the place is the only way to them (RFC 8839 §5).
func (d *Description) Write(addr netip.Addr, places []Place, withoutICE bool) []byte {
	w := writer{d: d, addr: addr, edits: map[int]edit{}}
	all := true // every stream that lives by the session's c= moves
	for i := range d.Streams {
		if s := &d.Streams[i]; s.conn < 0 && s.Port != 0 && places[i] == (Place{}) {
			all = false
		}
	}
	moved := false
	for i := range d.Streams {
		if s := &d.Streams[i]; places[i] != (Place{}) && s.Port != 0 {
			w.stream(s, places[i], all)
			moved = true
		}
	}
	if !moved {
		return d.text
	}
	if all && d.conn >= 0 {
		w.connection(d.conn)
	}
	if withoutICE {
		w.withoutICE(places)
	}
	return w.bytes()
}

type writer struct {
	d     *Description
	addr  netip.Addr
	edits map[int]edit // by line
}

// edit replaces a part of a line.
type edit struct {
	start, end int
	text       string
	after      string // a line to add behind
	drop       bool   // the whole line, and its end
}

func (w *writer) stream(s *Stream, p Place, all bool) {
	start, end := w.field(s.line, 1)
	if i := bytes.IndexByte(w.d.text[start:end], '/'); i >= 0 {
		end = start + i
	}
	w.edits[s.line] = edit{start: start, end: end, text: strconv.Itoa(int(p.RTP))}
	switch {
	case s.conn >= 0:
		w.connection(s.conn)
	case !all:
		w.insert(s)
	}
	if s.rtcp >= 0 {
		w.rtcp(s, p)
	}
}

// connection writes the address into a c= line, unless that says hold.
func (w *writer) connection(i int) {
	start, _ := w.field(i, 1)
	at, end := w.field(i, 2)
	if a := address(string(w.d.text[at:end])); a.IsValid() && a.IsUnspecified() {
		return // RFC 3264 §8.4: older phones put others on hold so, and a place would take them off it
	}
	w.edits[i] = edit{start: start, end: end, text: w.place()}
}

// insert adds a c= line to a stream that had none (RFC 8866 §5: behind m= and i=).
func (w *writer) insert(s *Stream) {
	i := s.line
	if next := i + 1; next < len(w.d.lines) && bytes.HasPrefix(w.d.text[w.d.lines[next].start:], []byte("i=")) {
		i = next
	}
	if s.Addr.IsValid() && s.Addr.IsUnspecified() {
		return
	}
	e := w.edits[i]
	if e.end == 0 {
		e.start, e.end = w.d.lines[i].end, w.d.lines[i].end
	}
	e.after = "c=IN " + w.place()
	w.edits[i] = e
}

// rtcp moves a=rtcp. RFC 5761 §5.1.1: with both on one port it names that port.
func (w *writer) rtcp(s *Stream, p Place) {
	start, end := w.d.lines[s.rtcp].start+len("a="), w.d.lines[s.rtcp].end
	start += bytes.IndexByte(w.d.text[start:end], ':') + 1
	port := p.RTCP
	if s.RTCP.Port() == s.Port {
		port = p.RTP
	}
	if len(words(string(w.d.text[start:end]))) == 1 {
		w.edits[s.rtcp] = edit{start: start, end: end, text: strconv.Itoa(int(port))}
		return
	}
	w.edits[s.rtcp] = edit{start: start, end: end, text: strconv.Itoa(int(port)) + " IN " + w.place()}
}

// place is an address with its type.
func (w *writer) place() string {
	if w.addr.Is4() {
		return "IP4 " + w.addr.String()
	}
	return "IP6 " + w.addr.String()
}

// field is where the n-th word of a line's value begins and ends.
func (w *writer) field(i, n int) (start, end int) {
	l := w.d.lines[i]
	at := l.start + len("m=")
	for ; ; n-- {
		for at < l.end && space(w.d.text[at]) {
			at++
		}
		start = at
		for at < l.end && !space(w.d.text[at]) {
			at++
		}
		if n == 0 {
			return start, at
		}
	}
}

func space(c byte) bool { return c == ' ' || c == '\t' }

// iceAttributes are those of RFC 8839 §5.
var iceAttributes = []string{"candidate", "remote-candidates", "ice-lite", "ice-mismatch", "ice-ufrag", "ice-pwd", "ice-pacing", "ice-options", "end-of-candidates"}

// withoutICE drops the attributes of the streams that move; those of the session when all do.
func (w *writer) withoutICE(places []Place) {
	drop, at := true, 0
	for i := range w.d.Streams {
		if w.d.Streams[i].Port != 0 && places[i] == (Place{}) {
			drop = false
		}
	}
	for i, l := range w.d.lines {
		if at < len(w.d.Streams) && i == w.d.Streams[at].line {
			drop = places[at] != (Place{})
			at++
		}
		value, isAttribute := bytes.CutPrefix(w.d.text[l.start:l.end], []byte("a="))
		name, _, _ := bytes.Cut(value, []byte(":"))
		if drop && isAttribute && slices.Contains(iceAttributes, string(name)) {
			w.edits[i] = edit{drop: true}
		}
	}
}

// bytes puts the text together.
func (w *writer) bytes() []byte {
	text := w.d.text
	out := make([]byte, 0, len(text)+len(w.edits)*32)
	for i, l := range w.d.lines {
		next := len(text)
		if i+1 < len(w.d.lines) {
			next = w.d.lines[i+1].start
		}
		e, edited := w.edits[i]
		switch {
		case !edited:
			out = append(out, text[l.start:next]...)
			continue
		case e.drop:
			continue
		}
		out = append(append(append(out, text[l.start:e.start]...), e.text...), text[e.end:next]...)
		if e.after != "" {
			out = w.add(out, e.after)
		}
	}
	return out
}

// add adds a line, with the end of line that the others have.
func (w *writer) add(out []byte, after string) []byte {
	end := "\n"
	if bytes.HasPrefix(w.d.text, []byte("v=0\r")) {
		end = "\r\n"
	}
	if out[len(out)-1] != '\n' {
		return append(append(out, end...), after...) // the last line has none
	}
	return append(append(out, after...), end...)
}
