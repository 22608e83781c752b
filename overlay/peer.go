// Package overlay is a running RELOAD peer: sockets, workers and one event loop around a node.Node (RFC 6940 §6,
// §10). The gateway and package sipusage call it. All methods of a Peer are safe for concurrent use.
//
// One goroutine, the loop, owns the node. Everything that happens is a function sent to its inbox, which is bounded:
// the reader of a link waits while it is full, and so holds back that link; a caller gets ErrOverload. The loop never
// waits for anything: links have bounded send queues that drop, signatures are made and checked by a pool of workers
// whose bounded queue refuses, connections are opened by goroutines of a bounded number.
package overlay

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// Config is what a peer is made of.
type Config struct {
	Overlay *config.Overlay
	Self    *trust.Signer
	// Listener takes overlay links, AppListener the connections of applications that AppAttach leads to (RFC 6940
	// §6.5.2). The peer closes both.
	Listener, AppListener net.Listener
	// Advertise and AppAdvertise are the addresses that others dial, "ip:port"; empty means the listeners' own.
	Advertise, AppAdvertise string
	Bootstrap               []string // "host:port", besides the configuration document's
	First                   bool     // may be the first of its overlay
	Applications            []wire.ApplicationID
	// Accept takes each application connection that another node asked for. It must not block. Nil closes them.
	Accept func(AppConn)
	Log    zerolog.Logger
}

// AppConn is a connection of an application to a node of the overlay: TLS, both certificates checked (RFC 6940
// §6.5.2, RFC 7904 §5.1).
type AppConn struct {
	net.Conn
	Peer        trust.Identity
	Application wire.ApplicationID
}

// Peer is a running RELOAD peer.
type Peer struct {
	cfg      Config
	self     wire.NodeID
	node     machine
	verifier *trust.Verifier
	tls      *link.TLS
	own      []string // addresses at which this peer itself is reached
	dialTCP  func(ctx context.Context, network, address string) (net.Conn, error)

	inbox   chan input
	aside   aside
	jobs    chan func() input
	apps    appTable
	count   counters
	last    atomic.Pointer[node.Status]
	linkIDs atomic.Uint64
	links   atomic.Int64

	dials, appDials chan struct{} // hold one token for each connection being opened

	started atomic.Bool
	joined  chan struct{} // closed by the loop
	stopped chan struct{} // closed when the loop has ended
	running sync.WaitGroup
}

// New checks c; it starts nothing. On error the listeners are still the caller's.
func New(c Config) (*Peer, error) {
	return newPeer(c, func(n node.Config) machine { return node.New(n) })
}

func newPeer(c Config, newNode func(node.Config) machine) (*Peer, error) {
	if c.Overlay == nil || c.Self == nil || c.Listener == nil || c.AppListener == nil {
		return nil, errors.New("overlay: Overlay, Self, Listener and AppListener are needed")
	}
	listen, err := candidates(c.Advertise, c.Listener)
	if err != nil {
		return nil, err
	}
	app, err := candidates(c.AppAdvertise, c.AppListener)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	p := &Peer{
		cfg:      c,
		self:     c.Self.Identity().Node,
		verifier: trust.NewVerifier(c.Overlay),
		own:      []string{listen[0].Address.String(), c.Listener.Addr().String()},
		dialTCP:  new(net.Dialer).DialContext,
		inbox:    make(chan input, maxInbox),
		aside:    aside{wake: make(chan struct{}, 1)},
		jobs:     make(chan func() input, maxJobs),
		dials:    make(chan struct{}, maxDials),
		appDials: make(chan struct{}, maxDials),
		joined:   make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	p.node = newNode(node.Config{
		Overlay: c.Overlay, Self: p.self,
		Candidates: listen, AppCandidates: app, Applications: c.Applications,
		Bootstrap: c.Bootstrap, First: c.First,
		Rand: rand.New(rand.NewChaCha8(seed)),
	})
	p.tls = link.NewTLS(c.Self, p.verifier)
	p.last.Store(&node.Status{State: node.Starting, Self: p.self})
	return p, nil
}

// Run joins, serves and, when ctx ends, leaves. It returns when every socket is closed and every goroutine has ended.
// It may be called once. From then on the listeners are the peer's.
func (p *Peer) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("overlay: Run called twice")
	}
	// Sockets and workers outlive ctx by what leaving takes.
	sockets, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for range runtime.GOMAXPROCS(0) {
		p.running.Go(func() { p.work(sockets) })
	}
	p.running.Go(func() { p.serveLinks(sockets) })
	p.running.Go(func() { p.serveApps(sockets) })
	newLoop(p, sockets).run(ctx)
	close(p.stopped)
	stop()
	p.running.Wait()
	p.apps.close()
	return nil
}

// Joined is closed when the peer is part of the ring.
func (p *Peer) Joined() <-chan struct{} { return p.joined }

// NodeID is the peer's own.
func (p *Peer) NodeID() wire.NodeID { return p.self }
