// Package message is a SIP message as it stood on the wire: start line, header fields in order with their values
// untouched, body (RFC 3261 §7, §25; torture tests RFC 4475 and RFC 5118). Typed views (Via, address, URI, CSeq) are
// computed on demand. The transports, transactions and cores of the gateway call it; it calls nobody, and knows no
// clock and no network.
//
// A Message is not safe for concurrent change; a message that is no longer changed may be read by anybody.
//
// The strings of a parsed message are parts of one string that holds its whole header: whoever keeps one of them for
// longer than the message takes a copy (strings.Clone).
package message

// Name is a header field name. Well-known names are small numbers so that looking one up costs no string comparison;
// compact and full forms are one Name (RFC 3261 §7.3.3). Other is any other name.
type Name uint8

// The header fields that the stack looks at. Written in the order of use in messages.
const (
	Other Name = iota
	Via
	From
	To
	CallID
	CSeq
	MaxForwards
	Contact
	Route
	RecordRoute
	ContentLength
	ContentType
	Expires
	MinExpires
	Authorization
	WWWAuthenticate
	ProxyAuthorization
	ProxyAuthenticate
	Require
	ProxyRequire
	Supported
	Unsupported
	Allow
	Path
	Event
	UserAgent
	Server
	RetryAfter
	Warning
	ReasonHeader
	Date
	Accept
	Replaces
	ReferTo
	PAssertedIdentity
	PPreferredIdentity
	MaxBreadth
	Subject
	ContentEncoding
	ReferredBy
	AllowEvents
	SessionExpires
	AcceptContact
	RejectContact
	RequestDisposition
	Identity
	Timestamp
)

// Field is one header field line.
type Field struct {
	Name  Name
	Text  string // the name for Other; empty otherwise: well-known names are written in their usual spelling
	Value string // unfolded, white space trimmed, otherwise as received
}

// Message is a request (Method is set) or a response (StatusCode is set).
type Message struct {
	Method     string // case-sensitive (RFC 3261 §7.1)
	RequestURI string
	StatusCode int
	Reason     string
	Fields     []Field
	Body       []byte
}

// IsRequest reports whether m is a request.
func (m *Message) IsRequest() bool { return m.StatusCode == 0 }

// Get returns the first line of a header field, "" when there is none.
func (m *Message) Get(n Name) string {
	if i := m.index(n); i >= 0 {
		return m.Fields[i].Value
	}
	return ""
}

// index is the place of the first field of that name, -1 when there is none.
func (m *Message) index(n Name) int {
	for i := range m.Fields {
		if m.Fields[i].Name == n {
			return i
		}
	}
	return -1
}

// Other returns the first value of a field by its text name, case-insensitively; "" when there is none.
func (m *Message) Other(name string) string {
	if n := ParseName(name); n != Other {
		return m.Get(n)
	}
	for i := range m.Fields {
		if f := &m.Fields[i]; f.Name == Other && EqualFold(f.Text, name) {
			return f.Value
		}
	}
	return ""
}

// Has reports whether the field is present.
func (m *Message) Has(n Name) bool { return m.index(n) >= 0 }

// Lines lists the values of a header field line by line, not split at commas (credentials, challenges). The slice is
// the caller's.
func (m *Message) Lines(n Name) []string {
	var out []string
	for i := range m.Fields {
		if m.Fields[i].Name == n {
			out = append(out, m.Fields[i].Value)
		}
	}
	return out
}

// Set replaces the first field of that name and removes the others, or appends one.
func (m *Message) Set(n Name, value string) {
	i := m.index(n)
	if i < 0 {
		m.Fields = append(m.Fields, Field{Name: n, Value: value})
		return
	}
	m.Fields[i].Value = value
	m.delFrom(i+1, n)
}

// Add appends a field behind the last one of the same name, or at the end.
func (m *Message) Add(n Name, value string) {
	for i := len(m.Fields) - 1; i >= 0; i-- {
		if m.Fields[i].Name == n {
			m.insert(i+1, n, value)
			return
		}
	}
	m.Fields = append(m.Fields, Field{Name: n, Value: value})
}

// AddOther appends a field of any name. A well-known one is written in its usual spelling, as ever.
func (m *Message) AddOther(name, value string) {
	f := Field{Name: ParseName(name), Value: value}
	if f.Name == Other {
		f.Text = name
	}
	m.Fields = append(m.Fields, f)
}

// Prepend puts a field in front of the first one of the same name, or at the top.
func (m *Message) Prepend(n Name, value string) { m.insert(max(m.index(n), 0), n, value) }

func (m *Message) insert(i int, n Name, value string) {
	m.Fields = append(m.Fields, Field{})
	copy(m.Fields[i+1:], m.Fields[i:])
	m.Fields[i] = Field{Name: n, Value: value}
}

// Del removes every field of that name. It does nothing for Other: see DelOther.
func (m *Message) Del(n Name) {
	if n != Other {
		m.delFrom(0, n)
	}
}

func (m *Message) delFrom(i int, n Name) {
	keep := m.Fields[:i]
	for _, f := range m.Fields[i:] {
		if f.Name != n {
			keep = append(keep, f)
		}
	}
	m.cut(keep)
}

// DelOther removes every field of that text name, case-insensitively.
func (m *Message) DelOther(name string) {
	n := ParseName(name)
	keep := m.Fields[:0]
	for _, f := range m.Fields {
		if f.Name != n || n == Other && !EqualFold(f.Text, name) {
			keep = append(keep, f)
		}
	}
	m.cut(keep)
}

// cut shortens the fields to keep, a prefix, and lets go of the strings behind it.
func (m *Message) cut(keep []Field) {
	clear(m.Fields[len(keep):])
	m.Fields = keep
}

// Clone copies m so that changing the copy's fields leaves m alone. Strings and Body are shared.
func (m *Message) Clone() *Message {
	c := withRoom(len(m.Fields))
	fields := c.Fields
	*c = *m
	c.Fields = append(fields, m.Fields...)
	return c
}

// Reset empties m, whose memory may be used for another message then: see ParseInto and ResponseInto. Nobody else may have it any longer; strings
// that were parts of it stay as they are.
func (m *Message) Reset() {
	clear(m.Fields)
	*m = Message{Fields: m.Fields[:0]}
}

// withRoom makes a message for so many fields and spareFields more: in one piece of memory when they are not many.
func withRoom(fields int) *Message {
	if fields > usualFields {
		return &Message{Fields: make([]Field, 0, fields+spareFields)}
	}
	m := &struct {
		Message
		room [usualFields + spareFields]Field
	}{}
	m.Fields = m.room[:0]
	return &m.Message
}
