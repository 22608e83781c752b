package ice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// Errors of this package.
var (
	ErrTooMany    = errors.New("ice: too many at a time")
	ErrParameters = errors.New("ice: the other side's user name fragment or password is malformed")
	ErrNoPair     = errors.New("ice: no candidate pair works")
)

// Mux shares one UDP socket between sessions and Rest. The package comment says who gets what.
type Mux struct {
	socket *net.UDPConn
	local  netip.AddrPort
	done   chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	closed  bool
	members map[string]*member // by our ufrag
	checks  map[transaction]check
	queries map[transaction]*query
	routes  map[netip.AddrPort][]route
	rest    *Rest

	indications uint64 // keepalives that came
}

type transaction = [stun.TransactionIDSize]byte

// member is a session's part of a Mux.
type member struct {
	ufrag string
	ports []*port // one for each host candidate
}

// check is a connectivity check whose answer is awaited.
type check struct {
	port *port
	to   netip.AddrPort
}

// route says that a remote address belongs to a session, because it has answered a check.
type route struct {
	port   *port
	mapped netip.AddrPort // as which it has seen us
}

// NewMux starts reading socket, which is the Mux's from now on.
func NewMux(socket *net.UDPConn) *Mux {
	m := &Mux{
		socket: socket, local: plain(socket.LocalAddr().(*net.UDPAddr).AddrPort()), done: make(chan struct{}),
		members: make(map[string]*member), checks: make(map[transaction]check),
		queries: make(map[transaction]*query), routes: make(map[netip.AddrPort][]route),
	}
	go m.read()
	return m
}

// plain is a with an IPv4 address written as one.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// LocalAddr is the address of the socket.
func (m *Mux) LocalAddr() netip.AddrPort { return m.local }

// Close closes the socket; sessions hear nothing any more. It waits for the reader.
func (m *Mux) Close() error {
	m.mu.Lock()
	m.closed = true
	rest := m.rest
	m.mu.Unlock()
	err := m.socket.Close()
	<-m.done
	if rest != nil {
		_ = rest.Close()
	}
	return err
}

// Rest is the other user of the socket. Until it is called the first time, what would be its is dropped.
func (m *Mux) Rest() *Rest {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rest == nil {
		m.rest = newRest(m)
	}
	return m.rest
}

func (m *Mux) read() {
	defer close(m.done)
	b := make([]byte, datagramSize)
	for {
		n, from, err := m.socket.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(readPause)
		default:
			m.datagram(b[:n], plain(from))
		}
	}
}

func (m *Mux) datagram(b []byte, from netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := len(b) == 0
	switch {
	case len(b) >= minSTUN && b[0] <= 3 && stun.IsMessage(b):
		taken = m.message(b, from)
	case len(b) >= dtlsHeader && b[0] >= minDTLS && b[0] <= maxDTLS:
		taken = m.record(b, from)
	}
	if !taken && m.rest != nil {
		m.rest.put(datagram{bytes.Clone(b), from})
	}
}

// message passes a STUN message on and reports whether it was not for Rest.
func (m *Mux) message(b []byte, from netip.AddrPort) bool {
	msg := stun.Message{Raw: b}
	if msg.Decode() != nil {
		return true
	}
	switch {
	case msg.Type == stun.BindingRequest:
		user, err := msg.Get(stun.AttrUsername)
		if err != nil {
			return false
		}
		// RFC 5245 §7.1.2.3: the user name is "the username fragment provided by the peer" and ours, "separated by a colon".
		ours, _, _ := strings.Cut(string(user), ":")
		if x := m.members[ours]; x != nil {
			x.take(b, from)
		}
	case msg.Type == stun.BindingSuccess || msg.Type == stun.BindingError:
		m.response(&msg, from)
	case msg.Type.Class == stun.ClassIndication:
		m.indications++
	}
	return true
}

// response passes the answer to a request of ours on.
func (m *Mux) response(msg *stun.Message, from netip.AddrPort) {
	id := msg.TransactionID
	if q := m.queries[id]; q != nil && q.server == from {
		q.answered(msg)
		return
	}
	c, ok := m.checks[id]
	if !ok || c.to != from {
		return
	}
	delete(m.checks, id)
	if msg.Type == stun.BindingSuccess {
		mapped, _ := mappedAddress(msg)
		m.prove(route{c.port, mapped}, from)
	}
	c.port.put(datagram{bytes.Clone(msg.Raw), from})
}

// prove makes from an address of r's session.
func (m *Mux) prove(r route, from netip.AddrPort) {
	list := slices.DeleteFunc(m.routes[from], func(o route) bool { return o.port.owner == r.port.owner })
	if len(list) >= maxRoutes {
		list = slices.Delete(list, 0, 1)
	}
	m.routes[from] = append(list, r)
}

// record passes a DTLS record on and reports whether there was anyone for it.
func (m *Mux) record(b []byte, from netip.AddrPort) bool {
	list := m.routes[from]
	if len(list) == 0 {
		return false
	}
	if epoch := binary.BigEndian.Uint16(b[3:]); epoch == 0 {
		list = list[len(list)-1:]
	}
	for _, r := range list {
		r.port.put(datagram{bytes.Clone(b), from})
	}
	return true
}

// join makes room for a session with the given host candidates. Each gets a port.
func (m *Mux) join(ufrag string, hosts []netip.AddrPort) (*member, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, net.ErrClosed
	case len(m.members) >= maxSessions || m.members[ufrag] != nil:
		return nil, ErrTooMany
	}
	x := &member{ufrag: ufrag}
	for _, h := range hosts {
		x.ports = append(x.ports, newPort(m, x, h))
	}
	m.members[ufrag] = x
	return x, nil
}

// leave ends a session's part.
func (m *Mux) leave(x *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.members, x.ufrag)
	for id, c := range m.checks {
		if c.port.owner == x {
			delete(m.checks, id)
		}
	}
	for from, list := range m.routes {
		if list = slices.DeleteFunc(list, func(r route) bool { return r.port.owner == x }); len(list) == 0 {
			delete(m.routes, from)
		} else {
			m.routes[from] = list
		}
	}
}

// seenAs is as which address the one at from has seen the session x; the zero value when that is unknown.
func (m *Mux) seenAs(x *member, from netip.AddrPort) netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.routes[from] {
		if r.port.owner == x {
			return r.mapped
		}
	}
	return netip.AddrPort{}
}

// hosts lists the transport addresses of the socket.
func (m *Mux) hosts(loopback bool) ([]netip.AddrPort, error) {
	if !m.local.Addr().IsUnspecified() {
		return []netip.AddrPort{m.local}, nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var list []netip.AddrPort
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap()
		if (ip.IsGlobalUnicast() || loopback && ip.IsLoopback()) && (ip.Is4() || m.local.Addr().Is6()) {
			list = append(list, netip.AddrPortFrom(ip, m.local.Port()))
		}
	}
	return list[:min(len(list), maxHosts)], nil
}
