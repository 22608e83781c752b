package message

import (
	"bytes"
	"errors"
	"io"
)

// Reader cuts messages from a stream: up to the empty line, then Content-Length octets (RFC 3261 §18.3). It keeps
// what it has read when its source fails, so a source with a deadline can be asked again. It is not safe for
// concurrent use.
//
// An idle Reader holds 4 KiB. Deadlines are the source's: inside its Read, Partial says whether a message has begun.
type Reader struct {
	src        io.Reader
	buf        []byte
	start, end int  // what is read and not used: buf[start:end]
	scanned    int  // octets from start that hold no end of header
	crlf       bool // one CRLF skipped: with a second it is a ping
	inBody     bool // head is read, its body awaited
	head       headReader
	lost       *ParseError
}

// NewReader returns a Reader over src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Buffered is the number of octets read from the source that belong to no message handed out.
func (r *Reader) Buffered() int { return r.end - r.start }

// Partial reports whether a message has begun and not ended.
func (r *Reader) Partial() bool { return r.inBody || r.Buffered() > 0 }

// Next returns the next message, or ping: a double CRLF between messages, for which the other side wants one CRLF
// back (RFC 5626 §4.4.1); a single CRLF, the answer to a ping of ours, is skipped. It blocks as the source does. Of a
// malformed message it returns what Parse would, with a *ParseError: when that is Fatal the stream is to be closed
// after the answer, and Next returns the same error from then on. Any other error is the source's; io.EOF inside a
// message comes as io.ErrUnexpectedEOF.
func (r *Reader) Next() (m *Message, ping bool, err error) {
	for r.lost == nil {
		if r.skip() {
			return nil, true, nil
		}
		if m, done, err := r.cut(); done {
			return m, false, err
		}
		if err := r.fill(); err != nil {
			return nil, false, err
		}
	}
	return nil, false, r.lost
}

// skip drops CRLFs between messages and reports a ping.
func (r *Reader) skip() (ping bool) {
	if r.inBody {
		return false
	}
	for r.Buffered() >= 2 && r.buf[r.start] == '\r' && r.buf[r.start+1] == '\n' {
		r.start += 2
		r.scanned = 0
		if r.crlf = !r.crlf; !r.crlf {
			return true
		}
	}
	if r.Buffered() >= 2 {
		r.crlf = false
	}
	return false
}

// cut takes a whole message off the buffer, if it is there.
func (r *Reader) cut() (m *Message, done bool, err error) {
	if !r.inBody && !r.cutHead() {
		if r.Buffered() < MaxMessage {
			return nil, false, nil
		}
		r.head.read(r.buf[r.start:r.end])
		r.head.tooLarge()
	}
	h := &r.head
	if h.err == nil || !h.err.Fatal {
		if r.Buffered() < h.length {
			return nil, false, nil
		}
		h.m.setBody(r.buf[r.start : r.start+h.length])
		r.start += h.length
	}
	m, err = h.result()
	if h.err != nil && h.err.Fatal {
		r.lost = h.err
	}
	r.head, r.inBody, r.scanned = headReader{}, false, 0
	return m, true, err
}

// cutHead reads the header if its end is there, and checks that the length of the body is known and allowed before
// any room is made for it.
func (r *Reader) cutHead() bool {
	b := r.buf[r.start:r.end]
	from := max(r.scanned-3, 0)
	n := bytes.Index(b[from:], []byte("\r\n\r\n"))
	if n < 0 {
		r.scanned = len(b)
		return false
	}
	n += from
	r.head.read(b[:n+2])
	r.start += n + 4
	r.inBody = true
	switch {
	case r.head.length < 0:
		// RFC 3261 §18.3: "The Content-Length header field MUST be used with stream oriented transports."
		r.head.lost("no Content-Length on a stream")
	case n+4+r.head.length > MaxMessage:
		r.head.tooLarge()
	}
	return true
}

// fill reads once from the source, making room first. A buffer that grew for a large message is given up when it is
// empty.
func (r *Reader) fill() error {
	switch {
	case r.start == r.end:
		r.start, r.end = 0, 0
		if len(r.buf) != smallBuffer {
			r.buf = make([]byte, smallBuffer)
		}
	case r.start > 0:
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, min(len(r.buf), MaxMessage-len(r.buf)))...)
	}
	for range emptyReads {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		switch {
		case n > 0:
			return nil // an error comes again
		case errors.Is(err, io.EOF) && r.Partial():
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}
