package sipusage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// gruuEncoding is that of the gr parameter. RFC 7904 §6: "The base64 encoding is done with the alphabet specified in Table 1 of
// [RFC4648] with the exception that "~" is used in place of "="."
var gruuEncoding = base64.StdEncoding.WithPadding(rune(gruuPad[0])).Strict()

var errGRUU = errors.New("not the gr value of a node of this overlay")

// GR is the value of the gr parameter of a GRUU that leads along l (RFC 7904 §6).
func GR(l wire.DestinationList) string { return gruuEncoding.EncodeToString(l) }

// NodeGR is GR for the list that holds just one node.
func NodeGR(id wire.NodeID) string { return GR(wire.NewDestinationList(wire.ToNode(id))) }

// ParseGR reads the value of a gr parameter in an overlay whose Node-IDs have idLen octets. The list ends in a node. The error wraps
// location.ErrNotFound.
func ParseGR(gr string, idLen int) (wire.DestinationList, error) {
	l, err := parseGR(gr, idLen)
	if err != nil {
		return nil, fmt.Errorf("sipusage: gr %.40q: %w: %w", gr, location.ErrNotFound, err)
	}
	return l, nil
}

func parseGR(gr string, idLen int) (wire.DestinationList, error) {
	if len(gr) > maxGRUU {
		return nil, errGRUU
	}
	b, err := gruuEncoding.DecodeString(pad(gr))
	if err != nil {
		return nil, errGRUU
	}
	l, err := wire.ParseDestinationList(b)
	if err != nil && len(b) == idLen {
		// The example of RFC 7904 §6 decodes to no Destination but to what looks like a bare identifier: such a Node-ID is
		// understood, never sent.
		id, err := wire.NodeIDFromBytes(b)
		if err != nil {
			return nil, errGRUU
		}
		return wire.NewDestinationList(wire.ToNode(id)), nil
	}
	if err != nil || !usable(l, idLen) {
		return nil, errGRUU
	}
	return l, nil
}

// pad restores padding that was left away.
func pad(gr string) string {
	if n := len(gr) % 4; n != 0 {
		return gr + strings.Repeat(gruuPad, 4-n)
	}
	return gr
}

// Terminal is the node that l ends in, the one to connect to; ok is false when l ends in anything else.
func Terminal(l wire.DestinationList) (id wire.NodeID, ok bool) {
	d, ok := l.Last()
	return d.Node, ok && d.Type == wire.DestNode && !d.Node.IsWildcard()
}

// usable reports whether l leads to a node of an overlay with Node-IDs of idLen octets.
func usable(l wire.DestinationList, idLen int) bool {
	for d := range l.All() {
		if d.Type == wire.DestNode && d.Node.Len() != idLen {
			return false
		}
	}
	_, ok := Terminal(l)
	return ok
}
