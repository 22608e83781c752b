package overlay

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Visitor asks an overlay something through one of its nodes without becoming part of it: for commands. Each method makes a link
// of its own with the first address that answers.
type Visitor struct {
	Overlay *config.Overlay
	Self    *trust.Signer // who asks: any node with a certificate of the overlay
	// Addresses are "host:port" of nodes.
	Addresses []string
}

// ErrNobody means that none of the addresses has answered.
var ErrNobody = errors.New("overlay: no node was reached")

// Configure hands a node a configuration document, from which it spreads over the overlay (RFC 6940 §6.5.4), and returns which
// node has taken it. The error is a *RemoteError when it has not.
func (v *Visitor) Configure(ctx context.Context, document []byte) (wire.NodeID, error) {
	s, err := v.enter(ctx)
	if err != nil {
		return wire.NodeID{}, err
	}
	defer s.leave()
	_, err = s.ask(ctx, wire.NewDestinationList(wire.ToNode(s.node)), "", &wire.ConfigUpdateReq{Type: wire.ConfigUpdateConfig, Config: document})
	return s.node, err
}

// Fetch fetches every value of kind under res. Those whose signature is not good are left out, and so are tombstones; whether
// their signers may write there is not looked at.
func (v *Visitor) Fetch(ctx context.Context, res wire.ResourceID, kind wire.KindID) ([]Value, error) {
	specifier, err := everything(v.Overlay, kind)
	if err != nil {
		return nil, err
	}
	s, err := v.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	req := &wire.FetchReq{Resource: res, Specifiers: []wire.Specifier{specifier}}
	answer, err := s.ask(ctx, wire.NewDestinationList(wire.ToNode(s.node), wire.ToResource(res)), res, req)
	if err != nil {
		return nil, err
	}
	ans, ok := answer.Message().Body.(*wire.FetchAns)
	if !ok {
		return nil, errUnexpected
	}
	signers := answer.Values()
	var values []Value
	for _, k := range ans.Kinds {
		for i := range k.Values {
			if signers[0].Err == nil && k.Values[i].Value.Exists {
				values = append(values, Value{k.Values[i], signers[0].Identity})
			}
			signers = signers[1:]
		}
	}
	return values, nil
}

// visit is a link of a Visitor.
type visit struct {
	v        *Visitor
	verifier *trust.Verifier
	node     wire.NodeID // at the other end
	link     link.Link
	got      chan []byte
	ended    chan struct{}
	parts    *route.Assembler // of answers that came over DTLS
}

// enter makes the link: over TLS, and where that does not work over DTLS.
func (v *Visitor) enter(ctx context.Context) (*visit, error) {
	s := &visit{v: v, verifier: trust.NewVerifier(v.Overlay), got: make(chan []byte, maxVisitInbox), ended: make(chan struct{}),
		parts: route.NewAssembler(v.Overlay.MaxMessageSize)}
	errs := []error{ErrNobody}
	for _, a := range v.Addresses[:min(len(v.Addresses), maxAddress)] {
		for _, open := range []func(context.Context, string) (fresh, error){s.overTLS, s.overDTLS} {
			f, err := share(ctx, 2, func(ctx context.Context) (fresh, error) { return open(ctx, a) })
			if err != nil {
				errs = append(errs, err)
				continue
			}
			s.node = f.peer.Node
			s.link = f.link(link.Options{MaxMessage: func() int { return v.Overlay.MaxMessageSize }, Receive: s.receive})
			go func() { defer close(s.ended); _ = s.link.Run() }()
			return s, nil
		}
	}
	return nil, errors.Join(errs...)
}

func (s *visit) overTLS(ctx context.Context, address string) (fresh, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return fresh{}, err
	}
	c, peer, err := link.NewTLS(s.v.Self, s.verifier).Client(ctx, conn, wire.NodeID{})
	if err != nil {
		return fresh{}, err
	}
	return freshTLS(c, peer), nil
}

func (s *visit) overDTLS(ctx context.Context, address string) (fresh, error) {
	d, err := link.NewDTLS(s.v.Self, s.verifier, true)
	if err != nil {
		return fresh{}, err
	}
	a, peer, err := d.Dial(ctx, address, wire.NodeID{})
	if err != nil {
		return fresh{}, err
	}
	return freshDTLS(a, peer), nil
}

func (s *visit) leave() {
	s.link.Close()
	<-s.ended
}

// receive keeps what came until it is looked at. What does not fit is not what is waited for: one request is out.
func (s *visit) receive(raw []byte) {
	select {
	case s.got <- raw:
	default:
	}
}

// ask sends a request, and again when no answer comes (RFC 6940 §6.2.1).
func (s *visit) ask(ctx context.Context, dest wire.DestinationList, asked wire.ResourceID, body wire.Body) (trust.Verified, error) {
	o := s.v.Overlay
	var tx [8]byte
	_, _ = rand.Read(tx[:]) // never fails
	h := wire.Header{Overlay: o.ID(), ConfigSequence: o.Sequence, Version: wire.Version, TTL: o.InitialTTL, Fragment: wire.Unfragmented,
		Transaction: wire.TransactionID(binary.BigEndian.Uint64(tx[:])), Destinations: dest}
	if body.Code() == wire.CodeConfigUpdateReq {
		h.ConfigSequence = wire.ConfigSequenceAny // RFC 6940 §6.3.2.1
	}
	raw, err := s.v.Self.Seal(&wire.Message{Header: h, Body: body})
	if err != nil {
		return trust.Verified{}, fmt.Errorf("overlay: %w", err)
	}
	again := time.NewTicker(o.ReliabilityTimer)
	defer again.Stop()
	for {
		if err := s.link.Send(raw); err != nil {
			return trust.Verified{}, fmt.Errorf("overlay: %w", err)
		}
		v, done, err := s.await(ctx, again.C, h.Transaction, asked)
		if done {
			return v, err
		}
	}
}

// await waits for the answer of a request, until it is to be sent again.
func (s *visit) await(ctx context.Context, again <-chan time.Time, tx wire.TransactionID, asked wire.ResourceID) (v trust.Verified, done bool, err error) {
	for {
		select {
		case raw := <-s.got:
			if v, done, err = s.answer(raw, tx, asked); done {
				return v, true, err
			}
		case <-again:
			return v, false, nil
		case <-s.ended:
			return v, true, ErrClosed
		case <-ctx.Done():
			return v, true, contextError(ctx)
		}
	}
}

// answer examines a message. Others are none of our business, and what can not be believed may be followed by what can.
func (s *visit) answer(raw []byte, tx wire.TransactionID, asked wire.ResourceID) (v trust.Verified, ok bool, err error) {
	if h, _, err := wire.ParseHeader(raw); err != nil || h.Transaction != tx {
		return v, false, nil
	} else if h.Fragment != wire.Unfragmented {
		if raw, _, _ = s.parts.Add(time.Now(), s.node, true, raw); raw == nil {
			return v, false, nil // there is more to come
		}
	}
	m, err := s.v.Overlay.Schema().Parse(raw)
	if err != nil || m.Header.Transaction != tx || m.Body.Code().IsRequest() {
		return v, false, nil
	}
	if v, err = s.verifier.Verify(time.Now(), m, asked); err != nil {
		return v, false, nil
	}
	if refused, is := m.Body.(*wire.Error); is {
		return v, true, &RemoteError{Code: refused.ErrorCode, Info: refused.Info}
	}
	return v, true, nil
}

// everything is the specifier of all values of a Kind.
func everything(o *config.Overlay, kind wire.KindID) (wire.Specifier, error) {
	k, ok := o.Kind(kind)
	if !ok {
		return wire.Specifier{}, fmt.Errorf("overlay: Kind %#x is not one of this overlay", uint32(kind))
	}
	s := wire.Specifier{Kind: kind, Model: k.Model}
	if k.Model == wire.Array {
		s.Ranges = []wire.ArrayRange{{First: 0, Last: 0xffffffff}} // RFC 6940 §7.4.2.1: the last element
	}
	return s, nil
}
