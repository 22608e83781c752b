package flow

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// batchConn is what ipv4.PacketConn and ipv6.PacketConn have in common: recvmmsg and sendmmsg.
type batchConn interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// datagramConn is a UDP socket, as x/net wants it.
type datagramConn interface {
	net.Conn
	net.PacketConn
}

// udpSocket is one listener; every datagram of its family that has no better socket leaves through it.
type udpSocket struct {
	t       *Table
	conn    datagramConn
	batch   batchConn
	as      Listen
	local   netip.AddrPort
	address sip.Address
	access  access
	fixed   bool        // the address is as configured, whichever of this host a peer uses
	info    *packetInfo // of a socket on the wildcard address
	sleep   func(time.Duration)
	gone    atomic.Bool // it is closed; what reading it says then is the system's

	mu       sync.Mutex
	queue    []datagram
	text     []byte     // what they say
	spare    []datagram // the queue before, kept for its memory
	spared   []byte     // likewise
	corked   int        // batches being worked off: their answers leave together
	flushing bool       // somebody writes; what is queued meanwhile, he writes too
	out      []ipv4.Message
}

type datagram struct {
	b       []byte
	to      netip.AddrPort
	from    netip.Addr // of this host
	receipt *Receipt
}

func openUDP(t *Table, l Listen) (*udpSocket, error) {
	c, err := net.ListenUDP(network("udp", l.Addr.Addr()), net.UDPAddrFromAddrPort(l.Addr))
	if err != nil {
		return nil, err
	}
	// The kernel grants what its limits allow; less is no error.
	_ = c.SetReadBuffer(udpKernelBuffer)
	_ = c.SetWriteBuffer(udpKernelBuffer)
	t.mark(c)
	u := &udpSocket{t: t, local: addrPort(c.LocalAddr()), sleep: time.Sleep}
	if u.conn, err = blocking(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	if b, ok := u.conn.(interface{ sleep(time.Duration) }); ok {
		u.sleep = b.sleep
	}
	u.address = advertised(l, u.local)
	u.access = access{l.Allow, l.Deny}
	u.fixed = l.AdvertiseHost != "" || !u.local.Addr().IsUnspecified()
	var v4 *ipv4.PacketConn
	var v6 *ipv6.PacketConn
	if u.local.Addr().Is4() {
		v4 = ipv4.NewPacketConn(u.conn)
		u.batch = batches(u.conn, v4)
	} else {
		v6 = ipv6.NewPacketConn(u.conn)
		u.batch = v6
	}
	if u.local.Addr().IsUnspecified() {
		u.info = newPacketInfo(v4, v6)
	}
	u.out = make([]ipv4.Message, batchSize)
	for i := range u.out {
		u.out[i].Buffers = make([][]byte, 1)
		u.out[i].Addr = &net.UDPAddr{IP: make(net.IP, 0, 16)}
	}
	return u, nil
}

func (u *udpSocket) close() {
	u.gone.Store(true)
	_ = u.conn.Close()
}

func (u *udpSocket) read() {
	in := make([]ipv4.Message, batchSize)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		if u.info != nil {
			in[i].OOB = u.info.room()
		}
	}
	asked := time.Now()
	yielded, g, h := asked, newGather(gatherUDP, asked), newHelper(u, asked)
	defer h.end()
	for {
		n, err := u.batch.ReadBatch(in, waitForOne)
		if u.gone.Load() || u.t.ctx.Err() != nil {
			return
		}
		if err != nil {
			u.t.cfg.Log.Error().Err(err).Stringer("local", u.local).Msg("sip: reading from the UDP socket")
			if !u.t.pause(acceptPauseMax) {
				return
			}
			continue
		}
		came := time.Now()
		g.came(n, came)
		h.begin(n, asked, came)
		u.cork()
		for i := range in[:n] {
			u.receive(h, in[i].Buffers[0][:in[i].N], addrPort(in[i].Addr), in[i].OOB[:in[i].NN])
		}
		h.pass()
		u.uncork()
		// A goroutine that has run for 10 ms without a pause loses its processor to the runtime's monitor, which then looks every
		// 20 µs for a while.
		now := time.Now()
		asked = now
		if now.Sub(yielded) > yieldAfter {
			runtime.Gosched()
			yielded = now
		}
		if d := g.pause(now); d > 0 && n < batchSize { // behind a full batch more is waiting
			u.sleep(d)
		}
	}
}

func (u *udpSocket) receive(h *helper, b []byte, from netip.AddrPort, oob []byte) {
	if !u.access.permits(u.t, from.Addr()) {
		return
	}
	local := u.local
	if u.info != nil {
		if a := u.info.destination(oob); a.IsValid() {
			local = netip.AddrPortFrom(a, local.Port())
		}
	}
	if junk(b) {
		u.t.counters.drop(dropKeepAlive)
		return
	}
	if res, ok := stun(b, from); ok {
		u.t.counters.drop(dropKeepAlive)
		_ = u.send(datagram{b: res, to: from, from: local.Addr()})
		return
	}
	room, _ := u.t.rooms.Get().(*message.Message)
	m, err := message.ParseInto(room, b)
	h.deliver(delivery{m, message.AsParseError(err), location.Hop{Transport: UDP, Remote: from, Local: local}})
}

// junk reports a keep-alive: NAT pinholes are held open with CRLFs, NULs, or a few octets of anything.
func junk(b []byte) bool {
	if len(b) <= 4 {
		return true
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

func (u *udpSocket) cork() {
	u.mu.Lock()
	u.corked++
	u.mu.Unlock()
}

func (u *udpSocket) uncork() {
	u.mu.Lock()
	u.corked--
	u.flush() // whoever else holds answers back
	u.mu.Unlock()
}

// Together has what f sends over UDP leave with few system calls, when f returns or many datagrams wait. f must not block.
func (t *Table) Together(f func()) {
	for _, u := range t.sockets.Load().udp {
		u.cork()
		defer u.uncork()
	}
	f()
}

// send queues a datagram and writes the queue unless somebody else will.
func (u *udpSocket) send(d datagram) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) >= udpQueue {
		u.t.counters.drop(dropUDPQueue)
		return ErrQueue
	}
	at := len(u.text)
	u.text = append(u.text, d.b...)
	d.b = u.text[at:]
	u.queue = append(u.queue, d)
	if u.corked == 0 || len(u.queue) >= udpCorked {
		u.flush()
	}
	return nil
}

// flush writes until the queue is empty. The caller holds mu, which is given up during the writes.
func (u *udpSocket) flush() {
	if u.flushing {
		return
	}
	u.flushing = true
	for len(u.queue) > 0 {
		q, text := u.queue, u.text
		u.queue, u.text = u.spare[:0], u.spared[:0]
		u.mu.Unlock()
		for rest := q; len(rest) > 0; {
			n := min(len(rest), batchSize)
			u.write(rest[:n])
			rest = rest[n:]
		}
		clear(q)
		u.mu.Lock()
		if u.spare, u.spared = q, text; cap(text) > udpSpared {
			u.spared = nil
		}
	}
	u.flushing = false
}

// write sends up to batchSize datagrams. One that cannot be sent does not hold up the others.
func (u *udpSocket) write(q []datagram) {
	for i, d := range q {
		u.out[i].Buffers[0] = d.b
		setAddr(u.out[i].Addr.(*net.UDPAddr), d.to)
		if u.info != nil {
			u.out[i].OOB = u.info.source(d.from)
		}
	}
	for i := 0; i < len(q); {
		n, err := u.batch.WriteBatch(u.out[i:len(q)], 0)
		u.t.counters.sent[udpIndex].Add(uint64(max(n, 0)))
		i += max(n, 0)
		if err != nil && i < len(q) {
			u.t.counters.drop(dropUDPWrite)
			q[i].receipt.fail(err)
			i++
		}
	}
}

func setAddr(a *net.UDPAddr, to netip.AddrPort) {
	if to.Addr().Is4() {
		ip := to.Addr().As4()
		a.IP = append(a.IP[:0], ip[:]...)
	} else {
		ip := to.Addr().As16()
		a.IP = append(a.IP[:0], ip[:]...)
	}
	a.Port, a.Zone = int(to.Port()), to.Addr().Zone()
}

// addrPort is the address of a socket or peer, never an IPv4-mapped one; zero for an address that is not of TCP or UDP.
func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		p = a.AddrPort()
	case *net.TCPAddr:
		p = a.AddrPort()
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// socketFor is the socket that a datagram to a hop leaves through: the one it names, else the first of the same family.
func (t *Table) socketFor(to location.Hop) *udpSocket {
	var first *udpSocket
	for _, u := range t.sockets.Load().udp {
		if u.owns(to.Local) {
			return u
		}
		if first == nil && u.local.Addr().Is4() == to.Remote.Addr().Is4() {
			first = u
		}
	}
	return first
}

// owns reports whether a datagram that came to an address of ours came to this socket.
func (u *udpSocket) owns(a netip.AddrPort) bool {
	return u.local == a || u.info != nil && u.local.Port() == a.Port() && u.local.Addr().Is4() == a.Addr().Is4()
}

// addressFor is how others reach this socket, when they sent to one address of this host.
func (u *udpSocket) addressFor(local netip.Addr) sip.Address {
	a := u.address
	if !u.fixed && local.IsValid() && !local.IsUnspecified() {
		a.Host = local.String()
	}
	return a
}
