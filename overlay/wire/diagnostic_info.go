package wire

import (
	"encoding/binary"
	"strings"
)

// NewDiagnosticNumber is an item whose value is a number; v is cut to the size that the kind has.
func NewDiagnosticNumber(k DiagnosticKind, v uint64) DiagnosticInfo {
	b := binary.BigEndian.AppendUint64(nil, v)
	return DiagnosticInfo{Kind: k, Contents: b[len(b)-diagnosticKinds[k].size:]}
}

// NewDiagnosticText is a SOFTWARE_VERSION: what is not printable US-ASCII becomes "?", and what is over maxSoftware is
// cut off.
func NewDiagnosticText(k DiagnosticKind, s string) DiagnosticInfo {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	// RFC 7851 §5.3: "The string is a C-style string and MUST be terminated by "\0"", which "MUST NOT be included in
	// the string itself".
	return DiagnosticInfo{Kind: k, Contents: append([]byte(s[:min(len(s), maxSoftware)]), 0)}
}

// InstanceCount is one entry of INSTANCES_STORED.
type InstanceCount struct {
	Kind  KindID
	Count uint64
}

// NewDiagnosticInstances is an INSTANCES_STORED. RFC 7851 §5.3 has an array "indexed by Kind-ID" of unsigned 64-bit
// integers and no layout for it.
//
// Deviation: ours is kind u32 · count u64, packed, for the Kinds that there are.
func NewDiagnosticInstances(list []InstanceCount) DiagnosticInfo {
	var b []byte
	for _, i := range list[:min(len(list), maxInstances)] {
		b = append64(append32(b, i.Kind), i.Count)
	}
	return DiagnosticInfo{Kind: DiagnosticInstancesStored, Contents: b}
}

// Number is the value of a kind that is a number; false when it is not in the response or has another size.
func (d *DiagnosticsResponse) Number(k DiagnosticKind) (uint64, bool) {
	for _, i := range d.Info {
		if i.Kind != k || len(i.Contents) == 0 || len(i.Contents) != diagnosticKinds[k].size {
			continue
		}
		var v uint64
		for _, o := range i.Contents {
			v = v<<8 | uint64(o)
		}
		return v, true
	}
	return 0, false
}

// Text is the value of SOFTWARE_VERSION without its NUL; false when it is not in the response or not ended as it should.
func (d *DiagnosticsResponse) Text(k DiagnosticKind) (string, bool) {
	for _, i := range d.Info {
		if s, rest, ended := strings.Cut(string(i.Contents), "\x00"); i.Kind == k && ended && rest == "" {
			return s, true
		}
	}
	return "", false
}

// ParseDiagnosticsRequest reads the contents of a Diagnostic_Ping in a request. The error is a *SyntaxError.
func ParseDiagnosticsRequest(b []byte) (*DiagnosticsRequest, error) {
	c := newCursor(b)
	d := new(DiagnosticsRequest)
	d.parse(&c)
	return d, c.done("DiagnosticsRequest")
}

// ParseDiagnosticsResponse reads the contents of a Diagnostic_Ping in an answer. The error is a *SyntaxError.
func ParseDiagnosticsResponse(b []byte) (*DiagnosticsResponse, error) {
	c := newCursor(b)
	d := new(DiagnosticsResponse)
	d.parse(&c)
	return d, c.done("DiagnosticsResponse")
}

// DiagnosticsRequest is what a message asks for: a PathTrackReq, or a PingReq with a Diagnostic_Ping. It is nil for all
// others. The error is a *SyntaxError.
func (m *Message) DiagnosticsRequest() (*DiagnosticsRequest, error) {
	switch b := m.Body.(type) {
	case *PathTrackReq:
		return &b.Request, nil
	case *PingReq:
		if x := m.diagnosticPing(); x != nil {
			return ParseDiagnosticsRequest(x.Contents)
		}
	}
	// RFC 7851 §4.2.1: "Receivers who receive a method other than Ping including this extension MUST ignore the
	// extension."
	return nil, nil
}

// DiagnosticsResponse is what a message answers: a PathTrackAns, or a PingAns with a Diagnostic_Ping. It is nil for all
// others. The error is a *SyntaxError.
func (m *Message) DiagnosticsResponse() (*DiagnosticsResponse, error) {
	switch b := m.Body.(type) {
	case *PathTrackAns:
		return &b.Response, nil
	case *PingAns:
		if x := m.diagnosticPing(); x != nil {
			return ParseDiagnosticsResponse(x.Contents)
		}
	}
	return nil, nil
}

func (m *Message) diagnosticPing() *Extension { return m.extension(ExtensionDiagnosticPing) }

// extension is the first of type t, or nil.
func (m *Message) extension(t uint16) *Extension {
	for i := range m.Extensions {
		if m.Extensions[i].Type == t {
			return &m.Extensions[i]
		}
	}
	return nil
}

// PeekDiagnostics looks for the DiagnosticsRequest of a request on its way through: rest is what follows the forwarding
// header, of which the security block is neither read nor checked. It is nil for all other messages and for octets that
// cannot be read, which are the destination's affair.
func (s *Schema) PeekDiagnostics(rest []byte) *DiagnosticsRequest {
	c := s.cursor(rest)
	m := Message{Body: newBody(MessageCode(c.u16("MessageContents.message_code")))}
	switch m.Body.(type) {
	case *PathTrackReq, *PingReq:
	default:
		return nil
	}
	outer := c.open(4, "MessageContents.message_body")
	m.Body.parse(&c)
	c.shut(outer, "MessageContents.message_body")
	m.Extensions = c.extensions()
	if c.err != nil {
		return nil
	}
	d, err := m.DiagnosticsRequest()
	if err != nil {
		return nil
	}
	return d
}
