package ice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func TestRFC6940_6_5_1_10_HostCandidatesConnect(t *testing.T) {
	ma, mb := newMux(t), newMux(t)
	a, b := gather(t, Config{Mux: ma, Controlling: true}), gather(t, Config{Mux: mb})
	x, y := join(t, a, b)
	chat(t, x.conn, y.conn)
	want := "host " + ma.LocalAddr().String() + " -> host " + mb.LocalAddr().String()
	if got := x.pair.String(); got != want {
		t.Errorf("pair %q, want %q", got, want)
	}
	if got, want := x.conn.RemoteAddr().String(), mb.LocalAddr().String(); got != want {
		t.Errorf("remote address %s, want %s", got, want)
	}
	_ = x.conn.SetReadDeadline(time.Unix(1, 0))
	if _, err := x.conn.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading past the deadline: %v", err)
	}
	_ = x.conn.Close()
	if _, err := x.conn.Write(record(1, "x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
	if _, err := x.conn.Read(make([]byte, 9)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after Close: %v", err)
	}
}

// What goes into an Attach survives its encoding.
//
// Conformance: A-25 A-27
func TestRFC6940_6_5_1_7_ParametersInAttach(t *testing.T) {
	server, at := turnServer(t, nil)
	stun := newMux(t)
	answer(t, stun, netip.MustParseAddrPort("203.0.113.9:4000"))
	a := gather(t, Config{Mux: newMux(t), STUN: []netip.AddrPort{stun.LocalAddr()}, TURN: []Server{credential(at, "n1")}})
	if err := a.Missed(); err != nil {
		t.Fatal(err)
	}
	p := a.Parameters()
	// RFC 5245 §15.4: at least 24 bits of randomness in the fragment, 128 in the password.
	if len(p.Ufrag) < minUfrag || len(p.Password) < minPassword {
		t.Errorf("ufrag %q, password %q", p.Ufrag, p.Password)
	}
	var types []wire.CandidateType
	seen := make(map[string]bool)
	for i, c := range p.Candidates {
		types = append(types, c.Type)
		if c.Link != wire.LinkDTLSUDPSR || c.Priority == 0 || c.Foundation == "" || seen[c.Foundation] {
			t.Errorf("candidate %+v", c)
		}
		seen[c.Foundation] = true
		if c.Related.IsValid() != (c.Type != wire.CandidateHost) {
			t.Errorf("related address of %+v", c)
		}
		if i > 0 && c.Priority >= p.Candidates[i-1].Priority {
			t.Errorf("priority %d after %d", c.Priority, p.Candidates[i-1].Priority)
		}
	}
	if len(types) != 3 || types[0] != wire.CandidateHost || types[1] != wire.CandidateSrflx || types[2] != wire.CandidateRelay {
		t.Fatalf("types %v", types)
	}
	if got := p.Candidates[1]; got.Address.String() != "203.0.113.9:4000" || got.Related != a.config.Mux.LocalAddr() {
		t.Errorf("server reflexive candidate %+v", got)
	}
	if got := a.Views(); len(got) != 1 || got[0].Mapped.String() != "203.0.113.9:4000" {
		t.Errorf("views %+v", got)
	}
	if got := server.Stats(); got.Allocations != 1 || got.Made != 1 || got.Unauthorized != 0 {
		t.Errorf("%+v", got)
	}
}

// The candidate pair is one of the relay when there is nothing else, and data flows over it.
func TestRFC6940_9_RelayedPair(t *testing.T) {
	server, at := turnServer(t, nil)
	a := gather(t, Config{Mux: newMux(t), Controlling: true, TURN: []Server{credential(at, "n1")}})
	b := gather(t, Config{Mux: newMux(t), TURN: []Server{credential(at, "n2")}})
	forA, forB := b.Parameters(), a.Parameters()
	forA.Candidates, forB.Candidates = relayed(forA), relayed(forB)
	// The hosts' checks must not come through either: they would be peer reflexive candidates.
	for _, s := range []*Session{a, b} {
		for _, p := range s.member.ports {
			_ = p.Close()
		}
	}
	x, y := connectBoth(t.Context(), a, b, forA, forB)
	if x.err != nil || y.err != nil {
		t.Fatalf("%v; %v", x.err, y.err)
	}
	if x.pair.Local.Type != "relay" || x.pair.Remote.Type != "relay" || y.pair.Local.Type != "relay" {
		t.Errorf("pairs %s; %s", x.pair, y.pair)
	}
	chat(t, x.conn, y.conn)
	a.indicate() // through the relay, not into the stream of data
	chat(t, x.conn, y.conn)
	if got := server.Stats(); got.Received == 0 || got.Sent == 0 || got.Allocations != 2 {
		t.Errorf("%+v", got)
	}
	_ = x.conn.Close()
	_ = y.conn.Close()
	until(t, "allocations given back", func() bool { return server.Stats().Allocations == 0 })
}

func relayed(p Parameters) (list []wire.IceCandidate) {
	for _, c := range p.Candidates {
		if c.Type == wire.CandidateRelay {
			list = append(list, c)
		}
	}
	return list
}

// RFC 6940 §6.5.1.10.2: "Once the state of ICE reaches Completed, the agent can immediately free all unused candidates."
//
// Conformance: A-28
func TestRFC6940_6_5_1_10_2_UnusedAllocationsAreFreed(t *testing.T) {
	server, at := turnServer(t, nil)
	a := gather(t, Config{Mux: newMux(t), Controlling: true, TURN: []Server{credential(at, "n1")}})
	b := gather(t, Config{Mux: newMux(t), TURN: []Server{credential(at, "n2")}})
	if got := server.Stats().Allocations; got != 2 {
		t.Fatalf("%d allocations", got)
	}
	x, y := join(t, a, b)
	until(t, "allocations given back", func() bool { return server.Stats().Allocations == 0 })
	chat(t, x.conn, y.conn)
}

// RFC 6940 §6.5.1.9: the roles are fixed, and "the connectivity checks MUST still contain the ICE-CONTROLLED and
// ICE-CONTROLLING attributes".
//
// Conformance: A-26
func TestRFC6940_6_5_1_9_Roles(t *testing.T) {
	for _, controlling := range []bool{true, false} {
		socket := listen(t, "127.0.0.1:0")
		defer func() { _ = socket.Close() }()
		s := gather(t, Config{Mux: newMux(t), Controlling: controlling})
		go func() {
			_, _, _ = s.Connect(t.Context(), Parameters{"other", strings.Repeat("p", 22),
				[]wire.IceCandidate{{Address: addressOfSocket(socket), Link: wire.LinkDTLSUDPSR, Type: wire.CandidateHost, Priority: 1}}})
		}()
		b := make([]byte, datagramSize)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := attributes(t, b[:n]); got.controlling != controlling || got.controlled == controlling || got.user != "other:"+s.local.Ufrag {
			t.Errorf("controlling %v: %+v", controlling, got)
		}
		s.Close()
	}
}

// RFC 6940 §6.5.1.10.3: "STUN MUST be utilized for the keepalives".
//
// Conformance: A-29
func TestRFC6940_6_5_1_10_3_BindingIndications(t *testing.T) {
	a, b := gather(t, Config{Mux: newMux(t), Controlling: true}), gather(t, Config{Mux: newMux(t)})
	x, y := join(t, a, b)
	c := x.conn.(*conn)
	b.config.Mux.mu.Lock()
	before := b.config.Mux.indications
	b.config.Mux.mu.Unlock()
	c.beat() // nothing: the connection is new
	c.mu.Lock()
	c.sent = c.sent.Add(-keepalive)
	c.mu.Unlock()
	c.beat()
	until(t, "one indication", func() bool {
		b.config.Mux.mu.Lock()
		defer b.config.Mux.mu.Unlock()
		return b.config.Mux.indications == before+1
	})
	chat(t, x.conn, y.conn)
}

func TestConnectFails(t *testing.T) {
	good := Parameters{"other", strings.Repeat("p", 22), nil}
	for name, p := range map[string]Parameters{
		"short fragment": {"abc", good.Password, nil}, "short password": {"abcd", "secret", nil},
		"long fragment": {strings.Repeat("u", 257), good.Password, nil}, "long password": {"abcd", strings.Repeat("p", 257), nil},
	} {
		s := gather(t, Config{Mux: newMux(t)})
		if _, _, err := s.Connect(t.Context(), p); !errors.Is(err, ErrParameters) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := s.Connect(t.Context(), good); !errors.Is(err, ErrNoPair) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

func TestConnectEndsWithItsSession(t *testing.T) {
	s := gather(t, Config{Mux: newMux(t), Controlling: true})
	failed := make(chan error)
	go func() {
		_, _, err := s.Connect(t.Context(), Parameters{"other", strings.Repeat("p", 22), nil})
		failed <- err
	}()
	s.Close()
	if err := <-failed; !errors.Is(err, ErrNoPair) {
		t.Errorf("error %v", err)
	}
}

// A server that does not answer costs a candidate, not the session.
func TestGatherWithoutServers(t *testing.T) {
	silent := listen(t, "127.0.0.1:0")
	defer func() { _ = silent.Close() }()
	at := addressOfSocket(silent)
	start := time.Now()
	s := gather(t, Config{Mux: newMux(t), STUN: []netip.AddrPort{at}, TURN: []Server{credential(at, "n1")}})
	if d := time.Since(start); d > gatherTimeout+5*time.Second {
		t.Errorf("took %s", d)
	}
	if err := s.Missed(); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "TURN server "+at.String()) {
		t.Errorf("missed: %v", err)
	}
	if n := len(s.Parameters().Candidates); n != 1 {
		t.Errorf("%d candidates", n)
	}
}

func TestGatherEndsWithItsContext(t *testing.T) {
	silent := listen(t, "127.0.0.1:0")
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	m, failed := newMux(t), make(chan error)
	go func() {
		_, err := Gather(ctx, Config{Mux: m, Loopback: true, STUN: []netip.AddrPort{addressOfSocket(silent)}})
		failed <- err
	}()
	if _, err := silent.Read(make([]byte, datagramSize)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.members)+len(m.queries) > 0 {
		t.Errorf("%d members and %d queries are left", len(m.members), len(m.queries))
	}
}

func TestGatherIsBounded(t *testing.T) {
	m := newMux(t)
	for range maxSessions {
		gather(t, Config{Mux: m})
	}
	if _, err := Gather(t.Context(), Config{Mux: m, Loopback: true}); !errors.Is(err, ErrTooMany) {
		t.Errorf("error %v", err)
	}
	_ = m.Close()
	if _, err := Gather(t.Context(), Config{Mux: m, Loopback: true}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
