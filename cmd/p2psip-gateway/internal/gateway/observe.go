package gateway

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func (g *Gateway) status() StatusReport {
	s := g.peer.Status()
	r := StatusReport{
		Version: g.o.Version, Role: g.o.Config.Role, Domain: g.o.Config.Domain, NodeID: s.Self.String(), State: string(s.State),
		NotReady: []string{}, UptimeSeconds: int64(time.Since(g.started).Seconds()), SIP: []ListenerReport{},
		Overlay: OverlayReport{Name: g.o.Overlay.InstanceName, Address: g.linkAddress(), Listen: g.linkAddresses(), Links: len(s.Links), SizeEstimate: s.SizeEstimate,
			Stored: storedByName(s), Tuning: tuningOf(s)},
		Registrations: g.bindings.Count(), Transactions: int(live(g.layer.Stats().Live)), Valid: g.validity(), Servers: g.servers(), ClockSkew: s.ClockSkew.Seconds(),
		JoinFailed: s.JoinFailed, Uncertified: g.uncertified.count(g.bound), LastReload: g.lastReload.Load(), Published: g.published.report(),
	}
	for _, a := range g.flows.Listeners() {
		r.SIP = append(r.SIP, ListenerReport{strings.ToLower(a.Transport), net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))})
	}
	if !s.State.Serves() {
		r.NotReady = append(r.NotReady, "overlay: "+string(s.State))
	}
	if end := g.peer.Signer().Identity().Cert.NotAfter; time.Now().After(end) {
		r.NotReady = append(r.NotReady, "certificate: ended at "+end.UTC().Format(time.RFC3339))
	}
	if g.draining.Load() {
		r.NotReady = append(r.NotReady, "draining")
	}
	r.Ready = len(r.NotReady) == 0
	return r
}

func live(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

func storedByName(s node.Status) map[string]int {
	m := map[string]int{}
	for kind, n := range s.Stored {
		m[kind.String()] = n
	}
	return m
}

func (g *Gateway) registrations() RegistrationsReport {
	r := RegistrationsReport{Registrations: []Registration{}}
	now := time.Now()
	for aor, set := range g.bindings.All(now) {
		r.Registrations = append(r.Registrations, g.describe(aor, set, now)...)
	}
	slices.SortFunc(r.Registrations, func(a, b Registration) int {
		return cmp.Or(cmp.Compare(a.AOR, b.AOR), cmp.Compare(a.Contact, b.Contact))
	})
	return r
}

func (g *Gateway) describe(aor location.AOR, set []location.Binding, now time.Time) []Registration {
	out := make([]Registration, 0, len(set))
	lan := g.inForce().lan
	for _, b := range set {
		flow := "live"
		if !g.flows.Alive(b.Hop) {
			flow = "stale"
		}
		rtt, unreachable := g.reach(aor, &b)
		if unreachable {
			flow = "unreachable"
		}
		out = append(out, Registration{
			RTTms: rtt,
			AOR:   string(aor), Contact: b.Contact, Transport: strings.ToLower(b.Hop.Transport), Source: b.Hop.Remote.String(), UserAgent: b.UserAgent,
			CallID: b.CallID, Q: float64(b.Q) / 1000, Expires: b.Expires.UTC(), ExpiresInSeconds: int64(b.Expires.Sub(now).Seconds()),
			Flow: flow, NAT: natOf(b, lan), State: string(g.publisher.State(aor)),
		})
	}
	return out
}

func (g *Gateway) ring() RingReport {
	s := g.peer.Status()
	r := RingReport{
		Self: s.Self.String(), State: string(s.State), Predecessors: hexIDs(s.Predecessors), Successors: hexIDs(s.Successors),
		Fingers: hexIDs(s.Fingers), Links: []LinkReport{}, SizeEstimate: s.SizeEstimate,
		Alone: g.alone(), Tuning: tuningOf(s),
	}
	for _, l := range s.Links {
		r.Links = append(r.Links, LinkReport{Peer: l.Peer.String(), Ready: l.Peered, Transport: l.Transport, Pair: l.Pair, RTTms: float64(l.RTT.Microseconds()) / 1000})
	}
	return r
}

// alone reports whether no other node was ever linked with this one.
func (g *Gateway) alone() bool {
	select {
	case <-g.peer.Company():
		return false
	default:
		return true
	}
}

func tuningOf(s node.Status) *TuningReport {
	t := s.Tuning
	if t == nil {
		return nil
	}
	const day = 24 * 60 * 60 // seconds
	return &TuningReport{NetworkSize: t.Used.Size, JoinRate: t.Used.Joins * day, LeaveRate: t.Used.Fails * day,
		IntervalSeconds: t.Interval.Seconds(), ListSize: t.Lists, FingerSize: t.Fingers}
}

func hexIDs(ids []wire.NodeID) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// canonical reads an address-of-record as people write it: with or without scheme, with or without the domain.
func (g *Gateway) canonical(s string) (location.AOR, error) {
	if s == "" {
		return "", errors.New("no address-of-record: want user or user@domain")
	}
	if !strings.Contains(s, ":") {
		s = "sip:" + s
	}
	if !strings.Contains(s, "@") {
		s += "@" + g.o.Config.Domain
	}
	u, err := message.ParseURI(s)
	if err != nil {
		return "", fmt.Errorf("%q is no address-of-record", s)
	}
	aor, ok := g.names.aor(u)
	if !ok {
		return "", fmt.Errorf("%q is not of the domain %s", s, g.o.Config.Domain)
	}
	return aor, nil
}

// lookup asks the overlay itself, past the cache, and shows everything that it holds.
func (g *Gateway) lookup(ctx context.Context, aor location.AOR) (LookupReport, error) {
	now := time.Now()
	r := LookupReport{
		AOR: string(aor), ResourceID: wire.ResourceIDOf(string(aor)).String(), Known: g.locator.Known(aor),
		Local: g.describe(aor, g.bindings.Get(aor, now), now), Records: []RecordReport{},
	}
	r.Forwarded, _ = g.forwards.to(aor)
	values, err := g.recordsOf(ctx, aor, &r)
	r.Millis = float64(time.Since(now).Microseconds()) / 1000
	if err != nil {
		return r, err
	}
	for _, v := range values {
		r.Records = append(r.Records, g.recordReport(ctx, v))
	}
	r.Found = len(r.Local)+len(r.Records) > 0
	return r, nil
}

// recordsOf fetches the records of aor, or of the number range that it is in. What calls would go by is forgotten first: the next one sees what
// who asked has seen.
func (g *Gateway) recordsOf(ctx context.Context, aor location.AOR, r *LookupReport) ([]overlay.Value, error) {
	_ = g.publisher.Show(ctx, aor) // what has failed is not there
	g.usage.Invalidate(aor)
	values, err := g.peer.Fetch(ctx, wire.ResourceIDOf(string(aor)), wire.KindSIPRegistration)
	if err != nil || len(values) > 0 {
		return values, err
	}
	name, err := g.usage.Name(ctx, aor)
	if err != nil || name == "" || name == aor {
		return nil, err
	}
	r.Range, r.ResourceID = string(name), wire.ResourceIDOf(string(name)).String()
	return g.peer.Fetch(ctx, wire.ResourceIDOf(string(name)), wire.KindSIPRegistration)
}

func (g *Gateway) recordReport(ctx context.Context, v overlay.Value) RecordReport {
	out := RecordReport{
		Owner: hex.EncodeToString([]byte(v.Value.Key)), Signer: v.Signer.User, Stored: time.UnixMilli(int64(v.StorageTime)).UTC(),
		ExpiresInSeconds: int64(v.Lifetime), Addresses: []string{},
	}
	if v.Signer.Cert != nil {
		out.Serial = v.Signer.Cert.X509().SerialNumber.Text(16)
	}
	rec, err := wire.ParseSipRegistration(v.Value.Data)
	if err != nil {
		return out
	}
	out.URI = rec.URI
	for d := range rec.Destinations.All() {
		out.Route = append(out.Route, d.Node.String())
	}
	if rec.Type == wire.SipRegistrationRoute {
		if a, err := g.usage.Addresses(ctx, sipusage.GR(rec.Destinations)); err == nil {
			out.Addresses = a
		}
	}
	return out
}

func (g *Gateway) gauges() metrics.Gauges {
	s, f, t := g.peer.Status(), g.flows.Stats(), g.layer.Stats()
	m := metrics.Gauges{
		Joined: s.State.Serves(), Stored: storedByName(s), Bindings: g.bindings.Count(), Transactions: int(live(t.Live)), Finished: t.Octets,
		CertificateExpiry: g.peer.Signer().Identity().Cert.NotAfter, Flow: f.Dropped, Transaction: t.Dropped, Published: map[string]int{}, Callers: g.verdicts(), Media: g.mediaGauges(),
	}
	maps.Copy(m.Flow, g.guard.Dropped())
	for _, n := range f.Connections {
		m.Connections += n
	}
	for state, n := range g.publisher.Stats().Records {
		m.Published[string(state)] = n
	}
	g.trunkGauges(&m)
	g.accountGauges(&m)
	return m
}
