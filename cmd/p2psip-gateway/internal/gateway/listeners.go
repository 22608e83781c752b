package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/flow"
)

// sipSchemes are the transports that a listener may have.
var sipSchemes = []string{"udp", "tcp", "tls", "ws", "wss"}

// clientAuth are the words for how a TLS listener asks for the certificate of a client.
var clientAuth = map[string]tls.ClientAuthType{"": tls.NoClientCert, "none": tls.NoClientCert, "optional": tls.VerifyClientCertIfGiven,
	"required": tls.RequireAndVerifyClientCert}

// sipListeners are the sockets of the configuration.
func sipListeners(c SIPConfig) ([]flow.Listen, error) {
	var out []flow.Listen
	for _, s := range c.Listen {
		l, err := sipListener(s, c)
		if err != nil {
			return nil, err
		}
		if l.Addr, err = resolveListen(hostport(s)); err != nil {
			return nil, fmt.Errorf("sip.listen: %s: %w", s, err)
		}
		if l.AdvertiseHost == "" && l.Addr.Addr().IsUnspecified() {
			return nil, fmt.Errorf("E0202 sip.advertise: missing, and %s listens on every address\n      try: sip.advertise: the address that phones use", s)
		}
		out = append(out, l)
	}
	return out, nil
}

// hostport is the host:port of a listener as sipListener takes it.
func hostport(listener string) string {
	_, rest, _ := strings.Cut(listener, "://")
	at, _, _ := strings.Cut(rest, "?")
	return at
}

// sipListener reads scheme://host:port?option=value&.., all but the address. Options are those of sip and security, for this one
// listener: advertise, clients, allow, deny; networks have commas between them.
func sipListener(s string, c SIPConfig) (l flow.Listen, err error) {
	at, query, _ := strings.Cut(s, "?")
	scheme, _, err := splitListener(at, sipSchemes...)
	if err != nil {
		return l, err
	}
	l = flow.Listen{Transport: strings.ToUpper(scheme), AdvertiseHost: c.Advertise, Clients: clientAuth[c.TLS.Clients]}
	options, err := url.ParseQuery(query)
	if err != nil {
		return l, fmt.Errorf("%q: %w", s, err)
	}
	for name, values := range options {
		value, ok := values[len(values)-1], true
		switch name {
		case "advertise":
			l.AdvertiseHost = value
		case "clients":
			l.Clients, ok = clientAuth[value]
		case "allow":
			l.Allow, err = parsePrefixes(strings.Split(value, ","))
		case "deny":
			l.Deny, err = parsePrefixes(strings.Split(value, ","))
		default:
			ok = false
		}
		if err != nil || !ok {
			return l, fmt.Errorf("%q: %s=%s: want advertise=HOST, clients=none|optional|required, allow=NETWORKS or deny=NETWORKS", s, name, value)
		}
	}
	host, ok := bareHost(l.AdvertiseHost)
	if !ok {
		return l, fmt.Errorf("%q: advertise %q: want a host name or an IP address, without port", s, l.AdvertiseHost)
	}
	l.AdvertiseHost = host
	return l, nil
}

// bareHost is a host without the brackets that an IPv6 address has in a URI (RFC 3261 §25.1): who writes it into a message puts them there. ok is false
// when there is more than a host.
func bareHost(s string) (host string, ok bool) {
	if host, found := strings.CutPrefix(s, "["); found {
		s, found = strings.CutSuffix(host, "]")
		a, err := netip.ParseAddr(s)
		return s, found && err == nil && a.Is6()
	}
	if strings.Contains(s, ":") {
		_, err := netip.ParseAddr(s)
		return s, err == nil
	}
	return s, true
}

func resolveListen(hostport string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()), nil
}

// check finds what is wrong with the SIP front end.
func (c *SIPConfig) check(bad func(key, format string, args ...any)) {
	if len(c.Listen) == 0 {
		bad("sip.listen", "no listener")
	}
	for _, l := range c.Listen {
		if _, err := sipListener(l, *c); err != nil {
			bad("sip.listen", "%v", err)
		}
	}
	if c.DSCP < 0 || c.DSCP > 63 {
		bad("sip.dscp", "%d: want 0 to 63; 24 is CS3", c.DSCP)
	}
	c.TLS.check(bad)
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("sip.tls", "cert and key go together")
	}
	if _, ok := clientAuth[c.TLS.Clients]; !ok {
		bad("sip.tls.clients", "%q is none of none, optional, required", c.TLS.Clients)
	}
}
