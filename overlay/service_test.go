package overlay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// offered waits until m stands in the tree of a service.
func (m *member) offered(namespace string) {
	m.t.Helper()
	eventually(m.t, func() bool {
		return slices.ContainsFunc(m.Offers(), func(o ServiceOffer) bool {
			return o.Namespace == namespace && o.Records >= 3 && !o.Since.IsZero() && o.Err == nil
		})
	}, func() string { return fmt.Sprintf("%s is not offered: %+v", namespace, m.Offers()) })
}

// finds has m look for a service.
func (m *member) finds(namespace string, key wire.NodeID) ServiceLookup {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	l, err := m.FindService(ctx, namespace, key)
	if err != nil {
		m.t.Fatal(err)
	}
	return l
}

// Conformance: I-07 I-10
func TestRFC7374_4_ServicesOfPeersAreFoundUntilTheyLeave(t *testing.T) {
	w := newWorld(t)
	w.overlay.WithRedir(64, 512)
	user := w.member(t, nil)
	user.join()
	if l := user.finds(ServiceVoiceMail, user.NodeID()); l.Found() || len(l.Levels) != 3 {
		t.Errorf("in an empty tree: %+v", l)
	}
	w.services = []string{ServiceVoiceMail, "gateway", ServiceVoiceMail}
	var providers []*member
	for range 3 {
		m := w.member(t, user)
		m.join()
		providers = append(providers, m)
	}
	settle(t, append(slices.Clone(providers), user))
	for _, m := range providers {
		if len(m.Offers()) != 2 {
			t.Errorf("%+v", m.Offers())
		}
		m.offered(ServiceVoiceMail)
		m.offered("gateway")
	}
	slices.SortFunc(providers, func(a, b *member) int { return a.NodeID().Compare(b.NodeID()) })
	for i, m := range providers {
		next := behind(m.NodeID())
		key, err := wire.NodeIDFromBytes([]byte(next))
		if err != nil {
			t.Fatal(err)
		}
		want := providers[min(i+1, 2)].NodeID()
		if l := user.finds("gateway", m.NodeID()); l.Provider.Node != m.NodeID() {
			t.Errorf("the provider at the key itself: %+v", l)
		}
		l := user.finds(ServiceVoiceMail, key)
		if last, ok := l.Provider.Destinations.Last(); i < 2 && (l.Provider.Node != want || !ok || last.Node != want) {
			t.Errorf("behind provider %d: %+v, not %v", i, l, want)
		}
		if i == 2 && !l.Found() {
			t.Error("behind the last provider nobody is found")
		}
	}
	list, err := user.ServiceProviders(t.Context(), ServiceVoiceMail)
	if err != nil || len(list) != 3 || list[1].Node != providers[1].NodeID() {
		t.Errorf("%+v, %v", list, err)
	}
	providers[1].stop() // it takes its records with it
	list, err = user.ServiceProviders(t.Context(), ServiceVoiceMail)
	if err != nil || len(list) != 2 || slices.ContainsFunc(list, func(p ServiceProvider) bool { return p.Node == providers[1].NodeID() }) {
		t.Errorf("when one has left: %+v, %v", list, err)
	}
	if l := user.finds(ServiceVoiceMail, providers[1].NodeID()); l.Provider.Node != providers[2].NodeID() {
		t.Errorf("when one has left: %+v", l)
	}
}

func TestServicesThatCannotBe(t *testing.T) {
	w := newWorld(t)
	m := w.member(t, nil)
	m.join()
	if _, err := m.FindService(t.Context(), ServiceVoiceMail, m.NodeID()); !errors.Is(err, ErrNoRedir) {
		t.Errorf("in an overlay without REDIR: %v", err)
	}
	if _, err := m.ServiceProviders(t.Context(), ServiceVoiceMail); !errors.Is(err, ErrNoRedir) {
		t.Errorf("in an overlay without REDIR: %v", err)
	}
	if _, err := m.FindService(t.Context(), "", m.NodeID()); err == nil || errors.Is(err, ErrNoRedir) {
		t.Errorf("a service without name: %v", err)
	}
	var many []string
	for i := range maxServices + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for _, services := range [][]string{{""}, {strings.Repeat("x", redir.MaxNamespace+1)}, many} {
		if p, err := New(Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Listener: m.cfg.Listener, Services: services}); err == nil {
			t.Errorf("a peer that offers %.80q: %+v", services, p.Offers())
		}
	}
}

// A service that was to be registered before the document had the Kind is registered when it has.
func TestServiceInAnOverlayWithoutRedir(t *testing.T) {
	w := newWorld(t)
	w.services = []string{ServiceVoiceMail}
	m := w.member(t, nil)
	m.join()
	eventually(t, func() bool { return errors.Is(m.Offers()[0].Err, ErrNoRedir) }, func() string { return fmt.Sprint(m.Offers()) })
	o := *w.overlay
	o.WithRedir(64, 512)
	m.config.Store(&o)
	if _, err := m.registerOffer(t.Context(), m.offers[0]); err != nil {
		t.Error(err)
	}
}

// RFC 7374 §10.4: "The namespace 'turn-server' is used by nodes that wish to register as providers of a TURN relay service [...]
// and by nodes that wish to discover providers".
//
// Conformance: I-14
func TestRFC7374_10_4_TURNServersAreFoundByReDiR(t *testing.T) {
	w := newICEWorld(t)
	w.overlay.TurnDensity = 0 // nothing for RFC 6940 §9 to find
	w.overlay.WithRedir(64, 512)
	turn := func(c *Config) { c.TURN = TURN{Secrets: []ice.Secret{turnSecret}, AllowPrivate: true} }
	first := w.iceMember(t, nil, func(c *Config) {
		turn(c)
		c.TURN.Socket, c.TURN.MinPort, c.TURN.MaxPort = packets(t), 20000, 60000
	})
	first.join()
	first.offered(ServiceTURN)
	user := w.iceMember(t, first, turn)
	user.join()
	settle(t, []*member{first, user})
	at := addressOf(first.cfg.TURN.Socket)
	if first.discoverTURN(t.Context()) {
		t.Error("a TURN server finds itself")
	}
	if !user.discoverTURN(t.Context()) {
		t.Errorf("nothing found: %+v", user.Stats().Requests)
	}
	if _, servers := user.ice.servers(true, user.NodeID()); len(servers) != 1 || servers[0].Address != at {
		t.Errorf("%+v, not %v", servers, at)
	}
	start := time.Now()
	first.stop()
	if d := time.Since(start); d > leaveTimeout+2*turnWithdraw {
		t.Errorf("to leave took %v", d)
	}
	if l := user.finds(ServiceTURN, user.NodeID()); l.Found() {
		t.Errorf("a TURN server that has left: %+v", l)
	}
}
