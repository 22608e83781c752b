package transaction

import (
	"encoding/binary"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// A retransmission brings again most of what its answer repeats: Via, From, To, Call-ID, CSeq. So of a response only that is kept which the request
// does not say, and of an ACK what the response does not.

// likeBase marks a field that begins as the field of the same name, and of the same number among those, does in the base.
const likeBase = 0x80

// ownReason is added to twice the status of a response whose reason phrase is not the usual one.
const ownReason = 1

// appendAbridged appends m without what base says.
func appendAbridged(b []byte, m, base *message.Message) []byte {
	switch status := uint64(m.StatusCode) << 1; {
	case m.IsRequest():
		b = appendString(appendString(binary.AppendUvarint(b, 0), m.Method), m.RequestURI)
	case m.Reason == message.StatusText(m.StatusCode):
		b = binary.AppendUvarint(b, status)
	default:
		b = appendString(binary.AppendUvarint(b, status|ownReason), m.Reason)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Fields)))
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Name == message.Other {
			b = appendString(appendString(append(b, byte(message.Other)), f.Text), f.Value)
			continue
		}
		if v, ok := same(m, i, base); ok && strings.HasPrefix(f.Value, v) {
			b = appendString(append(b, byte(f.Name)|likeBase), f.Value[len(v):])
			continue
		}
		b = appendString(append(b, byte(f.Name)), f.Value)
	}
	return append(b, m.Body...)
}

// same is the field of base that corresponds to the i-th of m.
func same(m *message.Message, i int, base *message.Message) (value string, ok bool) {
	nth := 0
	for j := range i {
		if m.Fields[j].Name == m.Fields[i].Name {
			nth++
		}
	}
	for j := range base.Fields {
		if f := &base.Fields[j]; f.Name == m.Fields[i].Name {
			if nth == 0 {
				return f.Value, true
			}
			nth--
		}
	}
	return "", false
}

// abridged is the message that was appended, with what base says; nil when base lacks something, and so is no copy of the base of then.
func abridged(b []byte, base *message.Message) *message.Message {
	c := cutter{b: b}
	status := c.number()
	m := &message.Message{StatusCode: int(status >> 1)}
	switch {
	case m.IsRequest():
		m.Method, m.RequestURI = c.string(), c.string()
	case status&ownReason != 0:
		m.Reason = c.string()
	default:
		m.Reason = message.StatusText(m.StatusCode)
	}
	n := min(c.number(), message.MaxFields)
	m.Fields = make([]message.Field, 0, n)
	for range n {
		name := c.octet()
		f := message.Field{Name: message.Name(name &^ likeBase)}
		if f.Name == message.Other {
			f.Text = c.string()
		}
		f.Value = c.string()
		m.Fields = append(m.Fields, f)
		if name&likeBase == 0 {
			continue
		}
		v, ok := same(m, len(m.Fields)-1, base)
		if !ok {
			return nil
		}
		m.Fields[len(m.Fields)-1].Value = v + f.Value
	}
	m.Body = c.b
	if c.short {
		return nil
	}
	return m
}
