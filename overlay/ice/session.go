package ice

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/pion/ice/v4"
)

// Config is for one session.
type Config struct {
	Mux *Mux
	// Controlling is the role. RFC 6940 §6.5.1.9: "the offerer (the entity sending the Attach request) will always be
	// controlling, and the answerer [...] will always be controlled."
	Controlling bool
	// STUN servers, best those that Views.Servers picks. The first maxServers are asked.
	STUN []netip.AddrPort
	// TURN servers. The first maxRelays are used.
	TURN []Server
	// Loopback allows addresses of this host, for tests.
	Loopback bool
}

// Session is one use of ICE: Gather, Parameters, Connect, Close. After Connect the connection and the session are closed
// together, by either's Close.
type Session struct {
	config Config
	agent  *ice.Agent
	member *member
	relays []*relay
	local  Parameters
	own    []origin
	seen   []View
	missed error
	silent []netip.AddrPort // TURN servers that gave no relayed address

	once   sync.Once
	closed chan struct{}
}

// Gather finds our candidates (RFC 6940 §6.5.1.5) and takes at most 3 s for it: a server that does not answer gives no
// candidate, see Missed. The error is ErrTooMany or net.ErrClosed, wrapped, that of ctx, or the system's.
func Gather(ctx context.Context, c Config) (*Session, error) {
	hosts, err := c.Mux.hosts(c.Loopback)
	if err != nil {
		return nil, fmt.Errorf("ice: gather: %w", err)
	}
	s := &Session{config: c, closed: make(chan struct{})}
	// RFC 5245 §15.4: at least 24 random bits for the fragment and 128 for the password.
	s.local.Ufrag, s.local.Password = rand.Text()[:8], rand.Text()
	if s.member, err = c.Mux.join(s.local.Ufrag, hosts); err != nil {
		return nil, fmt.Errorf("ice: gather: %w", err)
	}
	s.agent, err = newAgent(s.local)
	if err != nil {
		c.Mux.leave(s.member)
		return nil, fmt.Errorf("ice: gather: %w", err)
	}
	s.gather(ctx)
	if err = ctx.Err(); err == nil {
		err = s.register()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("ice: gather: %w", err)
	}
	s.local.Candidates = describe(s.own)
	return s, nil
}

func newAgent(p Parameters) (*ice.Agent, error) {
	return ice.NewAgentWithOptions(ice.WithLocalCredentials(p.Ufrag, p.Password),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithDisableActiveTCP(), ice.WithLoggerFactory(quiet()),
		ice.WithCheckInterval(checkPace), ice.WithMaxBindingRequests(checkCopies),
		// The package comment says why these are not the library's.
		ice.WithKeepaliveInterval(0), ice.WithDisconnectedTimeout(0), ice.WithFailedTimeout(0))
}

// gather asks all servers at the same time.
func (s *Session) gather(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	stun := s.config.STUN[:min(len(s.config.STUN), maxServers)]
	turn := s.config.TURN[:min(len(s.config.TURN), maxRelays)]
	mapped, relays := make([]netip.AddrPort, len(stun)), make([]*relay, len(turn))
	failed := make([]error, len(stun)+len(turn))
	var wg sync.WaitGroup
	for i, server := range stun {
		wg.Go(func() { mapped[i], failed[i] = s.config.Mux.Mapped(ctx, server) })
	}
	for i, server := range turn {
		wg.Go(func() { relays[i], failed[len(stun)+i] = allocate(ctx, server) })
	}
	wg.Wait()
	s.missed = errors.Join(failed...)
	for i, server := range turn {
		if relays[i] == nil {
			s.silent = append(s.silent, server.Address)
		}
	}
	s.collect(mapped, relays)
}

// collect makes candidates of what has been gathered.
func (s *Session) collect(mapped []netip.AddrPort, relays []*relay) {
	var list []origin
	for _, p := range s.member.ports {
		list = append(list, origin{typ: wire.CandidateHost, address: p.host})
	}
	for i, address := range mapped {
		if !address.IsValid() {
			continue
		}
		s.seen = append(s.seen, View{Server: plain(s.config.STUN[i]), Mapped: address})
		list = append(list, origin{typ: wire.CandidateSrflx, address: address, base: s.base(address), server: s.config.STUN[i]})
	}
	for _, r := range relays {
		if r == nil {
			continue
		}
		s.relays = append(s.relays, r)
		address, _ := netip.ParseAddrPort(r.LocalAddr().String())
		// RFC 5245 §15.1: the related address of a relayed candidate is the mapped one. The allocation has a socket of its
		// own, and the address of that is as good for those who look for a fault.
		related, _ := netip.ParseAddrPort(r.socket.LocalAddr().String())
		list = append(list, origin{typ: wire.CandidateRelay, address: plain(address), base: plain(related), server: r.server})
	}
	s.own = number(list)
}

// base is the host candidate from which mapped was learned, or one of the same family.
func (s *Session) base(mapped netip.AddrPort) netip.AddrPort {
	for _, p := range s.member.ports {
		if p.host.Addr().Is4() == mapped.Addr().Is4() {
			return p.host
		}
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), s.config.Mux.local.Port())
}

// register gives the library what it may send checks from: host and relayed candidates. RFC 5245 §5.7.3: a server
// reflexive candidate is replaced by its base, which is a host candidate.
func (s *Session) register() error {
	for _, o := range s.own {
		if o.typ == wire.CandidateSrflx {
			continue
		}
		c, err := library(o.candidate())
		if err != nil {
			return err
		}
		if o.typ == wire.CandidateHost {
			err = s.agent.AddVirtualCandidate(c, s.port(o.address))
		} else if r := s.relay(o.address); r != nil {
			err = s.agent.AddVirtualCandidate(c, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) port(host netip.AddrPort) *port {
	for _, p := range s.member.ports {
		if p.host == host {
			return p
		}
	}
	return nil
}

func (s *Session) relay(address netip.AddrPort) *relay {
	for _, r := range s.relays {
		if a, _ := netip.ParseAddrPort(r.LocalAddr().String()); plain(a) == address {
			return r
		}
	}
	return nil
}

// Parameters are ours, for the Attach or AppAttach or its answer. They do not change.
func (s *Session) Parameters() Parameters { return s.local }

// Views are what the STUN servers said. A node with an address of its own in all of them is behind no NAT.
func (s *Session) Views() []View { return s.seen }

// Missed says which servers gave no candidate, and why; nil when all did.
func (s *Session) Missed() error { return s.missed }

// Refused reports whether a TURN server was asked and gave no relayed address.
func (s *Session) Refused(server netip.AddrPort) bool { return slices.Contains(s.silent, server) }

// Close ends the session and its connection and gives back what TURN servers hold for it. It waits for all goroutines,
// and may be called more than once.
func (s *Session) Close() {
	s.once.Do(func() {
		close(s.closed)
		_ = s.agent.GracefulClose()
		for _, r := range s.relays {
			_ = r.Close()
		}
		for _, p := range s.member.ports {
			_ = p.Close()
		}
		s.config.Mux.leave(s.member)
	})
}
