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
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/numbers"
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
	// Verifier checks certificates and signatures by Overlay. Who reads certificates of this peer's own users has the same one, and what it
	// has found good there is not checked again. No other peer may have it: it follows the configuration of this one. Nil: one is made.
	Verifier *trust.Verifier
	// Document is what Overlay was read from; it is handed on to peers with an older one (RFC 6940 §6.5.4). Nil: none is.
	Document []byte
	// Changed is called with each document that takes its place, to keep it for the next start. Nil: nothing is kept.
	Changed func(document []byte)
	// KindsChanged is called with the kind-blocks that ConfigUpdates have brought (RFC 6940 §6.5.4) when they are others than before, to
	// keep them for the next start; Kinds are those that were kept.
	KindsChanged func(kinds [][]byte)
	Kinds        [][]byte
	Self         *trust.Signer
	// Listener takes overlay links over TLS, Packets those over DTLS; one of them may be nil. AppListener and AppPackets
	// likewise take the connections of applications that AppAttach leads to (RFC 6940 §6.5.2). The peer closes them.
	Listener, AppListener net.Listener
	Packets, AppPackets   *net.UDPConn
	// TURN is for an overlay with ICE, which needs Packets and AppPackets; Listener serves those there who have this peer as
	// their bootstrap node.
	TURN TURN
	// Advertise and so on are the addresses that others dial, "ip:port"; empty means the sockets' own.
	Advertise, PacketAdvertise, AppAdvertise, AppPacketAdvertise string
	Bootstrap                                                    []string // "host:port", besides the configuration document's
	Known                                                        []string // "host:port" of peers of an earlier run, tried before all others
	First                                                        bool     // may be the first of its overlay
	// Prepares is for who publishes nothing while this peer is alone: who comes first is not answered before Welcome was called, for 10 s at most.
	Prepares     bool
	Client       bool // be a client: route for nobody, store nothing (RFC 6940 §4.2)
	Applications []wire.ApplicationID
	// Services are what this peer provides, by their namespaces, where the document has the Kind REDIR (RFC 7374).
	Services []string
	// Accept takes each application connection that another node asked for. It must not block. Nil closes them.
	Accept func(AppConn)
	// Journal keeps what the peer stores for others; nil: a peer that ends forgets it. It is not closed.
	Journal Journal
	Log     zerolog.Logger
	// Software is told to nodes that the configuration document lets ask for it (RFC 7851 §5.3); empty: nothing.
	Software string
}

// AppConn is a connection of an application to a node of the overlay: TLS or DTLS, both certificates checked (RFC 6940
// §6.5.2, RFC 7904 §5.1). There is no framing header and no Simple Reliability on it: these carry RELOAD messages.
type AppConn struct {
	net.Conn
	Peer        trust.Identity
	Application wire.ApplicationID
	// Datagram is set over DTLS: a Write of up to MaxAppDatagram octets is one datagram, which may be lost or come out of
	// order, and a Read is one. A longer Write is lost.
	Datagram bool
}

// Peer is a running RELOAD peer.
type Peer struct {
	cfg       Config
	self      wire.NodeID
	signer    atomic.Pointer[trust.Signer] // what this peer shows and signs with; Renew changes it
	watched   watchlist
	offers    []*offer // services that it provides
	finders   *finders
	node      machine
	verifier  *trust.Verifier
	config    atomic.Pointer[config.Overlay]
	documents chan []byte   // the last that Changed is to be told of
	kinds     chan [][]byte // the same for KindsChanged
	// maxMessage is the largest max-message-size that there has been: others may go by an earlier configuration for a while, and the
	// node says what it thinks of that.
	maxMessage atomic.Int64
	tls        *link.TLS
	dtls       *link.DTLS
	ice        *traversal // nil without ICE
	own        []target   // at which this peer itself is reached
	dialTCP    func(ctx context.Context, network, address string) (net.Conn, error)
	// dialDTLS is nil when this node cannot do DTLS.
	dialDTLS func(ctx context.Context, address string, want wire.NodeID) (*link.Association, trust.Identity, error)

	turn    sync.Mutex // held by who uses node while the loop runs; nobody waits for anything else meanwhile
	inbox   chan input
	aside   aside
	jobs    chan func() input
	apps    appTable
	count   counters
	saver   saver
	last    atomic.Pointer[node.Status]
	linkIDs atomic.Uint64
	links   atomic.Int64
	ends    linkEnds

	dials, appDials chan struct{} // hold one token for each connection being opened

	company company
	started atomic.Bool
	joined  chan struct{} // closed by the loop
	// uncertain holds one value when there is something to tell.
	uncertain chan struct{}
	stopped   chan struct{} // closed when the loop has ended
	running   sync.WaitGroup
}

// New checks c; it starts nothing. On error the listeners are still the caller's.
func New(c Config) (*Peer, error) {
	return newPeer(c, func(n node.Config) machine { return node.New(n) })
}

func newPeer(c Config, newNode func(node.Config) machine) (*Peer, error) {
	listen, apps, err := c.listening()
	if err != nil {
		return nil, err
	}
	if c.Client && !c.Overlay.ClientsPermitted {
		// RFC 6940 §11.1: then nodes "are not allowed to remain clients after the initial join".
		return nil, fmt.Errorf("overlay: %s does not permit clients", c.Overlay.InstanceName)
	}
	c.Overlay = c.withKinds(time.Now())
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	p := &Peer{
		cfg:       c,
		self:      c.Self.Identity().Node,
		verifier:  c.Verifier,
		own:       ownTargets(&c, listen),
		dialTCP:   new(net.Dialer).DialContext,
		inbox:     make(chan input, maxInbox),
		aside:     aside{wake: make(chan struct{}, 1)},
		jobs:      make(chan func() input, maxJobs),
		dials:     make(chan struct{}, maxDials),
		appDials:  make(chan struct{}, maxDials),
		joined:    make(chan struct{}),
		company:   newCompany(),
		uncertain: make(chan struct{}, 1),
		stopped:   make(chan struct{}),
		documents: make(chan []byte, 1),
		kinds:     make(chan [][]byte, 1),
		saver:     saver{journal: c.Journal, wake: make(chan struct{}, 1)},
		watched:   newWatchlist(),
		finders:   newFinders(),
	}
	if p.offers, err = newOffers(&c); err != nil {
		return nil, err
	}
	if p.verifier == nil {
		p.verifier = trust.NewVerifier(c.Overlay)
	}
	p.signer.Store(c.Self)
	if !c.Overlay.NoICE {
		p.ice = newTraversal(&c)
		p.offers = p.ice.offers(p.offers)
	}
	if err := p.openPackets(); err != nil {
		return nil, err
	}
	p.config.Store(c.Overlay)
	p.maxMessage.Store(int64(c.Overlay.MaxMessageSize))
	p.node = newNode(node.Config{
		Overlay: c.Overlay, Document: c.Document, Self: p.self,
		Candidates: listen, AppCandidates: apps, LinkTypes: p.linkTypes(), Applications: c.Applications,
		Bootstrap: c.Bootstrap, Known: c.Known, First: c.First, Client: c.Client, Software: c.Software,
		Durable: c.Journal != nil, ReadReplicas: true,
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
	p.restore(time.Now())
	// Sockets and workers outlive ctx by what leaving takes.
	sockets, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for range runtime.GOMAXPROCS(0) {
		p.running.Go(func() { p.work(sockets) })
	}
	if p.ice != nil {
		p.traverse(sockets)
	}
	if p.cfg.Listener != nil {
		p.running.Go(func() { p.serveLinks(sockets) })
	}
	if p.cfg.Packets != nil {
		p.running.Go(func() { p.servePackets(sockets) })
	}
	if p.cfg.AppListener != nil {
		p.running.Go(func() { p.serveApps(sockets) })
	}
	if p.cfg.AppPackets != nil && p.ice == nil {
		p.running.Go(func() { p.serveAppPackets(sockets) })
	}
	if p.saver.journal != nil {
		p.running.Go(func() { p.save(sockets) })
	}
	p.running.Go(func() { p.tellChanges(sockets) })
	p.running.Go(func() { p.watchCertificates(sockets) })
	l := newLoop(p, sockets)
	l.run(p.withdraw(ctx, p.offerServices(ctx, sockets)))
	p.turn.Lock() // from then on nobody else uses the node
	close(p.stopped)
	p.turn.Unlock()
	stop()
	p.running.Wait()
	if p.ice != nil {
		p.ice.close()
	}
	p.apps.close()
	p.saveLast()
	return l.exit
}

// HasKind reports whether records of a Kind may be stored in the overlay.
func (p *Peer) HasKind(kind wire.KindID) bool {
	_, ok := p.Config().Kind(kind)
	return ok
}

// AllowsUser reports whether the configuration lets user ("alice@example.org") register in this overlay (RFC 7904 §3.4).
func (p *Peer) AllowsUser(user string) bool { return p.Config().AllowsUser(user) }

// Ranges is the shapes of the number ranges that are looked for in this overlay. It must not be modified.
func (p *Peer) Ranges() numbers.Plan { return p.Config().Ranges }

// Joined is closed when the peer is part of the ring.
func (p *Peer) Joined() <-chan struct{} { return p.joined }

// Uncertain has a value when it is uncertain whether what this node has stored is still there: many peers were lost, or two rings
// have become one. Whoever publishes something stores it again. One reader gets each.
func (p *Peer) Uncertain() <-chan struct{} { return p.uncertain }

// Stored is how many values of a Kind this peer holds, its own and those of others, now: it waits for the loop.
func (p *Peer) Stored(kind wire.KindID) int {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.node.Status(time.Now()).Stored[kind]
}

// NodeID is the peer's own.
func (p *Peer) NodeID() wire.NodeID { return p.self }
