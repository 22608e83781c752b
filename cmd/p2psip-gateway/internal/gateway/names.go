package gateway

import (
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// names knows which hosts in a URI mean us: the domain, and the addresses that we listen on or advertise. It is safe for concurrent use.
type names struct {
	domain string
	set    atomic.Pointer[addresses]
}

// addresses do not change.
type addresses struct {
	hosts map[string]bool         // host:port, in lower case
	at    map[netip.AddrPort]bool // those of them that are addresses
	ports map[uint16]bool         // ports of listeners that are bound to every address
	local map[netip.Addr]bool     // this machine's addresses, for those
}

// newNames takes the domain, in lower case, and the addresses of every listener, bound and advertised.
func newNames(domain string, list []string) (*names, error) {
	n := &names{domain: strings.ToLower(domain)}
	n.set.Store(&addresses{})
	return n, n.add(list)
}

// add has more addresses mean us. Those before go on doing so: dialogs name them in their routes.
func (n *names) add(list []string) error {
	old := n.set.Load()
	next := &addresses{hosts: map[string]bool{}, at: map[netip.AddrPort]bool{}, ports: map[uint16]bool{}, local: map[netip.Addr]bool{}}
	maps.Copy(next.hosts, old.hosts)
	maps.Copy(next.at, old.at)
	maps.Copy(next.ports, old.ports)
	for _, a := range list {
		next.hosts[strings.ToLower(a)] = true
		ap, err := netip.ParseAddrPort(a)
		if err != nil {
			continue
		}
		next.at[netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())] = true
		if ap.Addr().IsUnspecified() {
			next.ports[ap.Port()] = true
		}
	}
	if len(next.ports) > 0 {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if ipn, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(ipn.IP); ok {
					next.local[ip.Unmap()] = true
				}
			}
		}
	}
	n.set.Store(next)
	return nil
}

// ours reports whether host and port, 0 when there is none, mean us. The domain does so with any port.
func (n *names) ours(host string, port uint16) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == n.domain {
		return true
	}
	if port != 0 {
		return n.oursAt(host, port)
	}
	return n.oursAt(host, defaultPort) || n.oursAt(host, defaultTLSPort)
}

// The ports of a URI without one (RFC 3261 §19.1.2).
const (
	defaultPort    = 5060
	defaultTLSPort = 5061
)

func (n *names) oursAt(host string, port uint16) bool {
	set := n.set.Load()
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return set.hosts[net.JoinHostPort(host, strconv.Itoa(int(port)))]
	}
	ip = ip.Unmap()
	return set.at[netip.AddrPortFrom(ip, port)] || (set.ports[port] && set.local[ip])
}

// aor makes a canonical address-of-record of a URI whose host means us (RFC 3261 §10.3 step 5).
func (n *names) aor(u message.URI) (location.AOR, bool) {
	if !n.ours(u.Host, u.Port) {
		return "", false
	}
	return location.AOR(message.CanonicalUser(u.User) + "@" + n.domain), true
}

// inAddress reports whether the URI in a From or To is of our domain, or has one of our addresses in its place.
func (n *names) inAddress(field string) bool {
	a, err := message.ParseAddress(field)
	if err != nil {
		return false
	}
	u, err := message.ParseURI(a.URI)
	return err == nil && n.ours(u.Host, u.Port)
}
