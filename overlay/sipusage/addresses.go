package sipusage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The value of wire.KindSIPGateway, which is ours, is a list of SIP URIs, each a 16-bit length and the octets, packed to the end
// of the value:
//
//	opaque GatewayURI<1..2^16-1>;
//	GatewayURI uris[];
//
// It stands, as a single value with access control NODE-MATCH, at the hash of the gateway's Node-ID, and tells a redirect server
// which address of the gateway a plain phone can use. A reader takes the URIs that it understands and ignores the others.

var errAddresses = errors.New("malformed list of SIP URIs")

// addressResource is where the addresses of node stand.
func addressResource(node wire.NodeID) wire.ResourceID {
	return wire.ResourceIDOf(string(node.Bytes()))
}

func appendAddresses(b []byte, uris []string) []byte {
	for _, u := range uris {
		b = binary.BigEndian.AppendUint16(b, uint16(len(u)))
		b = append(b, u...)
	}
	return b
}

func parseAddresses(b []byte) ([]string, error) {
	var uris []string
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, errAddresses
		}
		n := int(binary.BigEndian.Uint16(b))
		if u, ok := normalize(string(b[2 : 2+n])); ok && len(uris) < maxAddresses {
			uris = append(uris, u)
		}
		b = b[2+n:]
	}
	return uris, nil
}

// checkAddresses reports what a reader would not understand.
func checkAddresses(uris []string) error {
	if len(uris) > maxAddresses {
		return fmt.Errorf("sipusage: %d addresses, at most %d are published", len(uris), maxAddresses)
	}
	for _, u := range uris {
		if n, ok := normalize(u); !ok || n != u {
			return fmt.Errorf("sipusage: address %.80q is not a SIP URI", u)
		}
	}
	return nil
}

// Addresses lists the SIP URIs at which the gateway that gr leads to takes calls from plain phones; empty when it published
// none. They may be a minute old; do not modify the slice. The error wraps location.ErrNotFound or location.ErrUnavailable.
func (s *Service) Addresses(ctx context.Context, gr string) ([]string, error) {
	return s.addresses.get(ctx, gr)
}

// AddressesCached is Addresses as far as a fresh answer is at hand; it does not block.
func (s *Service) AddressesCached(gr string) ([]string, bool) { return s.addresses.cached(gr) }

// leadsTo is the node that gr leads to.
func (s *Service) leadsTo(gr string) (node wire.NodeID, err error) {
	dest, err := ParseGR(gr, s.self.Len())
	if err != nil {
		return node, err
	}
	node, _ = Terminal(dest)
	return node, nil
}

func (s *Service) fetchAddresses(ctx context.Context, gr string) ([]string, time.Duration, error) {
	node, err := s.leadsTo(gr)
	if err != nil {
		return nil, 0, err
	}
	values, err := s.peer.Fetch(ctx, addressResource(node), wire.KindSIPGateway)
	if err != nil {
		return nil, 0, unavailable("addresses of "+node.Short(), err)
	}
	uris, ttl := published(values)
	return uris, ttl, nil
}

// ownAddresses is fetchAddresses for a gateway whose addresses this peer holds.
func (s *Service) ownAddresses(gr string) (uris []string, ttl time.Duration, ok bool) {
	node, err := s.leadsTo(gr)
	if err != nil {
		return nil, 0, false
	}
	values, ok := s.peer.FetchOwn(addressResource(node), wire.KindSIPGateway)
	if ok {
		uris, ttl = published(values)
	}
	return uris, ttl, ok
}

// published is the first list of addresses among values, and for how long it may be used.
func published(values []overlay.Value) ([]string, time.Duration) {
	for i := range values {
		if v := &values[i]; v.Value.Exists && v.Lifetime > 0 {
			uris, err := parseAddresses(v.Value.Data)
			if err == nil {
				return uris, addressFor
			}
		}
	}
	return nil, missingFor
}
