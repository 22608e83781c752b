package message

import (
	"slices"
	"strconv"
)

// AppendTo appends the message in wire form, with Content-Length of the body: in its place when m has that field,
// else behind the others. Well-known names come in their usual spelling.
func (m *Message) AppendTo(b []byte) []byte {
	b = slices.Grow(b, m.Size())
	if m.IsRequest() {
		b = append(append(b, m.Method...), ' ')
		b = append(append(b, m.RequestURI...), " SIP/2.0\r\n"...)
	} else {
		b = strconv.AppendInt(append(b, "SIP/2.0 "...), int64(m.StatusCode), 10)
		b = append(append(append(b, ' '), m.Reason...), '\r', '\n')
	}
	length := false
	for i := range m.Fields {
		f := &m.Fields[i]
		switch f.Name {
		case ContentLength:
			if !length {
				b = m.appendLength(b)
			}
			length = true
			continue
		case Other:
			b = append(b, f.Text...)
		default:
			b = append(b, f.Name.String()...)
		}
		b = append(append(append(b, ": "...), f.Value...), '\r', '\n')
	}
	if !length {
		b = m.appendLength(b)
	}
	return append(append(b, '\r', '\n'), m.Body...)
}

func (m *Message) appendLength(b []byte) []byte {
	b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(m.Body)), 10)
	return append(b, '\r', '\n')
}

// Size is a little more than the length of the wire form.
func (m *Message) Size() int {
	n := len(m.Method) + len(m.RequestURI) + len(m.Reason) + len(m.Body) + 48
	for i := range m.Fields {
		f := &m.Fields[i]
		n += len(f.Text) + len(f.Name.String()) + len(f.Value) + 4
	}
	return n
}

// response is one in one piece with the room for its fields: most that are sent need no more.
type response struct {
	Message
	room [8 + spareFields]Field
}

// NewResponse builds the response to a request (RFC 3261 §8.2.6.2): Via, From, To, Call-ID, CSeq, all as received; in
// a 100 Timestamp as well (§8.2.6.1). toTag, when not empty, is added to a To without one. An empty reason becomes
// the usual one. req may be what Parse returned with an error: what is missing in it is missing in the response.
func NewResponse(req *Message, status int, reason, toTag string) *Message {
	r := &response{}
	r.Fields = r.room[:0]
	return ResponseInto(&r.Message, req, status, reason, toTag)
}

// ResponseInto is NewResponse into an empty message that nobody else has: see Reset.
func ResponseInto(res, req *Message, status int, reason, toTag string) *Message {
	if reason == "" {
		reason = StatusText(status)
	}
	res.StatusCode, res.Reason = status, reason
	for _, f := range req.Fields {
		switch f.Name {
		case To:
			if toTag != "" && Tag(f.Value) == "" {
				f.Value += ";tag=" + toTag
			}
		case Via, From, CallID, CSeq:
		case Timestamp:
			if status != 100 {
				continue
			}
		default:
			continue
		}
		res.Fields = append(res.Fields, f)
	}
	return res
}
