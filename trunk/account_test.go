package trunk

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// provider is a registrar with digest, as the other side of a sip.Sender.
type provider struct {
	t  *testing.T
	mu sync.Mutex

	server   *digest.Server
	status   int // instead of everything else
	fields   []message.Field
	min, max time.Duration // of bindings
	dead     map[string]error
	silent   map[string]bool
	bindings map[string]time.Time // by contact
	log      []string             // "register 200", with the address when there are several
	at       []time.Time
	seqs     map[string]uint32 // by Call-ID
	late     time.Duration     // that a removal takes to arrive
}

func newProvider(t *testing.T) *provider {
	p := &provider{t: t, max: time.Hour, dead: map[string]error{}, silent: map[string]bool{}, bindings: map[string]time.Time{}, seqs: map[string]uint32{}}
	ha1 := digest.NewHA1("49301234", "itsp.example", "s3cret")
	p.server = digest.NewServer("itsp.example", func(user string) (digest.HA1, bool) { return ha1, user == "49301234" })
	return p
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) resolve(_ context.Context, u message.URI) ([]location.Hop, error) {
	if u.Host == "nowhere.example" {
		return nil, fmt.Errorf("no such host")
	}
	return []location.Hop{{Transport: "TCP", Remote: netip.MustParseAddrPort("192.0.2.1:5060")}, {Transport: "TCP", Remote: netip.MustParseAddrPort("192.0.2.2:5060")}}, nil
}

// gatewayOf is one gateway's way to the provider.
type gatewayOf struct {
	*provider
	host string
}

func (g gatewayOf) SendStateless(*message.Message, location.Hop, string) error { return nil }
func (g gatewayOf) Alive(location.Hop) bool                                    { return true }
func (g gatewayOf) Address(location.Hop) sip.Address {
	return sip.Address{Transport: "TCP", Host: g.host, Port: 5060}
}

func (g gatewayOf) Send(req *message.Message, to location.Hop, _ string, user sip.ClientUser) sip.ClientTransaction {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := to.Remote.Addr().String()
	if err := g.dead[at]; err != nil {
		g.note("to " + at + ": " + err.Error())
		go user.Failed(err)
		return noTx{}
	}
	if g.silent[at] {
		g.note("to " + at + ": silence")
		return noTx{}
	}
	if g.late > 0 && req.Get(message.Expires) == "0" {
		go func() {
			time.Sleep(g.late)
			g.mu.Lock()
			res := g.answer(req)
			g.mu.Unlock()
			user.Response(res)
		}()
		return noTx{}
	}
	if res := g.answer(req); res != nil {
		go func() {
			time.Sleep(20 * time.Millisecond)
			user.Response(res)
		}()
	}
	return noTx{}
}

func (p *provider) note(what string) {
	p.log = append(p.log, what)
	p.at = append(p.at, time.Now())
}

// answer is what a registrar does (RFC 3261 §10.3).
func (p *provider) answer(req *message.Message) *message.Message {
	res := message.NewResponse(req, 200, "", "itsp")
	expires := time.Duration(message.ParseExpires(req.Get(message.Expires))) * time.Second
	what := "register"
	if req.Has(message.Expires) && expires == 0 {
		what = "remove"
	} else if !req.Has(message.Expires) {
		what = "clean"
	}
	cseq, _ := req.CSeq()
	if id := req.Get(message.CallID); cseq.Seq <= p.seqs[id] {
		p.t.Errorf("CSeq %d after %d", cseq.Seq, p.seqs[id])
	} else {
		p.seqs[id] = cseq.Seq
	}
	r := p.server.Verify(req, message.Authorization, time.Now())
	switch {
	case p.status != 0:
		res.StatusCode = p.status
		for _, f := range p.fields {
			res.Add(f.Name, f.Value)
		}
	case r.Verdict != digest.OK:
		res.StatusCode = 401
		for _, v := range p.server.Challenge(req, time.Now(), r.Verdict == digest.Stale, digest.MD5) {
			res.Add(message.WWWAuthenticate, v)
		}
	case what == "register" && expires < p.min:
		res.StatusCode = 423
		res.Add(message.MinExpires, fmt.Sprint(int(p.min/time.Second)))
	default:
		for _, v := range req.Values(message.Contact) {
			c, _ := message.ParseContact(v)
			delete(p.bindings, c.URI)
			if c.Expires > 0 {
				p.bindings[c.URI] = time.Now().Add(min(expires, p.max))
			}
		}
		for uri, until := range p.bindings {
			res.Add(message.Contact, fmt.Sprintf("<%s>;expires=%d", uri, int(time.Until(until)/time.Second)))
		}
	}
	p.note(fmt.Sprint(what, " ", res.StatusCode))
	return res
}

// told returns and forgets the log.
func (p *provider) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.log
	p.log, p.at = nil, nil
	return out
}

func (p *provider) want(want ...string) {
	p.t.Helper()
	if got := p.told(); !slices.Equal(got, want) {
		p.t.Errorf("requests %q, want %q", got, want)
	}
}

// hosts are those that are bound.
func (p *provider) hosts() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uri := range p.bindings {
		u, _ := message.ParseURI(uri)
		out = append(out, u.Host)
	}
	slices.Sort(out)
	return out
}

// one is an Owner for tests: who is at turn holds the account.
type one struct {
	mu     sync.Mutex
	turn   *oneClaim
	claims []*oneClaim
}

type oneClaim struct {
	o        *one
	name     string
	changed  func()
	released bool
}

func (o *one) Claim(name string, changed func()) Claim {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &oneClaim{o: o, name: name, changed: changed}
	o.claims = append(o.claims, c)
	return c
}

// give has the claim with a number be held, -1: none.
func (o *one) give(i int) {
	o.mu.Lock()
	o.turn = nil
	if i >= 0 {
		o.turn = o.claims[i]
	}
	all := slices.Clone(o.claims)
	o.mu.Unlock()
	for _, c := range all {
		c.changed()
	}
}

func (c *oneClaim) Held() bool {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	return c.o.turn == c
}

func (c *oneClaim) Holder() string {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	if c.o.turn == nil || c.o.turn == c {
		return ""
	}
	return "another"
}
func (c *oneClaim) Member(gr string) bool { return gr == "member" }
func (c *oneClaim) Err() error            { return nil }
func (c *oneClaim) Release(context.Context) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.released = true
	if c.o.turn == c {
		c.o.turn = nil
	}
}

func itsp() Trunk {
	return Trunk{Name: "itsp", Register: &RegisterConfig{Server: "sip:itsp.example", User: "49301234", AuthUser: "49301234", Secret: "s3cret",
		Realm: "itsp.example", Expires: time.Hour}}
}

// registering runs accounts of a gateway at a provider in fake time.
func registering(t *testing.T, test func(t *testing.T, p *provider, a *Accounts)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		a := p.gateway("gw1.example", &one{})
		test(t, p, a)
		a.Close(context.Background())
	})
}

func (p *provider) gateway(host string, o Owner) *Accounts {
	return NewAccounts(AccountOptions{Sender: gatewayOf{p, host}, Resolve: p.resolve, Domain: "example.org", Owner: o, Changed: func(AccountReport) {}})
}

func state(t *testing.T, a *Accounts, want string) {
	t.Helper()
	r := a.Report()
	if len(r) != 1 {
		t.Fatalf("%+v", r)
	}
	if got := strings.TrimSpace(string(r[0].State) + " " + r[0].Reason); got != want {
		t.Errorf("state %q, want %q", got, want)
	}
}

// The account is registered with digest, refreshed at 80 % of what was granted, and taken out at the end.
//
// Feature: TRK-05
func TestAccountRegistersRefreshesAndLeaves(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		p.max = 10 * time.Minute
		a.Set([]Trunk{itsp()})
		time.Sleep(time.Second)
		p.want("register 401", "register 200")
		state(t, a, "registered")
		if until := time.Until(a.Report()[0].Until); until < 590*time.Second || until > 600*time.Second {
			t.Errorf("until %v", until)
		}
		for uri := range p.bindings {
			u, _ := message.ParseURI(uri)
			if name, ok := a.ByContact(u.User); !ok || name != "itsp" || !strings.HasSuffix(uri, "@gw1.example:5060;transport=tcp") {
				t.Errorf("contact %s of %s", uri, name)
			}
		}
		if _, ok := a.ByContact("49301234"); ok {
			t.Error("the user of the account is no contact")
		}
		time.Sleep(7*time.Minute + 50*time.Second)
		p.want()
		time.Sleep(20 * time.Second)
		p.want("register 401", "register 200") // the nonce had grown stale
		a.Set([]Trunk{itsp()})
		time.Sleep(time.Minute)
		p.want()
		a.Close(context.Background())
		p.want("remove 200")
		a.Set([]Trunk{itsp()}) // a reload while the gateway stops
		time.Sleep(time.Minute)
		p.want()
	})
}

// RFC 3261 §10.2.8: after a 423 what Min-Expires says is asked for.
func TestRFC3261_10_2_8_IntervalTooBrief(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		p.min, p.max = 2*time.Hour, 3*time.Hour
		a.Set([]Trunk{itsp()})
		time.Sleep(time.Second)
		p.want("register 401", "register 423", "register 200")
		if until := time.Until(a.Report()[0].Until); until < 7190*time.Second {
			t.Errorf("until %v", until)
		}
	})
}

// A refusal is not repeated within ten minutes; wrong credentials are sent once.
func TestRefusedAccountWaits(t *testing.T) {
	for _, c := range []struct {
		status        int
		secret, realm string
		want, state   []string
	}{
		{403, "s3cret", "itsp.example", []string{"register 403"}, []string{"failed 403"}},
		{404, "s3cret", "itsp.example", []string{"register 404"}, []string{"failed 404"}},
		{0, "wrong", "itsp.example", []string{"register 401", "register 401"}, []string{"failed credentials"}},
		{0, "s3cret", "other.example", []string{"register 401"}, []string{"failed realm"}},
	} {
		registering(t, func(t *testing.T, p *provider, a *Accounts) {
			p.status = c.status
			account := itsp()
			account.Register.Secret, account.Register.Realm = c.secret, c.realm
			a.Set([]Trunk{account})
			time.Sleep(accountRefused - time.Second)
			p.want(c.want...)
			state(t, a, c.state[0])
			time.Sleep(2*time.Second + accountRefused/10)
			if got := p.told(); len(got) != len(c.want) {
				t.Errorf("%d: %q after ten minutes", c.status, got)
			}
		})
	}
}

// What may be over soon is tried again after 30 s, and less often then; 503 says itself how long.
func TestFailedAccountBacksOff(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		p.status = 500
		a.Set([]Trunk{itsp()})
		time.Sleep(2 * time.Hour)
		var gaps []time.Duration
		p.set(func() {
			for i := 1; i < len(p.at); i++ {
				gaps = append(gaps, p.at[i].Sub(p.at[i-1]))
			}
		})
		if len(gaps) < 10 || gaps[0] < 30*time.Second || gaps[0] > 46*time.Second {
			t.Fatalf("%v", gaps)
		}
		for i, g := range gaps {
			if g < accountRetry || g > accountRetryMost+time.Second || i > 5 && g < accountRetryMost/2 {
				t.Errorf("gap %d is %v", i, g)
			}
		}
		state(t, a, "failed 500")
		p.set(func() {
			p.status, p.fields = 503, []message.Field{{Name: message.RetryAfter, Value: "1800 (maintenance)"}}
		})
		time.Sleep(accountRetryMost)
		p.told()
		time.Sleep(1800*time.Second - accountRetryMost)
		p.want()
		p.set(func() { p.status = 0 })
		time.Sleep(accountRetryMost + time.Minute)
		state(t, a, "registered")
	})
}

// RFC 3263 §4.3: the next address when one does not answer; the one that answered stays.
func TestRegistrarFailover(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		p.dead["192.0.2.1"] = sip.ErrTransport
		p.max = 10 * time.Minute
		a.Set([]Trunk{itsp()})
		time.Sleep(10 * time.Second)
		if got := p.told(); len(got) != 3 || got[2] != "register 200" {
			t.Errorf("%q", got)
		}
		p.set(func() { delete(p.dead, "192.0.2.1") })
		time.Sleep(8 * time.Minute)
		p.want("register 401", "register 200")
		p.set(func() { p.silent["192.0.2.1"], p.silent["192.0.2.2"] = true, true })
		time.Sleep(9 * time.Minute)
		state(t, a, "failed timeout")
		if got := p.told(); !slices.Contains(got, "to 192.0.2.1: silence") || got[0] != "to 192.0.2.2: silence" {
			t.Errorf("%q", got)
		}
	})
}

// A name that leads nowhere, and a registrar that does not answer, keep no other account waiting.
//
// Feature: TRK-11
func TestOneBadAccountHurtsNoOther(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		list := []Trunk{itsp()}
		for i := range 50 {
			bad := itsp()
			bad.Name = fmt.Sprint("bad", i)
			bad.Register.Server = "sip:nowhere.example"
			list = append(list, bad)
		}
		a.Set(list)
		time.Sleep(time.Second)
		for _, r := range a.Report() {
			if want := r.Trunk == "itsp"; (r.State == AccountRegistered) != want || !want && r.Reason != "dns" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// Of two gateways the one that owns the account registers; who loses it takes its contact out, and who gets it removes what one that died
// has left behind.
//
// Feature: TRK-05
func TestOwnerAloneRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newProvider(t), &one{}
		account := itsp()
		account.Register.Owner = "itsp"
		a, b := p.gateway("gw1.example", o), p.gateway("gw2.example", o)
		a.Set([]Trunk{account})
		b.Set([]Trunk{account})
		time.Sleep(time.Minute)
		p.want()
		state(t, a, "standby")
		o.give(0)
		time.Sleep(time.Second)
		p.want("register 401", "register 200")
		if ok, _ := a.Usable("itsp"); !ok {
			t.Error("the owner may not use the account")
		}
		if ok, holder := b.Usable("itsp"); ok || holder != "another" || b.Report()[0].Holder != "another" {
			t.Errorf("usable %v, holder %q", ok, holder)
		}
		o.give(-1)
		time.Sleep(time.Second)
		p.want("remove 200")
		o.give(1)
		time.Sleep(time.Second)
		if got := p.hosts(); !slices.Equal(got, []string{"gw2.example"}) {
			t.Errorf("bound: %q", got)
		}
		p.told()

		// The second dies without a word.
		p.set(func() { p.silent["192.0.2.1"], p.silent["192.0.2.2"] = true, true })
		b.Close(context.Background())
		if !o.claims[1].released {
			t.Error("the account was not given back")
		}
		p.set(func() { clear(p.silent) })
		p.told()
		o.give(0)
		time.Sleep(time.Second)
		p.want("register 200", "clean 200")
		if got := p.hosts(); !slices.Equal(got, []string{"gw1.example"}) {
			t.Errorf("bound: %q", got)
		}
		state(t, a, "registered")
		a.Close(context.Background())
		if got := p.hosts(); len(got) != 0 {
			t.Errorf("bound: %q", got)
		}
	})
}

// An account that is lost while a REGISTER is under way is taken out at once, not after its time-out.
func TestAccountLostWhileRegistering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newProvider(t), &one{}
		account := itsp()
		account.Register.Owner = "itsp"
		a := p.gateway("gw1.example", o)
		a.Set([]Trunk{account})
		p.silent["192.0.2.1"] = true
		o.give(0)
		time.Sleep(time.Second)
		p.want("to 192.0.2.1: silence")
		p.set(func() { clear(p.silent) })
		o.give(-1)
		time.Sleep(100 * time.Millisecond)
		p.want("remove 401", "remove 200")
		state(t, a, "standby")
		a.Close(context.Background())
	})
}

// An account whose options change has the same contact at its registrar: what the old one takes out must not be what the new one has just put in.
func TestAnAccountThatChangesStaysRegistered(t *testing.T) {
	registering(t, func(t *testing.T, p *provider, a *Accounts) {
		a.Set([]Trunk{itsp()})
		time.Sleep(time.Second)
		if len(p.hosts()) != 1 {
			t.Fatalf("bound: %q", p.hosts())
		}
		p.set(func() { p.late = time.Second })
		for n := range 5 {
			changed := itsp()
			changed.Register.Expires += time.Duration(n+1) * time.Minute
			a.Set([]Trunk{changed})
		}
		time.Sleep(30 * time.Second)
		if len(p.hosts()) != 1 {
			t.Errorf("bound after the change: %q, %q", p.hosts(), p.told())
		}
		state(t, a, "registered")
	})
}
