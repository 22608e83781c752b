package wire

// Schema is what a message's octets do not say and the overlay's configuration does: the length of Node-IDs and
// the data model of each Kind (RFC 6940 §7.2: "the actual data model is known from the Kind"). A nil Model knows
// the Kinds of the IANA registry; a NodeIDLen of zero means 16. A Schema is safe for concurrent use if Model is.
type Schema struct {
	NodeIDLen int
	Model     func(KindID) (DataModel, bool)
}

func (s *Schema) cursor(b []byte) cursor {
	c := newCursor(b)
	c.idLen, c.model = s.NodeIDLen, s.Model
	if c.idLen == 0 {
		c.idLen = MinNodeIDLen
	}
	if c.model == nil {
		c.model = RegisteredModel
	}
	return c
}

// Message is one RELOAD message (RFC 6940 §6.3). It may be read concurrently, also by AppendTo and SignedOctets.
// Body and Extensions of a parsed message must not be changed: its contents stay the octets that were received.
type Message struct {
	Header     Header
	Body       Body
	Extensions []Extension
	Security   SecurityBlock
	contents   []byte // MessageContents as received: what the signature covers. Nil for a message that was built here.
}

// Body is the message_body of one method. The set is closed: pointers to the types of this package that are named after
// the RFC's structures, and *Unknown.
type Body interface {
	Code() MessageCode
	appendTo(b []byte) []byte
	parse(c *cursor)
}

// Extension is a MessageExtension (RFC 6940 §6.3.3).
//
//	type u16 · critical u8 · extension_contents v32
type Extension struct {
	Type     uint16
	Critical bool
	Contents []byte
}

// Parse reads a whole, unfragmented message. The message aliases b, which must not be modified afterwards. A method
// code that is not known gives a body of type *Unknown. Errors are *SyntaxError; ErrSelector in it asks for silence
// (RFC 6940 §6.3.1.1).
func (s *Schema) Parse(b []byte) (*Message, error) {
	c := s.cursor(b)
	m := &Message{Header: c.header()}
	c.checkLength(m.Header.Length)
	if !m.Header.Whole() {
		c.fail("ForwardingHeader.fragment", ErrFragment)
	}
	from := c.off
	code := MessageCode(c.u16("MessageContents.message_code"))
	m.Body = newBody(code)
	outer := c.open(4, "MessageContents.message_body")
	m.Body.parse(&c)
	// RFC 6940 §6.3.3: the body is "a variable-length string of bytes"; its structure fills it to the last octet.
	c.shut(outer, "MessageContents.message_body")
	m.Extensions = c.extensions()
	m.contents = b[from:c.off:c.off]
	m.Security = c.securityBlock()
	if err := c.done("SecurityBlock"); err != nil {
		return nil, err
	}
	return m, nil
}

func (c *cursor) extensions() (list []Extension) {
	outer := c.open(4, "MessageContents.extensions")
	for c.more() {
		list = append(list, Extension{
			Type:     c.u16("MessageExtension.type"),
			Critical: c.boolean("MessageExtension.critical"),
			Contents: c.vec(4, "MessageExtension.extension_contents"),
		})
	}
	c.shut(outer, "MessageContents.extensions")
	return list
}

// Contents returns the encoded MessageContents: the octets received or, for a message built here, a new encoding.
func (m *Message) Contents() []byte {
	if m.contents != nil {
		return m.contents
	}
	return m.appendContents(nil)
}

func (m *Message) appendContents(b []byte) []byte {
	if m.contents != nil {
		return append(b, m.contents...)
	}
	b = append16(b, m.Body.Code())
	b, at := begin(b, 4)
	b = finish(m.Body.appendTo(b), at, 4, "MessageContents.message_body")
	b, at = begin(b, 4)
	for _, e := range m.Extensions {
		b = appendBool(append16(b, e.Type), e.Critical)
		b = appendVec(b, 4, e.Contents, "MessageExtension.extension_contents")
	}
	return finish(b, at, 4, "MessageContents.extensions")
}

// SignedOctets appends what the message signature covers: overlay, transaction ID, MessageContents as received
// and the SignerIdentity (RFC 6940 §6.3.4).
func (m *Message) SignedOctets(b []byte, id SignerIdentity) []byte {
	// RFC 6940 §6.3.4: "overlay || transaction_id || MessageContents || SignerIdentity".
	b = append32(b, m.Header.Overlay)
	b = append64(b, m.Header.Transaction)
	b = m.appendContents(b)
	return id.AppendTo(b)
}

// AppendTo appends the whole message with its size as the length in the header; m.Header.Length is neither used nor
// changed. It panics when a field is longer than its length can say, which no parsed message can be.
func (m *Message) AppendTo(b []byte) []byte {
	at := len(b)
	b = m.Header.AppendTo(b)
	b = m.appendContents(b)
	b = m.Security.AppendTo(b)
	append32(b[:at+lengthOffset], uint32(len(b)-at))
	return b
}
