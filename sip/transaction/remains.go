package transaction

import (
	"encoding/binary"
	"net/netip"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// remains is what is kept of a finished transaction until its last timer fires: which machine it was and in which state, in one octet, and
// what a retransmission needs besides itself. No lock, timer or pointer is part of it.
type remains struct {
	role   role
	octets []byte
}

// role is a machine in a state that only time ends.
type role uint8

const (
	nobody                role = iota
	serverCompleted            // non-INVITE server, Completed. octets: the response, abridged by the request; empty: there is none
	inviteServerCompleted      // INVITE server, Completed, when it does not repeat the response by itself. octets: likewise
	inviteServerConfirmed      // INVITE server, Confirmed
	inviteServerAccepted       // INVITE server, Accepted. octets: where the responses go
	clientCompleted            // non-INVITE client, Completed
	inviteClientCompleted      // INVITE client, Completed. octets: where the request went, and the ACK, abridged by the response
	inviteClientAccepted       // INVITE client, Accepted. octets: the key of a server transaction and the user's note; empty: nobody wants more
	mergedRequest              // no transaction, but the key by which copies of its request are known that come by other ways (RFC 3261 §8.2.2.2)
)

// roles are the machines of each role.
var roles = [...]machine{
	serverCompleted:       {kind: otherServer, state: completed},
	inviteServerCompleted: {kind: inviteServer, state: completed},
	inviteServerConfirmed: {kind: inviteServer, state: confirmed},
	inviteServerAccepted:  {kind: inviteServer, state: accepted},
	clientCompleted:       {kind: otherClient, state: completed},
	inviteClientCompleted: {kind: inviteClient, state: completed},
	inviteClientAccepted:  {kind: inviteClient, state: accepted},
}

// roleOf is the role of a machine that is settled.
func roleOf(m *machine) role {
	for r := serverCompleted; r < mergedRequest; r++ {
		if roles[r].kind == m.kind && roles[r].state == m.state {
			return r
		}
	}
	return nobody
}

// machine is the one that is left. Its last timer is the table's.
func (r remains) machine() machine { return roles[r.role] }

// left is what is to be kept of an entry that is settled, in b, which is empty, if there is room. m is the final response.
func (e *entry) left(m *message.Message, b []byte) remains {
	r := remains{role: roleOf(&e.machine)}
	switch r.role {
	case serverCompleted, inviteServerCompleted:
		if m != nil {
			r.octets = appendAbridged(b, m, e.req)
		}
	case inviteServerAccepted:
		r.octets = appendHop(b, e.hop)
	case inviteClientCompleted:
		r.octets = appendAbridged(appendHop(b, e.hop), newACK(e.req, m), m)
	case inviteClientAccepted:
		r.octets = e.note(b)
	}
	return r
}

// note is what an INVITE client transaction in Accepted keeps instead of its user, in b.
func (e *entry) note(b []byte) []byte {
	u, ok := e.client.user.(sip.RelayingUser)
	if !ok {
		return nil
	}
	tx, note := u.Relays()
	s, ok := tx.(*serverTx)
	if !ok {
		return nil
	}
	b = binary.LittleEndian.AppendUint64(b, s.e.key[0])
	b = binary.LittleEndian.AppendUint64(b, s.e.key[1])
	return append(b, note...)
}

// request takes a retransmission of the request of a finished server transaction; false when nothing is left of it.
func (r remains) request(l *Layer, m *message.Message, via message.ViaValue, from location.Hop) bool {
	if r.role == nobody {
		return false
	}
	l.counters.retransmitted.Add(1)
	is := r.machine()
	if is.step(evRequest, l.now(), l.timers())&doRepeat == 0 || len(r.octets) == 0 {
		return true
	}
	if res := abridged(r.octets, m); res != nil {
		// A NAT may have moved the client: the answer goes where the question came from last.
		l.repeat(res, l.transport.ResponseHop(from, via))
	}
	return true
}

// response takes a response to a finished client transaction.
func (r remains) response(l *Layer, m *message.Message) {
	is, ev := r.machine(), classify(m.StatusCode)
	if ev != evProvisional {
		l.counters.retransmitted.Add(1)
	}
	a := is.step(ev, l.now(), l.timers())
	switch {
	case a&doRefuse != 0:
		l.counters.refused(is.kind, ev)
	case a&doRepeat != 0:
		if hop, rest, ok := cutHop(r.octets); ok {
			if ack := abridged(rest, m); ack != nil {
				l.repeat(ack, hop)
			}
		}
	case a&doPass != 0 && len(r.octets) >= keyOctets:
		k := key{binary.LittleEndian.Uint64(r.octets), binary.LittleEndian.Uint64(r.octets[8:])}
		if l.handler.Relay(m, r.octets[keyOctets:]) {
			l.relay(k, m)
		}
	}
}

func (l *Layer) repeat(m *message.Message, to location.Hop) {
	l.counters.repeated.Add(1)
	l.put(m, to)
}

func (l *Layer) put(m *message.Message, to location.Hop) {
	w := newOctets(to)
	if l.transport.Send(to, w.of(m), nil) != nil {
		l.counters.unsent.Add(1)
	}
	w.free()
}

// relay sends a 2xx over the INVITE server transaction that k names, when it is in Accepted or on the way there.
func (l *Layer) relay(k key, m *message.Message) {
	e, r := l.table.find(l.now(), k)
	if e != nil {
		e.respond(m)
		return
	}
	if r.role != inviteServerAccepted {
		l.counters.drop(dropLate)
		return
	}
	if hop, _, ok := cutHop(r.octets); ok {
		l.put(m, hop)
	}
}

// transports are those of a hop, by the octet that stands for them; the first is that of a hop of the overlay.
var transports = [...]string{"", flow.UDP, flow.TCP, flow.TLS, flow.WS, flow.WSS, flow.DTLS}

// appendHop and cutHop write and read a hop.
func appendHop(b []byte, h location.Hop) []byte {
	t := byte(0)
	for i, name := range transports {
		if name == h.Transport {
			t = byte(i)
		}
	}
	b = appendAddr(appendAddr(append(b, t), h.Remote), h.Local)
	b = binary.AppendUvarint(b, h.Flow)
	return appendString(appendString(b, h.Host), h.Node)
}

func cutHop(b []byte) (h location.Hop, rest []byte, ok bool) {
	c := cutter{b: b}
	h.Transport = transports[c.octet()%byte(len(transports))]
	h.Remote, h.Local, h.Flow = c.addr(), c.addr(), c.number()
	h.Host, h.Node = c.string(), c.string()
	return h, c.b, !c.short
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().WithZone("")
	b, _ = ip.AppendBinary(append(b, byte(ip.BitLen()/8))) // never fails
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutter reads what was appended; short is set when something is missing.
type cutter struct {
	b     []byte
	short bool
}

func (c *cutter) octets(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cutter) octet() byte {
	if v := c.octets(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cutter) number() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.short = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cutter) string() string { return string(c.octets(c.number())) }

func (c *cutter) addr() netip.AddrPort {
	ip, _ := netip.AddrFromSlice(c.octets(uint64(c.octet())))
	port := c.octets(2)
	if port == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port))
}
