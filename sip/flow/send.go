package flow

import (
	"net/netip"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Send writes one message in wire form to a hop: over the connection that it names while that stands, else over another one to the
// same place, else over a new one; over UDP from the socket that it names. b is the table's to read until it is written, and
// must not change; over UDP it is the caller's again when Send returns. receipt may be nil. An error means that nothing was sent and that receipt will not be told.
func (t *Table) Send(to location.Hop, b []byte, receipt *Receipt) error {
	switch {
	case to.Node != "", to.Transport == TCP, to.Transport == TLS, webSocket(to.Transport):
		return t.sendStream(to, outgoing{b, receipt})
	case to.Transport != UDP:
		return ErrNoRoute
	}
	u := t.socketFor(to)
	if u == nil || !to.Remote.IsValid() || to.Remote.Port() == 0 {
		return ErrNoRoute
	}
	// RFC 3261 §18.1.1 has a larger request go over TCP: see Roomy. Deviation: where no TCP is known to be there it is sent in fragments and
	// counted, and not tried over TCP first: phones that take no TCP are common. Responses go the way that their request came, whatever their size.
	if receipt != nil && len(b) > congestionSafe {
		t.counters.oversize.Add(1)
		t.large.Info().Int("octets", len(b)).Stringer("to", to.Remote).Msg("sip: a large request goes over UDP in fragments")
	}
	return u.send(datagram{b, to.Remote, to.Local.Addr(), receipt})
}

// Roomy is the way to the same place for a request of so many octets. RFC 3261 §18.1.1: one "larger than 1300 bytes [..] MUST be sent using an RFC
// 2914 congestion controlled transport protocol, such as TCP": over the connection that we have to the very same address and port, if
// any. Later requests are not affected; the Via has to be made for what is returned.
func (t *Table) Roomy(to location.Hop, octets int) location.Hop {
	if to.Transport != UDP || octets <= congestionSafe {
		return to
	}
	wide := location.Hop{Transport: TCP, Remote: to.Remote}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[keyOf(wide)] != nil {
		return wide
	}
	return to
}

// ResponseHop is where a response goes whose top Via is via, that of the request as it was received from from (RFC 3261 §18.2.2, RFC
// 3581 §4).
func (t *Table) ResponseHop(from location.Hop, via message.ViaValue) location.Hop {
	if from.Node != "" {
		return from // the connection, else a new one to the same node: the addresses in Via mean nothing there
	}
	to := from
	port := via.Port
	if port == 0 {
		port = portOf(from.Transport)
	}
	to.Remote = netip.AddrPortFrom(from.Remote.Addr(), port)
	if from.Transport != UDP {
		// Used when the connection is gone: "the server SHOULD open a connection to the IP address in the "received" parameter, if
		// present, using the port in the "sent-by" value".
		if _, err := netip.ParseAddr(via.Host); err != nil && from.Transport == TLS {
			to.Host = strings.Clone(via.Host) // kept for as long as the transaction
		}
		return to
	}
	if maddr, ok := message.Param(via.Params, "maddr"); ok {
		// "if the Via header field value contains a "maddr" parameter, the response MUST be forwarded to the address listed there".
		// Deviation: only when the request came from there. Otherwise anybody could have us send answers to anybody, who need not
		// even forge an address for that (RFC 3261 §26.3.2.4 is about those who do).
		if a, err := netip.ParseAddr(maddr); err == nil && a.Unmap() == from.Remote.Addr() {
			return to
		}
	}
	if _, ok := message.Param(via.Params, "rport"); ok {
		to.Remote = from.Remote
	}
	return to
}

func portOf(transport string) uint16 {
	switch transport {
	case TLS:
		return defaultTLSPort
	case WS:
		return defaultWSPort
	case WSS:
		return defaultWSSPort
	}
	return defaultPort
}

// Alive reports whether the connection of to still stands. A hop without connection, as over UDP, is always alive.
func (t *Table) Alive(to location.Hop) bool {
	if to.Flow == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byFlow[to.Flow] != nil
}

// Address is how the other side of to reaches us. Host is empty for a gateway of the overlay.
func (t *Table) Address(to location.Hop) sip.Address {
	if to.Node != "" {
		return sip.Address{Transport: TLS}
	}
	if to.Transport == UDP {
		if u := t.socketFor(to); u != nil {
			return u.addressFor(to.Local.Addr())
		}
		return sip.Address{Transport: UDP}
	}
	if to.Flow != 0 {
		t.mu.Lock()
		s := t.byFlow[to.Flow]
		t.mu.Unlock()
		if s != nil {
			return s.address
		}
	}
	return t.listenAddress(to.Transport, to.Remote.Addr())
}

// listenAddress is the first listener of a transport, one of the same family before the others. Without any it is where UDP is
// listened: responses follow the connection, and nobody but a gateway of the overlay may find an address without a host.
func (t *Table) listenAddress(transport string, family netip.Addr) sip.Address {
	found := sip.Address{Transport: transport}
	for _, l := range t.sockets.Load().streams {
		if l.transport != transport {
			continue
		}
		if l.address.Local.Addr().Is4() == family.Is4() {
			return l.address
		}
		if found.Host == "" {
			found = l.address
		}
	}
	if found.Host == "" && len(t.sockets.Load().udp) > 0 {
		a := t.socketFor(location.Hop{Remote: netip.AddrPortFrom(family, 0)})
		if a == nil {
			a = t.sockets.Load().udp[0]
		}
		found.Host, found.Port, found.Local = a.address.Host, a.address.Port, a.address.Local
	}
	return found
}

// Via is the value of our Via towards a hop. RFC 3261 §18.1.1: "the client transport MUST insert a value of the "sent-by" field".
func (t *Table) Via(to location.Hop, branch string) string {
	if to.Node != "" {
		// RFC 7904 §5.1 has overlay names in Via; a sent-by holds no more than a host: the overlay's domain. Responses follow the connection.
		return "SIP/2.0/TLS " + t.cfg.Domain + ";branch=" + branch
	}
	a := t.Address(to)
	b := append(make([]byte, 0, 96), "SIP/2.0/"...)
	b = append(append(b, a.Transport...), ' ')
	b = appendHostPort(b, a)
	b = append(append(b, ";branch="...), branch...)
	if a.Transport == TLS && t.cfg.ShowCertificate {
		b = append(b, ";alias"...) // RFC 5923 §8.1
	}
	if a.Transport == UDP {
		b = append(b, ";rport"...) // RFC 3581 §3: the way back through a NAT of ours
	}
	return string(b)
}

func appendHostPort(b []byte, a sip.Address) []byte {
	host := a.Host
	if host == "" {
		host = "invalid.invalid" // no listener of that transport: responses follow the connection (RFC 5626 §4.2.1 does so)
	}
	return message.AppendHostPort(b, host, a.Port)
}
