package message

import (
	"bytes"
	"errors"
	"strings"
)

// ParseError says what is wrong with a message and which status is owed for it: 400, 414, 505, 513, or 0 when it is
// to be dropped (a response, an ACK, something without Via).
type ParseError struct {
	Status int
	Text   string
	Fatal  bool // on a stream: where the next message starts is not known, so the stream is to be closed
}

func (e *ParseError) Error() string { return "message: " + e.Text }

// Parse reads one whole message (a datagram). CRLFs in front of it are skipped, and what follows its body is ignored.
// b may be used again: the message holds copies. When err is not nil it is a *ParseError, and m holds what could be
// read, enough to answer with; m is nil when Status is 0.
func Parse(b []byte) (m *Message, err error) { return ParseInto(nil, b) }

// ParseInto is Parse into an empty message that nobody else has (see Reset), if it has the room; otherwise, and where it is nil, into a new one.
func ParseInto(room *Message, b []byte) (m *Message, err error) {
	b = skipCRLF(b)
	large := len(b) > MaxMessage
	b = b[:min(len(b), MaxMessage)]
	head, body, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if whole {
		head = b[:len(head)+2]
	}
	h := headReader{m: room}
	h.read(head)
	switch {
	case large:
		h.tooLarge()
	case !whole:
		h.fail(400, "header does not end")
	case h.length > len(body):
		// RFC 3261 §18.3: "If the transport packet ends before the end of the message body, this is considered an
		// error."
		h.fail(400, "body shorter than Content-Length")
	case h.length >= 0:
		// §18.3: "If there are additional bytes in the transport packet beyond the end of the body, they MUST be
		// discarded."
		body = body[:h.length]
	}
	// §18.3: without Content-Length the body reaches to the end of the datagram.
	h.m.setBody(body)
	return h.result()
}

// setBody keeps a copy of the body, nil when it is empty.
func (m *Message) setBody(b []byte) {
	if len(b) > 0 {
		m.Body = bytes.Clone(b)
	}
}

// skipCRLF skips what RFC 3261 §7.5 has ignored "before the start-line" and RFC 5626 §4.4.1 uses to keep a flow alive.
func skipCRLF(b []byte) []byte {
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		b = b[2:]
	}
	return b
}

// headReader is a start line and header being read.
type headReader struct {
	m        *Message
	length   int // Content-Length; -1 without a good one
	seen     uint64
	response bool
	err      *ParseError // the first one
}

// fail notes an error after which the reading can go on.
func (h *headReader) fail(status int, text string) {
	if h.err == nil {
		h.err = &ParseError{Status: status, Text: text}
	}
}

// lost notes an error after which the length of the message cannot be relied on.
func (h *headReader) lost(text string) {
	h.fail(400, text)
	h.err.Fatal = true
}

// tooLarge notes that the message is over MaxMessage, which counts more than what the cut made of it.
func (h *headReader) tooLarge() {
	h.err = &ParseError{Status: 513, Text: "message too large", Fatal: true}
}

// read reads start line and header fields, each ended by CRLF. It always goes on to the end, so that a refusal can be
// built from what is good.
func (h *headReader) read(b []byte) {
	s := string(b)
	fields, m := min(strings.Count(s, "\n")-1, MaxFields), h.m
	if m == nil || cap(m.Fields) < fields+spareFields {
		m = withRoom(fields)
	}
	*h = headReader{length: -1, m: m}
	line, rest := h.line(s)
	h.startLine(line)
	for rest != "" {
		line, rest = h.line(rest)
		if len(h.m.Fields) == MaxFields {
			h.lost("too many header fields")
			break
		}
		h.field(line)
	}
	if !nulQuoted(s) {
		h.lost("NUL in header")
	}
	h.check()
}

// line cuts the first line off s, with the lines that continue it (RFC 3261 §7.3.1), which are joined with one space
// each.
func (h *headReader) line(s string) (line, rest string) {
	line, rest = h.cut(s)
	if rest == "" || !isSpace(rest[0]) {
		return line, rest
	}
	var b strings.Builder
	b.WriteString(trimRight(line))
	for rest != "" && isSpace(rest[0]) {
		line, rest = h.cut(rest)
		b.WriteByte(' ')
		b.WriteString(trim(line))
	}
	return b.String(), rest
}

// cut splits s behind its first CRLF. RFC 3261 §7: each line "MUST be terminated by a carriage-return line-feed
// sequence": one alone in a value would be the end of the line to a neighbour that is more tolerant, and a header
// field nobody has looked at. So such a line comes back empty.
func (h *headReader) cut(s string) (line, rest string) {
	if n := strings.IndexByte(s, '\n'); n > 0 && strings.IndexByte(s[:n], '\r') == n-1 {
		return s[:n-1], s[n+1:]
	}
	h.lost("CR or LF alone, or line that does not end")
	_, rest, _ = strings.Cut(s, "\r\n")
	return "", rest
}

// nulQuoted reports whether each NUL is the second octet of a quoted-pair, the only place for it (RFC 3261 §25.1).
func nulQuoted(s string) bool {
	for at := strings.IndexByte(s, 0); at >= 0; {
		n := 0
		for n < at && s[at-1-n] == '\\' {
			n++
		}
		if n%2 == 0 {
			return false
		}
		next := strings.IndexByte(s[at+1:], 0)
		if next < 0 {
			return true
		}
		at += 1 + next
	}
	return true
}

// startLine reads the Request-Line or Status-Line (RFC 3261 §7.1, §7.2).
func (h *headReader) startLine(s string) {
	if len(s) >= 4 && EqualFold(s[:4], "SIP/") {
		h.response = true
		h.statusLine(s)
		return
	}
	method, rest, _ := strings.Cut(s, " ")
	if all(method, classToken) {
		h.m.Method = method
	} else {
		h.fail(400, "malformed method")
	}
	uri, v, _ := strings.Cut(rest, " ")
	h.m.RequestURI = uri
	switch good, known := version(v); {
	case !good:
		// §7.1: "No CR or LF are allowed except in the end-of-line CRLF sequence. No LWS is allowed in any of the
		// elements."
		h.fail(400, "malformed request line")
	case !known:
		h.fail(505, "version is not SIP/2.0")
	}
	h.requestURI(uri)
}

func (h *headReader) requestURI(s string) {
	u, err := ParseURI(s)
	switch {
	case len(s) > MaxRequestURI:
		h.m.RequestURI = ""
		h.fail(414, "Request-URI too long")
	case err != nil:
		h.fail(400, "malformed Request-URI")
	case u.Headers != "":
		// §19.1.1, table 1: headers are not allowed in a Request-URI (RFC 4475 §3.1.2.11).
		h.fail(400, "headers in Request-URI")
	}
}

// version reads "SIP" "/" 1*DIGIT "." 1*DIGIT; "The SIP-Version string is case-insensitive" (RFC 3261 §7.1).
func version(s string) (good, known bool) {
	if len(s) < 4 || !EqualFold(s[:4], "SIP/") {
		return false, false
	}
	major, minor, _ := strings.Cut(s[4:], ".")
	_, ok := number(major, 1<<16)
	_, ok2 := number(minor, 1<<16)
	return ok && ok2, s[4:] == "2.0"
}

func (h *headReader) statusLine(s string) {
	v, rest, _ := strings.Cut(s, " ")
	code, reason, space := strings.Cut(rest, " ")
	n, ok := number(code, 1000)
	if _, known := version(v); !known || !ok || !space || len(code) != 3 || n < minStatus || n > maxStatus {
		h.fail(0, "malformed status line")
		return
	}
	h.m.StatusCode, h.m.Reason = int(n), reason
}

// field reads field-name HCOLON field-value (RFC 3261 §7.3.1).
func (h *headReader) field(s string) {
	n := span(s, classToken)
	name, value := s[:n], trimLeft(s[n:])
	if n == 0 || value == "" || value[0] != ':' {
		h.lost("malformed header field")
		return
	}
	f := Field{Name: ParseName(name), Value: trim(value[1:])}
	switch {
	case f.Name == Other:
		f.Text = name
	case f.Name == ContentLength:
		h.contentLength(f.Value)
	case f.Name.single() && h.seen&(1<<f.Name) != 0:
		h.fail(400, "more than one "+f.Name.String())
		return
	}
	h.seen |= 1 << f.Name
	h.m.Fields = append(h.m.Fields, f)
}

func (h *headReader) contentLength(v string) {
	n, ok := number(v, 1<<30)
	switch {
	case h.seen&(1<<ContentLength) != 0:
		h.lost("more than one Content-Length")
	case !ok:
		h.lost("malformed Content-Length")
	default:
		h.length = int(n)
	}
}

// check looks at what RFC 3261 §8.1.1 makes mandatory. Max-Forwards is left to the cores: RFC 2543 did not know it.
func (h *headReader) check() {
	for _, n := range [...]Name{Via, From, To, CallID, CSeq} {
		if h.seen&(1<<n) == 0 {
			h.fail(400, "no "+n.String())
			return
		}
	}
	if _, err := h.m.TopVia(); err != nil {
		h.fail(400, err.Error())
	}
	for _, n := range [...]Name{From, To} {
		if _, err := ParseAddress(h.m.Get(n)); err != nil {
			h.fail(400, "malformed "+n.String())
		}
	}
	if id := h.m.Get(CallID); id == "" || strings.ContainsAny(id, " \t") {
		h.fail(400, "malformed Call-ID")
	}
	switch c, err := h.m.CSeq(); {
	case err != nil:
		h.fail(400, err.Error())
	case !h.response && c.Method != h.m.Method:
		// §8.1.1.5: "The method MUST match that of the request."
		h.fail(400, "method of CSeq is not that of the request")
	}
}

// result is what Parse returns. Nobody answers a response or an ACK (RFC 3261 §17.1.1.3), and nothing can be answered
// without a Via.
func (h *headReader) result() (*Message, error) {
	if h.err == nil {
		return h.m, nil
	}
	c, _ := h.m.CSeq()
	if h.response || h.m.Method == "ACK" || h.m.Method == "" && c.Method == "ACK" || !h.m.Has(Via) {
		h.err.Status = 0
		return nil, h.err
	}
	return h.m, h.err
}

// AsParseError finds the ParseError in err, nil when there is none: then the stream failed and not the message.
func AsParseError(err error) *ParseError {
	if e, ok := errors.AsType[*ParseError](err); ok {
		return e
	}
	return nil
}

// CSeqValue is a CSeq (RFC 3261 §20.16).
type CSeqValue struct {
	Seq    uint32
	Method string
}

// CSeq reads the CSeq. RFC 3261 §8.1.1.5: the number "MUST be less than 2**31".
func (m *Message) CSeq() (CSeqValue, error) {
	v := m.Get(CSeq)
	n := 0
	for n < len(v) && !isSpace(v[n]) {
		n++
	}
	seq, ok := number(v[:n], MaxSeq)
	method := trimLeft(v[n:])
	if !ok || seq == MaxSeq || !all(method, classToken) {
		return CSeqValue{}, ErrCSeq
	}
	return CSeqValue{Seq: uint32(seq), Method: method}, nil
}

// Hops reads Max-Forwards; ok is false when it is missing or over 255, which counts as missing (RFC 4475 §3.1.2.4).
func (m *Message) Hops() (n int, ok bool) {
	v, ok := number(m.Get(MaxForwards), maxMaxForwards+1)
	return int(v), ok && v <= maxMaxForwards
}
