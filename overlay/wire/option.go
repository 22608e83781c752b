package wire

import "iter"

// Flags of a forwarding option (RFC 6940 §6.3.2.3).
const (
	OptionForwardCritical     uint8 = 0x01 // a peer that forwards the message must understand the option
	OptionDestinationCritical uint8 = 0x02 // whoever answers must understand it
	OptionResponseCopy        uint8 = 0x04 // copy it to the response, with these three flags cleared
)

// ForwardingOption is one option of the forwarding header (RFC 6940 §6.3.2.3). The structure "allows for unknown
// options types": every type is kept as it is.
//
//	type u8 · flags u8 · option v16
type ForwardingOption struct {
	Type  uint8
	Flags uint8
	Value []byte
}

// AppendTo appends the encoded option.
func (o ForwardingOption) AppendTo(b []byte) []byte {
	return appendVec(append(b, o.Type, o.Flags), 2, o.Value, "ForwardingOption.option")
}

// OptionList is the encoded list of forwarding options, without a length prefix. A nil list is empty.
type OptionList []byte

// NewOptionList encodes a list.
func NewOptionList(o ...ForwardingOption) OptionList {
	var l OptionList
	for _, e := range o {
		l = e.AppendTo(l)
	}
	return l
}

// All iterates over the options; their values alias l.
func (l OptionList) All() iter.Seq[ForwardingOption] {
	return func(yield func(ForwardingOption) bool) {
		c := newCursor(l)
		for c.more() {
			if o := c.option(); c.err != nil || !yield(o) {
				return
			}
		}
	}
}

func (c *cursor) option() ForwardingOption {
	return ForwardingOption{
		Type:  c.u8("ForwardingOption.type"),
		Flags: c.u8("ForwardingOption.flags"),
		Value: c.vec(2, "ForwardingOption.option"),
	}
}

// optionList reads n octets of options.
func (c *cursor) optionList(n uint16, name string) OptionList {
	from, outer := c.off, c.narrow(uint32(n), name)
	for c.more() {
		c.option()
	}
	return c.list(from, outer)
}
