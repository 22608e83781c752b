package gateway

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// prompted is a registrar that says what it was asked.
type prompted struct {
	said  string
	knows bool
}

func (p *prompted) Request(sip.ServerTransaction) { p.said += "request " }
func (p *prompted) Again(sip.Offer) bool          { p.said += "again "; return p.knows }
func (p *prompted) Prompt(sip.Offer) func(sip.ServerTransaction) {
	p.said += "prompt "
	return p.Request
}

// anOffer is a sip.Offer.
type anOffer struct{ asked }

func (o *anOffer) Again(res *message.Message) { o.res = res }

func TestWhichRequestsTheRegistrarIsPromptedFor(t *testing.T) {
	for name, c := range map[string]struct {
		method         string
		draining, busy bool
		knows          bool
		said           string
		rest           bool
		status         int
	}{
		"REGISTER":                 {method: "REGISTER", said: "prompt checked ", rest: true},
		"another":                  {method: "OPTIONS"},
		"draining":                 {method: "REGISTER", draining: true, said: "again "},
		"busy":                     {method: "REGISTER", busy: true, said: "again ", status: 503},
		"busy, and known":          {method: "REGISTER", busy: true, knows: true, said: "again "},
		"nobody knows any of them": {method: "INVITE"},
	} {
		var draining atomic.Bool
		draining.Store(c.draining)
		p := &prompted{knows: c.knows}
		h := &handler{register: p, draining: &draining, load: newOverload(time.Second, nil), answered: func(_ sip.ServerTransaction, status int, _ string) {},
			checked: func(*message.Message, location.Hop) { p.said += "checked " }}
		if c.busy {
			h.load.share.Store(0)
		}
		o := &anOffer{asked{req: requested(t, c.method)}}
		rest := h.Prompt(o)
		if p.said != c.said || (rest != nil) != c.rest || (o.res != nil) != (c.status != 0) || o.res != nil && o.res.StatusCode != c.status {
			t.Errorf("%s: %q, answer %v", name, p.said, o.res)
		}
	}
}

// A phone's refresh leaves no transaction, and when the answer is lost, it gets another one.
func TestARefreshThatIsSentAgainIsAnsweredAgain(t *testing.T) {
	g := ring(t, 1, 1)[0]
	p := newPhone(t, "1001", g)
	refresh := func() {
		t.Helper()
		if res := p.register(600); res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	refresh()
	eventually(t, "the overlay has the record", func() error {
		if !g.forwards.Extend("1001@"+testDomain, time.Now().Add(time.Hour)) {
			return errors.New("not yet")
		}
		return nil
	})
	started := g.layer.Stats().Started["non_invite_server"]
	refresh()
	if s := g.layer.Stats(); s.Started["non_invite_server"] != started {
		t.Errorf("a refresh has a transaction: %+v", s)
	}
	before, said := g.layer.Stats(), g.bindings.Get("1001@"+testDomain, time.Now())[0]
	p.cseq, p.nc = p.cseq-1, p.nc-1
	res := p.register(600)
	if res.StatusCode != 200 || !strings.HasSuffix(res.Get(message.To), ";tag=p2psip-registrar") {
		t.Errorf("%d, To %s", res.StatusCode, res.Get(message.To))
	}
	after, bound := g.layer.Stats(), g.bindings.Get("1001@"+testDomain, time.Now())[0]
	if after.Received != before.Received+1 || after.Stateless != before.Stateless || !bound.Updated.Equal(said.Updated) {
		t.Errorf("%+v, %+v, updated %v", before, after, bound.Updated.Sub(said.Updated))
	}
}
