package ice

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// ErrTURN means that a TURN server is not configured so that it could run.
var ErrTURN = errors.New("ice: bad TURN configuration")

// TURNConfig is for a TURN server.
type TURNConfig struct {
	// Socket is where clients come in; it is the server's from now on.
	Socket *net.UDPConn
	// Relay is the address of the relayed addresses, as others reach it.
	Relay netip.Addr
	// Listen is where they are on this host; the zero value: Relay.
	Listen netip.Addr
	// MinPort and MaxPort are the ports of relayed addresses, both included.
	MinPort, MaxPort uint16
	// Realm is the overlay's name.
	Realm string
	// Secrets are those with which credentials may have been made: the current one and, while it changes, another.
	Secrets []Secret
	// MaxAllocations and MaxPerUser bound what clients hold at a time; 0: 1024 and 128.
	MaxAllocations, MaxPerUser int
	// AllowPrivate lets clients reach private and loopback addresses, and with them whatever else listens near the server.
	AllowPrivate bool
}

// TURN is a running TURN server (RFC 6940 §9, RFC 5766): UDP only. It also answers Binding requests.
type TURN struct {
	config TURNConfig
	server *turn.Server

	made, unauthorized, overQuota, badPeer, noPort atomic.Uint64
	received, sent                                 atomic.Uint64

	mu    sync.Mutex
	live  map[string]string // user by the client's address
	users map[string]int    // allocations by user
}

// TURNStats are counters of a TURN server.
type TURNStats struct {
	Allocations    int    // now
	Made           uint64 // since the start
	Unauthorized   uint64 // requests without a valid credential, among them every client's first
	OverQuota      uint64
	BadPeer        uint64 // permissions that were refused because of the peer's address
	NoPort         uint64 // allocations that found no free port
	Received, Sent uint64 // octets from and to peers
}

// ServeTURN starts a TURN server. The error is ErrTURN, wrapped, or the system's; then the socket is closed.
func ServeTURN(c TURNConfig) (*TURN, error) {
	if !c.Listen.IsValid() {
		c.Listen = c.Relay
	}
	if c.MaxAllocations == 0 {
		c.MaxAllocations = defaultAllocations
	}
	if c.MaxPerUser == 0 {
		c.MaxPerUser = defaultPerUser
	}
	t := &TURN{config: c, live: make(map[string]string), users: make(map[string]int)}
	err := c.check()
	if err == nil {
		t.server, err = turn.NewServer(turn.ServerConfig{
			Realm: c.Realm, AuthHandler: t.authenticate, QuotaHandler: t.admits, LoggerFactory: quiet(),
			EventHandler: turn.EventHandler{OnAuth: t.judged, OnAllocationCreated: t.opened, OnAllocationDeleted: t.ended},
			PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: c.Socket, RelayAddressGenerator: ports{t},
				PermissionHandler: t.permits}},
			InboundMTU: turnMTU,
		})
	}
	if err != nil {
		_ = c.Socket.Close()
		return nil, fmt.Errorf("ice: TURN server: %w", err)
	}
	return t, nil
}

func (c *TURNConfig) check() error {
	switch {
	case len(c.Secrets) == 0 || c.Realm == "":
		return fmt.Errorf("%w: it needs a secret and a realm", ErrTURN)
	case !c.Relay.IsValid() || c.Relay.IsUnspecified():
		return fmt.Errorf("%w: relay address %s", ErrTURN, c.Relay)
	case c.MinPort == 0 || c.MaxPort < c.MinPort:
		return fmt.Errorf("%w: ports %d to %d", ErrTURN, c.MinPort, c.MaxPort)
	}
	for _, k := range c.Secrets {
		if err := k.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the server, all allocations and the socket.
func (t *TURN) Close() error {
	if err := t.server.Close(); err != nil {
		return fmt.Errorf("ice: TURN server: %w", err)
	}
	return nil
}

// Stats returns a snapshot.
func (t *TURN) Stats() TURNStats {
	t.mu.Lock()
	n := len(t.live)
	t.mu.Unlock()
	return TURNStats{n, t.made.Load(), t.unauthorized.Load(), t.overQuota.Load(), t.badPeer.Load(), t.noPort.Load(),
		t.received.Load(), t.sent.Load()}
}

// authenticate returns the key that the request must have been protected with. An allocation goes on when the credential
// with which it was made has ended.
func (t *TURN) authenticate(r *turn.RequestAttributes) (string, []byte, bool) {
	c, ok := parseClaim(r.Username)
	now := time.Now()
	ended := c.expiry.Before(now) && (r.Method == stun.MethodAllocate || !t.holds(r.SrcAddr.String(), c.user))
	if !ok || ended || c.expiry.After(now.Add(maxCredential)) {
		t.unauthorized.Add(1)
		return "", nil, false
	}
	password := c.secretOf(t.config.Secrets).password(r.Username)
	return c.user, turn.GenerateAuthKey(r.Username, t.config.Realm, password), true
}

func (t *TURN) holds(client, user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, ok := t.live[client]
	return ok && u == user
}

func (t *TURN) judged(_, _ net.Addr, _, _, _ string, _ string, verdict bool) {
	if !verdict {
		t.unauthorized.Add(1)
	}
}

// admits is the quota. RFC 5766 §6.2: "the server MAY choose to reject the request with a 486 (Allocation Quota Reached)
// error if it feels the client is trying to exceed some locally defined allocation quota".
func (t *TURN) admits(user, _ string, _ net.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.live) >= t.config.MaxAllocations || t.users[user] >= t.config.MaxPerUser {
		t.overQuota.Add(1)
		return false
	}
	return true
}

func (t *TURN) opened(client, _ net.Addr, _, user, _ string, _ net.Addr, _ int) {
	t.made.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[client.String()] = user
	t.users[user]++
}

func (t *TURN) ended(client, _ net.Addr, _, user, _ string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, client.String())
	if t.users[user]--; t.users[user] <= 0 {
		delete(t.users, user)
	}
}

// permits decides to whom a client may send. RFC 8656 §10.2: "The server MAY impose restrictions on the IP address allowed
// in the XOR-PEER-ADDRESS attribute; if a value is not allowed, the server rejects the request with a 403 (Forbidden)".
func (t *TURN) permits(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	ip = ip.Unmap()
	if ok && (public(ip) || t.config.AllowPrivate && !ip.IsUnspecified() && !ip.IsMulticast()) {
		return true
	}
	t.badPeer.Add(1)
	return false
}

// ports makes relayed addresses.
type ports struct{ *TURN }

// Validate finds nothing wrong: TURNConfig.check did.
func (ports) Validate() error { return nil }

// AllocatePacketConn opens a port of the range.
func (p ports) AllocatePacketConn(a turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if (a.Network == "udp4") != p.config.Listen.Unmap().Is4() {
		return nil, nil, fmt.Errorf("%w: no relayed addresses for %s", ErrTURN, a.Network)
	}
	for range portTries {
		port := p.config.MinPort + uint16(rand.N(int(p.config.MaxPort-p.config.MinPort)+1))
		if a.RequestedPort != 0 {
			port = uint16(a.RequestedPort)
		}
		if port < p.config.MinPort || port > p.config.MaxPort {
			break
		}
		c, err := net.ListenUDP(a.Network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.config.Listen, port)))
		if err == nil {
			return counted{c, p.TURN}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.config.Relay, port)), nil
		}
	}
	p.noPort.Add(1)
	return nil, nil, fmt.Errorf("%w: no free port between %d and %d", ErrTURN, p.config.MinPort, p.config.MaxPort)
}

// AllocateListener refuses: RFC 6062 is not supported.
func (ports) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, fmt.Errorf("%w: no TCP", ErrTURN)
}

// AllocateConn refuses.
func (ports) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, fmt.Errorf("%w: no TCP", ErrTURN)
}

// counted is a relayed address whose octets are counted.
type counted struct {
	net.PacketConn
	t *TURN
}

func (c counted) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	c.t.received.Add(uint64(max(n, 0)))
	return n, from, err
}

func (c counted) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(b, to)
	c.t.sent.Add(uint64(max(n, 0)))
	return n, err
}
