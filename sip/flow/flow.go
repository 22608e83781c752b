// Package flow holds the transports: UDP sockets, TCP and TLS connections of phones and trunks, WebSockets of phones in browsers (RFC 7118), and the connections to other
// gateways of the overlay (RFC 3261 §18, RFC 3581, RFC 5626 §4.4, RFC 7904 §5.1). It frames, parses, fills in received and rport,
// says where each message came from as a location.Hop, and delivers octets to a Hop: over the connection it names, over
// another one to the same place, or over a new one. It knows no transactions; sip/transaction is its only user besides the
// gateway's assembly.
//
// A Table is safe for concurrent use. Messages of one connection are delivered in wire order, from one goroutine. So are those of one Call-ID over
// UDP: from that of the socket, or of its helper while one processor is not enough. Sending never waits for the network, with one exception: who writes to a UDP socket whose kernel
// buffer is full waits for room. There is no state for a UDP source, and no goroutine for an idle writer.
package flow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Names of the transports as Via and Hop write them.
const (
	UDP = "UDP"
	TCP = "TCP"
	TLS = "TLS"
	WS  = "WS"  // RFC 7118 §5.1
	WSS = "WSS" // the same over TLS
	// DTLS runs between gateways of an overlay only. No RFC defines SIP over DTLS; this is the name that others use too.
	DTLS = "DTLS-UDP"
)

// webSocket reports whether a transport is one of RFC 7118.
func webSocket(transport string) bool { return transport == WS || transport == WSS }

// secured reports whether a transport runs over TLS.
func secured(transport string) bool { return transport == TLS || transport == WSS }

// Config says what a Table listens on and how it reaches others. The zero value of each field but Listen is usable.
type Config struct {
	Listen []Listen
	// Domain is the sent-by of a Via towards a gateway of the overlay: the overlay's SIP domain (RFC 7904 §5.1).
	Domain string
	// Certificate gives the certificate of a TLS or WSS listener at each handshake. Needed for such a listener.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientRoots are the authorities for the certificates of clients; nil: those of the system.
	ClientRoots *x509.CertPool
	// ShowCertificate has Certificate shown to a server that asks for one as well, and connections to servers offered for requests the
	// other way (RFC 5923).
	ShowCertificate bool
	// Wildcards takes "*.example.org" in the certificate of a server for any name of that form. Deviation: RFC 5922 §7.2 forbids it, and
	// some carriers have nothing else.
	Wildcards bool
	// Allow, when not empty, lists the only networks that may use a listener that has no list of its own; Deny those that may use none.
	// Table.SetNetworks replaces them.
	Allow, Deny []netip.Prefix
	// Banned, when set, is asked for each datagram and each connection that comes in; it must not block.
	Banned func(netip.Addr) bool
	// Roots are the authorities that a dialled TLS server must have its certificate from; nil: those of the system.
	Roots *x509.CertPool
	// MinTLS is the lowest version of TLS that is used; 0: TLS 1.2. Suites are those of TLS 1.2 that may be used; none: Go's own choice.
	MinTLS uint16
	Suites []uint16
	// Revoked, when set, tells why a chain of certificates that was verified, that of the other side first, may not be used all the same; nil:
	// it may. staple is the OCSP response that the other side sent with it, perhaps none. It must not block for long.
	Revoked func(chain []*x509.Certificate, staple []byte) error
	// DialNode opens a connection to the gateway of the overlay whose GRUU has this gr value; nil: there is no overlay.
	DialNode func(ctx context.Context, gr string) (NodeConn, error)
	// Closed, when set, is told of each connection that ended. It is called once for a flow, from any goroutine, and must not block.
	Closed func(location.Hop)

	// Origins are patterns, as of path.Match, of the hosts whose pages may open a WebSocket, "*" for all, besides the host that
	// is connected to. A client that is no browser sends no Origin and is none of their concern (RFC 6455 §10.2).
	Origins []string

	// DSCP marks what phones and trunks are sent, 0 to 63; RFC 4594 §4.3 has CS3, 24, or CS5, 40, for signalling.
	DSCP int

	MaxConnections int // at once, accepted and dialled; 0: 20,000
	MaxPerAddress  int // accepted from one IPv4 address or IPv6 /64; 0: 1,000
	Log            zerolog.Logger
}

// NodeConn is a connection to another gateway of the overlay (RFC 7904 §5.1).
type NodeConn struct {
	net.Conn
	GR string // of the other gateway's GRUU, as it knows itself
	// Datagram is set over DTLS: a Write of up to 8000 octets and a Read, with room for 8192, are one datagram each, which may
	// be lost. Over TLS, or whatever else delivers octets in order, it is not.
	Datagram bool
}

// Listen is one socket.
type Listen struct {
	Transport string         // UDP, TCP, TLS, WS or WSS
	Addr      netip.AddrPort // port 0 lets the system choose
	// AdvertiseHost and AdvertisePort are what others are told (Via, Record-Route, Path); empty and 0: the bound address and port.
	AdvertiseHost string
	AdvertisePort uint16
	// Clients says whether a TLS or WSS client is asked for a certificate, and whether it must have one.
	Clients tls.ClientAuthType
	// Allow, when not empty, lists the only networks that may use the listener; Deny those of them that may not. Both are looked at before
	// anything is read.
	Allow, Deny []netip.Prefix
}

// Receiver takes what arrives.
type Receiver interface {
	// Deliver takes a message in the order of its flow. Its top Via has received and rport when it is a request. It must not block.
	Deliver(m *message.Message, from location.Hop)
}

// Errors of sending.
var (
	ErrClosed  = errors.New("flow: connection closed")
	ErrQueue   = errors.New("flow: queue full")
	ErrNoRoute = errors.New("flow: no socket or transport for the destination")
	ErrLost    = errors.New("flow: the connection has ended") // before it was known what became of a message
	ErrTooLong = errors.New("flow: message longer than a datagram")
)

// Table owns the listeners and connections.
type Table struct {
	cfg      Config
	receiver Receiver
	sockets  atomic.Pointer[sockets]
	refusals *rate.Limiter
	large    zerolog.Logger // sampled: requests that are too large for UDP
	tag      string         // To tag of our answers to malformed requests
	counters counters
	shakes   handshakes
	networks atomic.Pointer[access]
	next     atomic.Uint64 // the last flow number
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	listening sync.Mutex // held while the listeners change

	mu     sync.Mutex
	byFlow map[uint64]*stream
	byKey  map[streamKey]*stream
	dials  map[streamKey]*dial
	per    map[netip.Addr]int
	closed bool

	rooms sync.Pool // of *message.Message that nobody has any longer: see Recycle
}

// New binds every socket. Nothing is read before Serve.
func New(cfg Config) (*Table, error) {
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultConnections
	}
	if cfg.MaxPerAddress == 0 {
		cfg.MaxPerAddress = defaultPerAddress
	}
	t := &Table{
		cfg:      cfg,
		refusals: rate.NewLimiter(refusalRate, refusalRate),
		large:    cfg.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: largeLines}),
		tag:      strconv.FormatUint(rand.Uint64(), 36),
		shakes:   handshakes{by: map[netip.Addr]int{}},
		byFlow:   map[uint64]*stream{},
		byKey:    map[streamKey]*stream{},
		dials:    map[streamKey]*dial{},
		per:      map[netip.Addr]int{},
	}
	t.SetNetworks(cfg.Allow, cfg.Deny)
	t.sockets.Store(&sockets{})
	t.ctx, t.cancel = context.WithCancel(context.Background())
	// A number that was stored durably must not match a connection of a later process: start far away from any other start.
	t.next.Store(rand.Uint64()>>1 | 1<<62)
	if err := t.Listen(cfg.Listen); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Serve starts reading; r gets what arrives. It returns at once and may be called once.
func (t *Table) Serve(r Receiver) {
	t.listening.Lock()
	defer t.listening.Unlock()
	t.receiver = r
	t.sockets.Load().serve(t)
}

// Close closes every socket and connection and waits for their goroutines. Whoever waits for a connection is told ErrClosed.
func (t *Table) Close() {
	t.cancel()
	t.listening.Lock()
	t.sockets.Load().close()
	t.listening.Unlock()
	t.mu.Lock()
	t.closed = true
	all := make([]*stream, 0, len(t.byFlow))
	for _, s := range t.byFlow {
		all = append(all, s)
	}
	t.mu.Unlock()
	for _, s := range all {
		s.close(ErrClosed)
	}
	t.wg.Wait()
}

// Listeners lists the bound sockets UDP ones first, in the order of the configuration, each as others are told.
func (t *Table) Listeners() []sip.Address {
	var r []sip.Address
	all := t.sockets.Load()
	for _, u := range all.udp {
		r = append(r, u.address)
	}
	for _, l := range all.streams {
		r = append(r, l.address)
	}
	return r
}

// advertised is the address of a socket as others are told.
func advertised(l Listen, local netip.AddrPort) sip.Address {
	a := sip.Address{Transport: l.Transport, Host: l.AdvertiseHost, Port: l.AdvertisePort, Local: local}
	if a.Host == "" {
		a.Host = reachable(local.Addr()).String()
	}
	if a.Port == 0 {
		a.Port = local.Port()
	}
	return a
}

// reachable is a, or for a wildcard address the first address of this host in the same family that others can use.
func reachable(a netip.Addr) netip.Addr {
	if !a.IsUnspecified() {
		return a
	}
	ifaces, err := net.InterfaceAddrs()
	if err != nil {
		return a
	}
	for _, i := range ifaces {
		p, err := netip.ParsePrefix(i.String())
		if err == nil && p.Addr().Is4() == a.Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return a
}

// network is the name for package net: each family has sockets of its own, so that no address is ever an IPv4-mapped one.
func network(base string, a netip.Addr) string {
	if a.Is4() {
		return base + "4"
	}
	return base + "6"
}
