package gateway

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ServicesConfig is for overlays whose document has the Kind REDIR (RFC 7374): services that gateways offer by name.
type ServicesConfig struct {
	// Offer are the names under which others find this gateway; who answers a call to one is who is registered here as the user
	// of that name.
	Offer List `yaml:"offer"`
	// Call are the names that a call of this gateway leads to the nearest provider: sip:voice-mail@example.org for voice-mail.
	Call List `yaml:"call"`
}

// check finds what is wrong.
func (c *ServicesConfig) check(bad func(key, format string, args ...any)) {
	for key, list := range map[string]List{"overlay.services.offer": c.Offer, "overlay.services.call": c.Call} {
		for _, name := range list {
			if err := overlay.CheckService(name); err != nil {
				bad(key, "%q: want a name of 1 to 64 octets, such as voice-mail", name)
			}
		}
		if slices.Contains(list, overlay.ServiceTURN) {
			bad(key, "%s is offered by overlay.turn.listen, and used by itself", overlay.ServiceTURN)
		}
		if len(list) > maxServiceNames {
			bad(key, "%d names, at most %d", len(list), maxServiceNames)
		}
	}
}

// maxServiceNames bounds both lists: each name that is offered is a walk through a tree every few minutes.
const maxServiceNames = 16

// services finds, besides what the overlay holds of an address-of-record, the nearest gateway that offers the service of that name.
type services struct {
	location.Locator
	named map[location.AOR]string // namespace of each service that may be called
	find  func(ctx context.Context, namespace string) (gr string, ok bool)
}

// Known implements location.Locator: a service that nobody provides at this time is not an unknown user.
func (s *services) Known(aor location.AOR) bool {
	_, named := s.named[aor]
	return named || s.Locator.Known(aor)
}

// Remote implements location.Locator: the nearest provider, else who is registered under the name.
func (s *services) Remote(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
	if namespace, named := s.named[aor]; named {
		if gr, ok := s.find(ctx, namespace); ok {
			return []location.Remote{{Node: gr}}, nil
		}
	}
	return s.Locator.Remote(ctx, aor)
}

// RemoteCached implements location.Locator: providers come and go, and are looked for each time.
func (s *services) RemoteCached(aor location.AOR) ([]location.Remote, bool) {
	if _, named := s.named[aor]; named {
		return nil, false
	}
	return s.Locator.RemoteCached(aor)
}

// callees is what calls are routed by.
func (g *Gateway) callees() location.Locator {
	names := g.o.Config.Overlay.Services.Call
	if len(names) == 0 {
		return g.locator
	}
	s := &services{Locator: g.locator, named: make(map[location.AOR]string, len(names)), find: g.nearest}
	for _, name := range names {
		if aor, err := g.canonical(name); err == nil { // else no URI has it as its user part
			s.named[aor] = name
		}
	}
	return s
}

// nearest is another gateway that provides a service, the nearest to this one (RFC 7374 §4.5).
func (g *Gateway) nearest(ctx context.Context, namespace string) (gr string, ok bool) {
	l, err := g.peer.FindService(ctx, namespace, g.peer.NodeID())
	if err != nil {
		g.o.Log.Debug().Str("component", "gateway").Str("service", namespace).Err(err).Msg("service not looked for")
	}
	if err != nil || !l.Found() || l.Provider.Node == g.peer.NodeID() {
		return "", false
	}
	return sipusage.NodeGR(l.Provider.Node), true
}

// ServicesReport is GET /api/v1/services: what this node offers.
type ServicesReport struct {
	Offered []OfferReport `json:"offered"`
}

// OfferReport is one service that this node offers.
type OfferReport struct {
	Name       string     `json:"name"`
	Registered *time.Time `json:"registered"` // the last time; null: not yet
	Records    int        `json:"records"`    // in how many nodes of the service's tree this node stands
	Error      string     `json:"error"`      // of the last registration; empty: none
}

// ServiceReport is GET /api/v1/service?name=: the provider of a service that is nearest to this node, and the others that were seen.
type ServiceReport struct {
	Name      string           `json:"name"`
	Found     bool             `json:"found"`
	Nearest   string           `json:"nearest"` // Node-ID
	Providers []ProviderReport `json:"providers"`
	Levels    []uint16         `json:"levels"` // of the tree nodes that were asked, in that order
	Millis    float64          `json:"millis"`
}

// ProviderReport is a node that provides a service.
type ProviderReport struct {
	Node      string   `json:"node"`
	Addresses []string `json:"addresses"` // at which it takes calls from plain phones
}

func (g *Gateway) services() ServicesReport {
	r := ServicesReport{Offered: []OfferReport{}}
	for _, o := range g.peer.Offers() {
		out := OfferReport{Name: o.Namespace, Records: o.Records}
		if !o.Since.IsZero() {
			out.Registered = &o.Since
		}
		if o.Err != nil {
			out.Error = o.Err.Error()
		}
		r.Offered = append(r.Offered, out)
	}
	return r
}

func (g *Gateway) service(ctx context.Context, name string) (ServiceReport, error) {
	begin := time.Now()
	r := ServiceReport{Name: name, Providers: []ProviderReport{}}
	l, err := g.peer.FindService(ctx, name, g.peer.NodeID())
	if err != nil {
		return r, err
	}
	r.Levels, r.Found = l.Levels, l.Found()
	if r.Found {
		r.Nearest = l.Provider.Node.String()
	}
	for _, p := range l.Seen {
		r.Providers = append(r.Providers, ProviderReport{p.Node.String(), g.plainAddresses(ctx, p.Node)})
	}
	r.Millis = float64(time.Since(begin).Microseconds()) / 1000
	return r, nil
}

// plainAddresses are those that a gateway published for plain phones.
func (g *Gateway) plainAddresses(ctx context.Context, node wire.NodeID) []string {
	if a, err := g.usage.Addresses(ctx, sipusage.NodeGR(node)); err == nil && a != nil {
		return a
	}
	return []string{}
}

// serviceSource is the part of an adminSource that knows of services.
type serviceSource interface {
	services() ServicesReport
	service(ctx context.Context, name string) (ServiceReport, error)
}

func handleServices(mux *http.ServeMux, s serviceSource) {
	mux.HandleFunc("GET /api/v1/services", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.services()) })
	mux.HandleFunc("GET /api/v1/service", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		if err := overlay.CheckService(name); err != nil {
			writeJSON(w, 400, ErrorReport{err.Error()})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminLookupWait)
		defer cancel()
		report, err := s.service(ctx, name)
		if err != nil {
			writeJSON(w, 504, ErrorReport{err.Error()})
			return
		}
		writeJSON(w, 200, report)
	})
}
