package ice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// ErrNoAnswer means that a STUN server did not say what our address is.
var ErrNoAnswer = errors.New("ice: no usable answer to a STUN Binding request")

// query is a Binding request of ours.
type query struct {
	server netip.AddrPort
	answer chan netip.AddrPort // for one; not valid: the server refuses
}

// answered takes the answer.
func (q *query) answered(msg *stun.Message) {
	mapped, _ := mappedAddress(msg)
	select {
	case q.answer <- mapped:
	default:
	}
}

// mappedAddress is the XOR-MAPPED-ADDRESS of a response.
func mappedAddress(msg *stun.Message) (netip.AddrPort, bool) {
	var x stun.XORMappedAddress
	if x.GetFrom(msg) != nil || x.Port <= 0 || x.Port > 0xffff {
		return netip.AddrPort{}, false
	}
	ip, ok := netip.AddrFromSlice(x.IP)
	if !ok || ip.IsUnspecified() {
		return netip.AddrPort{}, false
	}
	return plain(netip.AddrPortFrom(ip, uint16(x.Port))), true
}

// Mapped asks server, a peer or another STUN server, at which address it sees the socket: our server reflexive address
// (RFC 6940 §6.5.1.4, RFC 5245 §4.1.1.2). The error is ErrNoAnswer, ErrTooMany or net.ErrClosed, wrapped, or that of
// ctx.
func (m *Mux) Mapped(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	server = plain(server)
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ice: %w", err)
	}
	q := &query{server, make(chan netip.AddrPort, 1)}
	if err := m.ask(request.TransactionID, q); err != nil {
		return netip.AddrPort{}, fmt.Errorf("ice: STUN server %s: %w", server, err)
	}
	defer m.asked(request.TransactionID)
	rto := stunRTO
	for range stunRequests {
		if _, err := m.socket.WriteToUDPAddrPort(request.Raw, server); err != nil {
			return netip.AddrPort{}, fmt.Errorf("ice: STUN server %s: %w", server, err)
		}
		again := time.NewTimer(rto)
		select {
		case mapped := <-q.answer:
			again.Stop()
			if !mapped.IsValid() {
				return mapped, fmt.Errorf("%w: server %s", ErrNoAnswer, server)
			}
			return mapped, nil
		case <-ctx.Done():
			again.Stop()
			return netip.AddrPort{}, fmt.Errorf("%w: server %s: %w", ErrNoAnswer, server, ctx.Err())
		case <-again.C:
			rto *= 2 // RFC 8489 §6.2.1: "doubling after each retransmission"
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%w: server %s", ErrNoAnswer, server)
}

func (m *Mux) ask(id transaction, q *query) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return net.ErrClosed
	case len(m.queries) >= maxQueries:
		return ErrTooMany
	}
	m.queries[id] = q
	return nil
}

func (m *Mux) asked(id transaction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.queries, id)
}
