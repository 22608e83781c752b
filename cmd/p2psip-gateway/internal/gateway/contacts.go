package gateway

import (
	"crypto/x509"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// certified lists the users that the certificate of a client names: its "sip:" URIs with a user part (RFC 3261 §26.3.2.1).
func (g *Gateway) certified(from location.Hop) []location.AOR {
	if cert := g.flows.Peer(from); cert != nil {
		return g.names.users(cert)
	}
	return nil
}

func (n *names) users(cert *x509.Certificate) (users []location.AOR) {
	for _, u := range cert.URIs {
		uri, err := message.ParseURI(u.String())
		if err != nil || !uri.IsSIP() || uri.User == "" {
			continue
		}
		if aor, ours := n.aor(uri); ours {
			users = append(users, aor)
		}
	}
	return users
}

// unreachable reports whether a contact is known not to answer.
func (g *Gateway) unreachable(aor location.AOR, b *location.Binding) bool {
	_, bad := g.reach(aor, b)
	return bad
}

// reach is what is known of a contact, in milliseconds.
func (g *Gateway) reach(aor location.AOR, b *location.Binding) (ms float64, unreachable bool) {
	if g.prober == nil {
		return 0, false
	}
	rtt, bad := g.prober.Reach(aor, b)
	return float64(rtt.Microseconds()) / 1000, bad
}
