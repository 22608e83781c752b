package gateway

import (
	"net/netip"
	"reflect"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/registrar"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// inForce is what a reload replaces, all of it at once. It does not change once it is in force.
type inForce struct {
	config Config // those keys that need a restart are as they were at the start
	loaded *Loaded
	users  *digest.Users

	trusted, registering, lan, allow, deny []netip.Prefix
	algorithms                             []digest.Algorithm
	registrar                              *registrar.Registrar // nil on a redirect peer
	token                                  []byte               // of the admin server; nil: there is none
	plan                                   *trunk.Plan          // of trunks and routes

	over chan struct{} // closed when something else is in force
}

// newInForce works out what follows from a configuration, with the keys that need a restart as in base.
func newInForce(base Config, l *Loaded, users *digest.Users) (*inForce, error) {
	f := &inForce{config: base, loaded: l, users: users, over: make(chan struct{}), algorithms: algorithms(l.Config.Registrar.Digest)}
	for _, s := range settings {
		if s.Live && s.index != nil { // what is below a list goes with it
			f.config.field(s).Set(l.Config.field(s))
		}
	}
	c := &f.config
	for _, n := range []struct {
		to   *[]netip.Prefix
		list List
	}{{&f.trusted, c.Security.Trusted}, {&f.registering, c.Registrar.Trusted}, {&f.lan, c.NAT.LAN}, {&f.allow, c.Security.Allow}, {&f.deny, c.Security.Deny}} {
		var err error
		if *n.to, err = parsePrefixes(n.list); err != nil {
			return nil, err
		}
	}
	var err error
	if f.token, err = c.Admin.token(); err != nil {
		return nil, err
	}
	f.plan, err = c.plan()
	return f, err
}

func (g *Gateway) openConfig() error {
	if g.o.Loaded == nil {
		g.o.Loaded = &Loaded{Config: g.o.Config}
	}
	f, err := newInForce(g.o.Config, g.o.Loaded, g.o.Users)
	if err != nil {
		return err
	}
	g.current.Store(f)
	return nil
}

func (g *Gateway) inForce() *inForce { return g.current.Load() }

// user is a digest.Lookup of the users in force.
func (g *Gateway) user(name string) (digest.HA1, bool) { return g.inForce().users.Lookup(name) }

// trusts reports whether a source calls without credentials; registersFreely, whether it registers without.
func (g *Gateway) trusts(from location.Hop) bool { return comesFrom(g.inForce().trusted, from) }
func (g *Gateway) registersFreely(from location.Hop) bool {
	return comesFrom(g.inForce().registering, from)
}

func (g *Gateway) algorithms() []digest.Algorithm { return g.inForce().algorithms }

// registering hands each REGISTER to the registrar in force. What it has begun, it ends.
type registering struct{ g *Gateway }

func (r registering) Request(tx sip.ServerTransaction) { r.g.inForce().registrar.Request(tx) }

func (r registering) Prompt(o sip.Offer) func(sip.ServerTransaction) {
	return r.g.inForce().registrar.Prompt(o)
}

func (r registering) Again(o sip.Offer) bool { return r.g.inForce().registrar.Again(o) }

// differ reports whether a key has different values.
func differ(s Setting, a, b *Config) bool {
	return !reflect.DeepEqual(a.field(s).Interface(), b.field(s).Interface())
}
