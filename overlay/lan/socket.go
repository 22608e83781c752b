package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port} // RFC 6762 §3

// ErrNoInterface means that no interface can do multicast.
var ErrNoInterface = errors.New("lan: no network interface for multicast")

// wire is a socket on one interface.
type wire struct {
	conn *net.UDPConn
	p    *ipv4.PacketConn
	from ipv4.ControlMessage // the interface and an address of it
	own  []netip.Addr        // of the interface
	nets []netip.Prefix      // that are on the link
}

// open opens a socket on each of the interfaces that are named; none: on all that are up and can do multicast, but loopback.
func open(names []string) ([]*wire, error) {
	interfaces, err := chosen(names)
	if err != nil {
		return nil, err
	}
	var list []*wire
	var errs []error
	for i := range interfaces[:min(len(interfaces), maxInterfaces)] {
		w, err := openOn(&interfaces[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if w != nil {
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil, errors.Join(append([]error{ErrNoInterface}, errs...)...)
	}
	return list, nil
}

func chosen(names []string) ([]net.Interface, error) {
	var list []net.Interface
	for _, n := range names {
		i, err := net.InterfaceByName(n)
		if err != nil {
			return nil, fmt.Errorf("lan: interface %s: %w", n, err)
		}
		list = append(list, *i)
	}
	if len(names) > 0 {
		return list, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("lan: %w", err)
	}
	const want = net.FlagUp | net.FlagMulticast
	for _, i := range all {
		if i.Flags&want == want && i.Flags&net.FlagLoopback == 0 {
			list = append(list, i)
		}
	}
	return list, nil
}

// openOn opens a socket on one interface; nil when it has no IPv4 address.
func openOn(i *net.Interface) (*wire, error) {
	w := &wire{}
	addresses, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("lan: %s: %w", i.Name, err)
	}
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() {
			w.own, w.nets = append(w.own, p.Addr()), append(w.nets, p.Masked())
		}
	}
	if len(w.own) == 0 {
		return nil, nil
	}
	if w.conn, err = net.ListenMulticastUDP("udp4", i, group); err != nil {
		return nil, fmt.Errorf("lan: %s: %w", i.Name, err)
	}
	p := ipv4.NewPacketConn(w.conn)
	// Or the system would take the address of another interface, which is none of this link for those who hear it.
	w.p, w.from = p, ipv4.ControlMessage{IfIndex: i.Index, Src: w.own[0].AsSlice()}
	// RFC 6762 §11: "All Multicast DNS responses (including responses sent via unicast) SHOULD be sent with IP TTL set to 255."
	err = errors.Join(p.SetMulticastInterface(i), p.SetMulticastTTL(255), p.SetTTL(255), p.SetMulticastLoopback(true))
	if err != nil {
		_ = w.conn.Close()
		return nil, fmt.Errorf("lan: %s: %w", i.Name, err)
	}
	return w, nil
}

// local reports whether a is on the link. RFC 6762 §11: a response from elsewhere is silently ignored, and so is any query here.
func (w *wire) local(a netip.Addr) bool {
	for _, p := range w.nets {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
