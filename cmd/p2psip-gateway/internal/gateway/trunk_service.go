package gateway

import (
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// codeTrunkFailed is of the log line of a trunk that did not take a request.
const codeTrunkFailed = "E0603"

// openTrunks makes what leads calls to trunks.
func (g *Gateway) openTrunks() {
	g.trunks = trunk.New(trunk.Options{
		Plan: g.inForce().plan, Conditions: g.health, Names: g.certificateNames, Called: g.health.Called, Now: time.Now,
		Bindings: func(user string) []location.Binding {
			return g.locator.Local(location.AOR(user + "@" + g.o.Config.Domain))
		},
		Answer: answerChallenge, Accounts: g.accounts,
		Failed: func(trunk, why string) {
			g.refusals.Warn().Str("component", "trunk").Str("code", codeTrunkFailed).Str("trunk", trunk).Str("reason", why).Msg("a trunk did not take a request")
		},
	})
}

// answerChallenge makes the credentials of an account for a challenge, to its realm alone.
func answerChallenge(a *trunk.RegisterConfig, res *message.Message, method, uri string) (message.Name, string, error) {
	client := digest.Client{User: a.AuthUser, Password: a.Secret, Realm: a.Realm}
	ch, err := client.Choose(res)
	if err != nil {
		return 0, "", err
	}
	return ch.Field, client.Answer(ch, method, uri, 1), nil
}

// certificateNames are the names in the certificate of whoever is at the other end of a TLS connection.
func (g *Gateway) certificateNames(h location.Hop) (names []string) {
	cert := g.flows.Peer(h)
	if cert == nil {
		return nil
	}
	names = append(names, cert.DNSNames...)
	for _, a := range cert.IPAddresses {
		names = append(names, a.String())
	}
	for _, u := range cert.URIs {
		if u, err := message.ParseURI(u.String()); err == nil && u.Host != "" && u.User == "" {
			names = append(names, u.Host) // RFC 5922 §7.1: a SIP URI without user is the identity of a domain
		}
	}
	return names
}

// emergencyNumbers are the user parts that are served however much there is to do.
func (f *inForce) emergencyNumbers() []string {
	return append(f.plan.EmergencyNumbers(), f.config.SIP.Emergency...)
}

var _ proxy.Trunks = (*trunk.Service)(nil)
