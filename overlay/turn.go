package overlay

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What package ice calls these, for those who configure and watch a peer.
type (
	TURNSecret = ice.Secret
	TURNServer = ice.Server
	TURNStats  = ice.TURNStats
)

// TURN says which TURN servers a peer uses, and whether it is one (RFC 6940 §9). The zero value: none, and it is not.
type TURN struct {
	// Secrets are what the TURN servers of the overlay share with their users, the present one first; docs/decisions/0006.
	// Without one the peer uses none of them and is none of them.
	Secrets []TURNSecret
	// Servers are used besides those that are found in the overlay.
	Servers []TURNServer
	// Socket is where clients come in; nil: this peer is no TURN server. The peer closes it.
	Socket *net.UDPConn
	// Address is Socket as others reach it; the zero value: its own address.
	Address netip.AddrPort
	// MinPort to MaxPort are the ports of relayed addresses.
	MinPort, MaxPort uint16
	// MaxAllocations and MaxPerUser bound what clients hold at a time; 0: 1024 and 128.
	MaxAllocations, MaxPerUser int
	// AllowPrivate lets clients reach private addresses, and this peer have one: for a network of its own.
	AllowPrivate bool
}

// server is the configuration of our own TURN server.
func (t *TURN) server(realm string) ice.TURNConfig {
	local := addressOf(t.Socket)
	c := ice.TURNConfig{Socket: t.Socket, Relay: t.address().Addr(), MinPort: t.MinPort, MaxPort: t.MaxPort, Realm: realm,
		Secrets: t.Secrets, MaxAllocations: t.MaxAllocations, MaxPerUser: t.MaxPerUser, AllowPrivate: t.AllowPrivate}
	if c.Relay != local.Addr() {
		c.Listen = local.Addr() // behind a NAT that maps one to one
	}
	return c
}

func (t *TURN) address() netip.AddrPort {
	if t.Address.IsValid() {
		return t.Address
	}
	return addressOf(t.Socket)
}

// traverse starts what an overlay with ICE needs.
func (p *Peer) traverse(ctx context.Context) {
	t := p.ice
	t.start(&p.cfg)
	if len(t.turn.Secrets) == 0 {
		return
	}
	p.running.Go(func() { p.seekTURN(ctx) })
	if t.turn.Socket == nil {
		return
	}
	s, err := ice.ServeTURN(t.turn.server(p.Config().InstanceName))
	if err != nil {
		p.cfg.Log.Error().Str("component", "turn").Err(err).Msg("no TURN server")
		return
	}
	t.mu.Lock()
	t.served = s
	t.mu.Unlock()
	p.running.Go(func() {
		p.offerTURN(ctx)
		_ = s.Close()
	})
}

func (t *traversal) turnStats() ice.TURNStats {
	t.mu.Lock()
	s := t.served
	t.mu.Unlock()
	if s == nil {
		return ice.TURNStats{}
	}
	return s.Stats()
}

// offerTURN keeps the TURN-SERVICE entries of this peer in the overlay until ctx ends.
func (p *Peer) offerTURN(ctx context.Context) {
	if !p.inRing(ctx) {
		return
	}
	for {
		wait := turnRetry
		if p.mayRelay() {
			err := p.storeTURN(ctx, true)
			if err == nil {
				wait = turnLifetime / 2
			}
			p.cfg.Log.Debug().Str("component", "turn").Stringer("address", p.ice.turn.address()).Err(err).Msg("TURN server offered")
		}
		if !sleep(ctx, wait, nil) {
			return
		}
	}
}

// mayRelay reports whether this peer is a candidate for a TURN server. RFC 6940 §9: "If the ICE stage in any of these
// connections returns a reflexive address that is not the same as the peer's perceived address, then the peer is behind a NAT and
// SHOULD NOT be a candidate for a TURN server." An address that was configured is believed.
func (p *Peer) mayRelay() bool {
	t := p.ice
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.turn.AllowPrivate || t.turn.Address.IsValid() || t.views.MayRelay(t.turn.address().Addr())
}

// offers are those of list and, when this peer may be a TURN server, that too: once it stands in the overlay where that is.
func (t *traversal) offers(list []*offer) []*offer {
	if t.turn.Socket == nil {
		return list
	}
	return append(list, &offer{namespace: ServiceTURN, ready: t.offered.Load})
}

// withdraw returns a context that ends a moment after ctx: when the entries of our TURN server and of our services are taken out of
// the overlay, while this peer is still part of it. withdrawn is closed when those of services are.
func (p *Peer) withdraw(ctx context.Context, withdrawn <-chan struct{}) context.Context {
	if len(p.offers) == 0 {
		return ctx
	}
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.running.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-p.stopped:
			return
		}
		if p.ice != nil && p.ice.offered.Load() {
			short, stop := context.WithTimeout(later, turnWithdraw)
			defer stop()
			_ = p.storeTURN(short, false) // else the entries end by themselves
		}
		<-withdrawn
	})
	return later
}

// storeTURN stores the entries of our TURN server; exists is false when there is none any more.
func (p *Peer) storeTURN(ctx context.Context, exists bool) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	p.ice.offered.Store(exists)
	now := time.Now()
	var stores []func() error
	for _, e := range ice.Entries(p.self, p.turnDensity(), wire.TurnServer{Address: p.ice.turn.address()}) {
		v := wire.StoredValue{Model: wire.SingleValue, Exists: exists}
		if exists {
			v.Data = e.Server.AppendTo(nil)
		}
		stores = append(stores, func() error {
			_, err := p.Store(ctx, p.signer.Load(), e.Resource, wire.KindTURNService, v, now, turnLifetime)
			return err
		})
	}
	return together(stores)
}

// together calls all of a few functions at once: each waits for an answer of the overlay, and one that is slow, because a replica of
// what it stores does not answer, shall not hold up the others.
func together(calls []func() error) error {
	errs := make([]error, len(calls))
	var wait sync.WaitGroup
	for i, call := range calls {
		wait.Go(func() { errs[i] = call() })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// turnDensity is how often our TURN server stands in the overlay: once at least where its Node-ID is found by RFC 7374.
func (p *Peer) turnDensity() uint8 {
	c := p.Config()
	if _, ok := c.Redir(); ok {
		return max(1, c.TurnDensity)
	}
	return c.TurnDensity
}

// seekTURN looks for TURN servers in the overlay when there are too few, until ctx ends.
func (p *Peer) seekTURN(ctx context.Context) {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	random := rand.New(rand.NewChaCha8(seed))
	pause := turnPause
	if !p.inRing(ctx) {
		return
	}
	for first := true; ; first = false {
		wait := turnRefresh
		if p.needsTURN() && !p.findTURN(ctx, random) {
			wait, pause = pause, min(2*pause, turnRetry)
		} else {
			pause = turnPause
		}
		if first {
			close(p.ice.sought)
		}
		if !sleep(ctx, wait, p.ice.found) {
			return
		}
	}
}

// firstTURN waits a moment for the TURN servers of a peer that is part of the ring only now: its first link with another one
// behind a NAT may need them.
func (p *Peer) firstTURN(ctx context.Context) {
	t := p.ice
	select {
	case <-p.joined:
	default:
		return // the search has not begun
	}
	if len(t.turn.Secrets) > 0 {
		_ = sleep(ctx, turnFirst, t.sought)
	}
}

// needsTURN reports whether another TURN server is wanted. A peer that offers TURN is reached without.
func (p *Peer) needsTURN() bool {
	t := p.ice
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.served == nil && len(t.relays)+len(t.turn.Servers) < wantRelays
}

// findTURN looks once. RFC 6940 §9: "Peers MAY find other servers by selecting a random Resource-ID and then doing a Find
// request for the appropriate Kind-ID with that Resource-ID." A peer that has nothing sends us on to the next one: in a small
// overlay, where one peer may be responsible for nearly everything, random Resource-IDs alone would lead to it all the time.
func (p *Peer) findTURN(ctx context.Context, random *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	if p.discoverTURN(ctx) {
		return true
	}
	near := ice.FindTarget(random)
	for range turnWalk {
		at, from, err := p.find(ctx, near, wire.KindTURNService)
		if err == nil && p.fetchTURN(ctx, at) {
			return true
		}
		if err != nil && !errors.Is(err, errNotFound) {
			return false
		}
		near = behind(from)
	}
	return false
}

// behind is the first Resource-ID that the peer after id is responsible for.
func behind(id wire.NodeID) wire.ResourceID {
	b := id.Bytes()
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			break
		}
	}
	return wire.ResourceID(b)
}

// fetchTURN remembers the TURN servers that are stored under one Resource-ID; false: there is none but this peer.
func (p *Peer) fetchTURN(ctx context.Context, at wire.ResourceID) bool {
	values, err := p.Fetch(ctx, at, wire.KindTURNService)
	if err != nil {
		return false
	}
	found := false
	for _, v := range values {
		server, err := wire.ParseTurnServer(v.Value.Data)
		if err == nil && usable(server.Address) && v.Signer.Node != p.self {
			found = p.ice.foundTURN(plain(server.Address)) || found
		}
	}
	return found
}

// foundTURN remembers a TURN server; false: it is to be left alone.
func (t *traversal) foundTURN(at netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead[at].After(time.Now()) {
		return false
	}
	if !slices.Contains(t.relays, at) && len(t.relays) < wantRelays {
		t.relays = append(t.relays, at)
	}
	return true
}

var errNotFound = errors.New("overlay: nothing found")

// find asks for the stored Resource-ID of kind that is closest to near (RFC 6940 §7.4.4). from is who has answered, also with
// errNotFound.
func (p *Peer) find(ctx context.Context, near wire.ResourceID, kind wire.KindID) (at wire.ResourceID, from wire.NodeID, err error) {
	done, err := p.do(ctx, node.OpFind{Resource: near, Kind: kind})
	p.count.request("find", err)
	if err != nil {
		return "", from, err
	}
	from = done.Answer.Sender().Node
	if ans, ok := done.Answer.Message().Body.(*wire.FindAns); ok {
		for _, r := range ans.Results {
			// RFC 6940 §7.4.4.2: it "is 0 if no Resource-ID is known".
			if r.Kind == kind && strings.Trim(string(r.Closest), "\x00") != "" {
				return r.Closest, from, nil
			}
		}
	}
	return "", from, fmt.Errorf("%w: Kind %#x", errNotFound, uint32(kind))
}

// inRing waits until the peer is part of the ring; false: ctx has ended.
func (p *Peer) inRing(ctx context.Context) bool {
	select {
	case <-p.joined:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleep waits for d, or for early; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
		return false
	}
	return true
}
