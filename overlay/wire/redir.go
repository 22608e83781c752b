package wire

import "encoding/binary"

// RedirExtNone is the RedirServiceProviderExtType of a record without extension (RFC 7374 §4.1).
const RedirExtNone uint8 = 0

// RedirServiceProvider is the value of a REDIR (RFC 7374 §4.1): that a node provides a service, in one node of the
// service's tree.
//
//	type u8 · destination_list v16 · namespace v16 · level u16 · node u16 · length u16 · extension
type RedirServiceProvider struct {
	Type         uint8
	Destinations DestinationList // by which the provider is reached
	Namespace    string          // of the service, UTF-8
	Level, Node  uint16          // of the node of the tree: levels from the root, nodes from the left
	Extension    []byte
}

// ParseRedirServiceProvider reads one value; it aliases b. The error is a *SyntaxError.
func ParseRedirServiceProvider(b []byte) (RedirServiceProvider, error) {
	c := newCursor(b)
	r := RedirServiceProvider{Type: c.u8("RedirServiceProvider.type")}
	r.Destinations = c.destinationList(c.u16("RedirServiceProvider.destination_list"), "RedirServiceProvider.destination_list")
	r.Namespace = c.str(2, "RedirServiceProvider.namespace")
	r.Level = c.u16("RedirServiceProvider.level")
	r.Node = c.u16("RedirServiceProvider.node")
	// RFC 7374 §4.1: "Unknown types are allowed."
	r.Extension = c.vec(2, "RedirServiceProvider.extension")
	if r.Type == RedirExtNone && len(r.Extension) > 0 {
		c.fail("RedirServiceProvider.extension", ErrTrailing)
	}
	return r, c.done("RedirServiceProvider")
}

// AppendTo appends the encoded value.
func (r RedirServiceProvider) AppendTo(b []byte) []byte {
	b = append(b, r.Type)
	b = appendVec(b, 2, r.Destinations, "RedirServiceProvider.destination_list")
	b = appendVec(b, 2, r.Namespace, "RedirServiceProvider.namespace")
	b = binary.BigEndian.AppendUint16(b, r.Level)
	b = binary.BigEndian.AppendUint16(b, r.Node)
	return appendVec(b, 2, r.Extension, "RedirServiceProvider.extension")
}

// RedirResource is where a node of a service's tree stands. RFC 7374 §3: "by taking a hash over the concatenation of the
// namespace, level, and j". How wide the numbers are the text does not say: two octets each, as in RedirServiceProvider.
func RedirResource(namespace string, level, node uint16) ResourceID {
	name := append(make([]byte, 0, len(namespace)+4), namespace...)
	name = binary.BigEndian.AppendUint16(name, level)
	return ResourceIDOf(string(binary.BigEndian.AppendUint16(name, node)))
}
