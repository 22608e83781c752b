package ice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// End is one end of a connection.
type End struct {
	// Type is "host", "srflx", "relay", or "prflx" for an address that only a check has shown (RFC 5245 §7.1.3.2.1).
	Type    string
	Address netip.AddrPort
	// Base is the address on this host, when Address is the one that the other side sees; else not valid.
	Base netip.AddrPort
}

// String is "srflx 203.0.113.7:40000 (10.0.0.2:6084)".
func (e End) String() string {
	if e.Base.IsValid() {
		return fmt.Sprintf("%s %s (%s)", e.Type, e.Address, e.Base)
	}
	return fmt.Sprintf("%s %s", e.Type, e.Address)
}

// Pair is the candidate pair that a connection uses.
type Pair struct{ Local, Remote End }

// String is both ends, ours first.
func (p Pair) String() string { return p.Local.String() + " -> " + p.Remote.String() }

// Connect does the connectivity checks with the other side, whose parameters remote are, until a pair is nominated (RFC
// 6940 §6.5.1.10), for at most 15 s. The connection carries DTLS records; a Write is one datagram. Closing it closes the
// session; so does an error, which is ErrParameters, or ErrNoPair with the reason. Connect is called once.
func (s *Session) Connect(ctx context.Context, remote Parameters) (net.Conn, Pair, error) {
	under, err := s.connect(ctx, remote)
	if err != nil {
		s.Close()
		return nil, Pair{}, err
	}
	s.free()
	c := &conn{Conn: under, session: s}
	c.start()
	return c, s.Pair(), nil
}

func (s *Session) connect(ctx context.Context, remote Parameters) (*ice.Conn, error) {
	if err := remote.check(); err != nil {
		return nil, err
	}
	for _, candidate := range remote.usable(s.config.Loopback) {
		c, err := library(candidate)
		if err != nil {
			continue // an address that the library does not take cannot be checked
		}
		if err := s.agent.AddRemoteCandidate(c); err != nil {
			return nil, fmt.Errorf("ice: connect: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	do := s.agent.Accept
	if s.config.Controlling {
		do = s.agent.Dial
	}
	under, err := do(ctx, remote.Ufrag, remote.Password)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPair, errors.Join(err, ctx.Err()))
	}
	return under, nil
}

// free gives back the allocations that are not used. RFC 6940 §6.5.1.10.2: "Once the state of ICE reaches Completed, the
// agent can immediately free all unused candidates."
func (s *Session) free() {
	pair, err := s.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return
	}
	for _, r := range s.relays {
		if pair.Local.Type() != ice.CandidateTypeRelay || s.relay(addressOf(pair.Local)) != r {
			_ = r.Close()
		}
	}
}

func addressOf(c ice.Candidate) netip.AddrPort {
	ip, _ := netip.ParseAddr(c.Address())
	return netip.AddrPortFrom(ip.Unmap(), uint16(c.Port()))
}

// Pair is the pair that is used now; the zero value before Connect.
func (s *Session) Pair() Pair {
	pair, err := s.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return Pair{}
	}
	p := Pair{End{Type: pair.Local.Type().String(), Address: addressOf(pair.Local)},
		End{Type: pair.Remote.Type().String(), Address: addressOf(pair.Remote)}}
	if pair.Local.Type() == ice.CandidateTypeHost {
		p.Local = s.reflexive(p.Local, s.config.Mux.seenAs(s.member, p.Remote.Address))
	}
	return p
}

// RTT is the round trip time of the pair's last connectivity check; 0 when there was none.
func (s *Session) RTT() time.Duration {
	stats, ok := s.agent.GetSelectedCandidatePairStats()
	if !ok {
		return 0
	}
	return time.Duration(stats.CurrentRoundTripTime * float64(time.Second))
}

// reflexive finds the local candidate of a valid pair by the address that the answer to its check showed. RFC 5245
// §7.1.3.2.1: when it "does not match any of the local candidates", it is a peer reflexive candidate.
func (s *Session) reflexive(e End, mapped netip.AddrPort) End {
	if !mapped.IsValid() || mapped == e.Address {
		return e
	}
	for _, o := range s.own {
		if o.address == mapped && o.typ == wire.CandidateHost {
			return End{Type: "host", Address: mapped}
		}
		if o.address == mapped && o.typ == wire.CandidateSrflx {
			return End{Type: "srflx", Address: mapped, Base: e.Address}
		}
	}
	return End{Type: "prflx", Address: mapped, Base: e.Address}
}

// conn is a connection of a session. The ICE library's lacks keepalives.
type conn struct {
	*ice.Conn
	session *Session

	mu    sync.Mutex
	sent  time.Time
	timer *time.Timer
}

func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = time.Now()
	c.timer = time.AfterFunc(keepalive, c.beat)
}

// beat keeps the NATs on the way from forgetting us. RFC 6940 §6.5.1.10.3: "STUN MUST be utilized for the keepalives";
// RFC 5245 §10: one is sent when "there has been no packet sent on the candidate pair [...] for Tr seconds".
func (c *conn) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.session.closed:
		return
	default:
	}
	rest := time.Until(c.sent.Add(keepalive))
	if rest <= 0 {
		c.session.indicate()
		c.sent, rest = time.Now(), keepalive
	}
	c.timer.Reset(rest)
}

// indicate sends a Binding indication on the pair.
func (s *Session) indicate() {
	pair, err := s.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return
	}
	// RFC 5245 §10: it "MUST NOT utilize any authentication mechanism. It SHOULD contain the FINGERPRINT attribute to aid in
	// demultiplexing, but SHOULD NOT contain any other attributes."
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.Fingerprint)
	if err != nil {
		return
	}
	to := net.UDPAddrFromAddrPort(addressOf(pair.Remote))
	if pair.Local.Type() == ice.CandidateTypeRelay {
		if r := s.relay(addressOf(pair.Local)); r != nil {
			_, _ = r.WriteTo(m.Raw, to)
		}
	} else if p := s.port(addressOf(pair.Local)); p != nil {
		_, _ = p.WriteTo(m.Raw, to)
	}
}

// Read returns one datagram.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.mend(err)
}

// Write sends one datagram.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sent = time.Now()
	c.mu.Unlock()
	n, err := c.Conn.Write(b)
	return n, c.mend(err)
}

// mend makes the library's errors those of the net package.
func (c *conn) mend(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-c.session.closed:
		return net.ErrClosed
	default:
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return os.ErrDeadlineExceeded
	}
	return fmt.Errorf("ice: %w", err)
}

// Close ends the session.
func (c *conn) Close() error {
	c.session.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	return nil
}

// SetDeadline is SetReadDeadline.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: UDP takes datagrams at once.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
