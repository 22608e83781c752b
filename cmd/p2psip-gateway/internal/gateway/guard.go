package gateway

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Limits of a guard.
const (
	guardSources = 1 << 16          // addresses remembered; then others are forgotten, bans last
	guardFlows   = 1 << 17          // phones that are known to be registered
	guardWindow  = 10 * time.Second // an address over its rate gets one 503 in each
	guardPrivate = 20               // a private network may do so many times as much: a whole LAN restarts at once behind its router
	guardCredit  = 10               // requests that a successful REGISTER, or a call of a provider, earns its address, besides its own
	guardFlowFor = 2 * time.Hour    // how long a phone is known after its last REGISTER
	guardFlowNew = time.Minute      // that is written down anew after so long
	guardRefused = 1024             // requests with bad credentials whose answer is on its way
	weakEvidence = 0.25             // a failure over UDP: its source may be forged, and a ban a weapon
	evictTries   = 8                // addresses looked at for one to forget
)

// Codes of the guard in log and metrics. Nothing is answered but SEC503.
const (
	codeScanner = "SEC-SCANNER"
	codeProbe   = "SEC-PROBE"
	codeRate    = "SEC-RATE"
	codeBanned  = "SEC-BAN"
)

var tooFast = &sip.Refusal{Status: 503, Word: "SEC503", Text: "too many requests from this address"}

// scanners are words in the User-Agent, or the From, of programs that look for phone systems to rob. They count as whole words: Tiwari is a name.
var scanners = []string{"friendly-scanner", "friendly-request", "sipvicious", "sundayddr", "sipcli", "sip-scan", "sipscan", "sivus", "smap", "pplsip", "iwar",
	"vaxsip", "vaxsipuseragent"}

// guardConfig is what a guard goes by. The rest of the guard does not change it. A rate or a number of failures of 0 turns that part off.
type guardConfig struct {
	rate, burst float64 // requests a second, and at once, from one address that is not known
	failures    float64 // wrong credentials within window that ban an address
	window, ban time.Duration
	stealth     bool           // strangers' probes get no answer
	trusted     []netip.Prefix // none of this is for them
	now         func() time.Time
	log         zerolog.Logger
	refused     func(r *sip.Refusal, m *message.Message, from location.Hop) // counts and logs
}

// guard stands between transports and transactions: it limits what an address that nobody knows may ask for, and says nothing to
// those who only look around. It is safe for concurrent use.
type guard struct {
	conf  atomic.Pointer[guardConfig]
	names *names // what is no probe names us
	// account reports whether a provider knows us by a user part, as our contact. nil: no provider does.
	account func(user string) bool
	next    flow.Receiver
	send    func(m *message.Message, from location.Hop, answer []byte)

	dropped map[string]*atomic.Uint64 // by code
	bans    atomic.Int64              // at most so many addresses are banned

	mu       sync.Mutex
	sources  map[netip.Addr]*source
	flows    map[location.Hop]time.Time // known phones, and until when
	refusals map[*message.Message]struct{}
}

// source is an address, or the /64 of an IPv6 host.
type source struct {
	tokens      float64
	at          time.Time // when tokens were counted
	told        time.Time // when it got its last 503
	failures    float64
	since       time.Time // of the first of the failures
	bannedUntil time.Time
}

func newGuard(c guardConfig) *guard {
	g := &guard{sources: map[netip.Addr]*source{}, flows: map[location.Hop]time.Time{}, refusals: map[*message.Message]struct{}{},
		dropped: map[string]*atomic.Uint64{}}
	for _, code := range []string{codeScanner, codeProbe, codeRate} {
		g.dropped[code] = new(atomic.Uint64)
	}
	g.conf.Store(&c)
	return g
}

// set replaces what the guard goes by; what it knows of addresses stays.
func (g *guard) set(c guardConfig) { g.conf.Store(&c) }

// Deliver implements flow.Receiver.
func (g *guard) Deliver(m *message.Message, from location.Hop) {
	if !m.IsRequest() || from.Node != "" || g.isTrusted(from.Remote.Addr()) || g.isProviders(m, from) {
		g.next.Deliver(m, from)
		return
	}
	switch code := g.judge(m, from); code {
	case "":
		g.next.Deliver(m, from)
	case tooFast.Word:
		g.dropped[codeRate].Add(1)
		g.conf.Load().refused(tooFast, m, from)
		res := tooFast.Response(m, "p2psip-gateway")
		res.Set(message.RetryAfter, "10")
		g.send(m, from, res.AppendTo(nil))
	default:
		g.dropped[code].Add(1)
		g.conf.Load().refused(&sip.Refusal{Word: code}, m, from)
	}
}

// isProviders reports whether a request is for the contact under which we are registered at a provider, which may send from any address: nobody else
// knows it. What follows within the dialog has another Request-URI, so that each earns its address some requests.
func (g *guard) isProviders(m *message.Message, from location.Hop) bool {
	if g.account == nil {
		return false
	}
	uri, err := message.ParseURI(m.RequestURI)
	if err != nil || !g.account(uri.User) {
		return false
	}
	now := g.conf.Load().now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.earn(from.Remote.Addr(), now)
	return true
}

// earn gives an address some more requests. The caller holds mu.
func (g *guard) earn(a netip.Addr, now time.Time) *source {
	s, most := g.source(a, now)
	s.tokens = min(most, s.tokens+guardCredit)
	return s
}

// judge tells why a request goes no further; "": it does.
func (g *guard) judge(m *message.Message, from location.Hop) string {
	if isScanner(m) {
		return codeScanner
	}
	c := g.conf.Load()
	now := c.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flows[flowOf(from)].After(now) {
		return ""
	}
	if c.rate > 0 {
		s, most := g.source(from.Remote.Addr(), now)
		if s.tokens < 1 {
			if m.Method == "ACK" || now.Sub(s.told) < guardWindow {
				return codeRate
			}
			s.told = now
			return tooFast.Word
		}
		s.tokens = min(s.tokens, most) - 1
	}
	if c.stealth && !private(from.Remote.Addr()) && g.isProbe(m) {
		return codeProbe
	}
	return ""
}

// isProbe reports whether a request of a stranger has no other sense than to find out who is there: an OPTIONS, a REGISTER for another domain, and
// what neither is for somebody of our domain, by its name, nor says to come from there. Programs that go through addresses know no domain.
// Requests of a dialog belong to something that was let in.
func (g *guard) isProbe(m *message.Message) bool {
	switch {
	case message.Tag(m.Get(message.To)) != "":
		return false
	case m.Method == "OPTIONS":
		return true
	case m.Method == "REGISTER":
		return !g.names.inAddress(m.Get(message.To))
	}
	uri, err := message.ParseURI(m.RequestURI)
	return (err != nil || !message.EqualFold(uri.Host, g.names.domain)) && !g.names.inAddress(m.Get(message.From))
}

// source finds or makes the entry of an address, with the tokens that it has by now; most is what earned tokens add up to. The caller holds mu.
func (g *guard) source(a netip.Addr, now time.Time) (s *source, most float64) {
	c := g.conf.Load()
	rate, burst := c.rate, c.burst
	if private(a) {
		rate, burst = rate*guardPrivate, burst*guardPrivate
	}
	key := blockOf(a)
	s = g.sources[key]
	if s == nil {
		g.forget(now)
		s = &source{tokens: burst, at: now}
		g.sources[key] = s
	}
	if s.tokens < burst {
		s.tokens = min(burst, s.tokens+rate*now.Sub(s.at).Seconds())
	}
	s.at = now
	return s, burst * guardPrivate
}

// forget makes room for one more address. The caller holds mu.
func (g *guard) forget(now time.Time) {
	if len(g.sources) < guardSources {
		return
	}
	tries := 0
	for key, s := range g.sources {
		if tries++; s.bannedUntil.Before(now) || tries == evictTries {
			delete(g.sources, key)
			return
		}
	}
}

// Registered tells that a phone proved who it is with a REGISTER over this flow: it is no stranger for a while, its address has earned
// some more requests, and what failed there before is forgiven.
func (g *guard) Registered(from location.Hop) {
	if from.Node != "" {
		return
	}
	now := g.conf.Load().now()
	g.mu.Lock()
	defer g.mu.Unlock()
	flow, until := flowOf(from), now.Add(guardFlowFor)
	known, ok := g.flows[flow]
	if !ok && len(g.flows) >= guardFlows {
		for k := range g.flows {
			delete(g.flows, k)
			break
		}
	}
	if until.Sub(known) > guardFlowNew {
		g.flows[flow] = until
	}
	g.earn(from.Remote.Addr(), now).failures = 0
}

// Wrong tells that a request had wrong credentials; Checked, which follows, knows where it came from.
func (g *guard) Wrong(m *message.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refusals) >= guardRefused {
		clear(g.refusals)
	}
	g.refusals[m] = struct{}{}
}

// Checked is told of each request whose credentials, if any, have been looked at.
func (g *guard) Checked(m *message.Message, from location.Hop) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, wrong := g.refusals[m]; !wrong {
		return
	}
	delete(g.refusals, m)
	a, c := from.Remote.Addr(), g.conf.Load()
	if c.failures == 0 || from.Node != "" || private(a) || g.isTrusted(a) {
		return
	}
	now := c.now()
	s, _ := g.source(a, now)
	if now.Sub(s.since) > c.window {
		s.since, s.failures = now, 0
	}
	if s.failures += weight(from); s.failures >= c.failures {
		s.bannedUntil, s.failures = now.Add(c.ban), 0
		g.bans.Add(1)
		c.log.Warn().Str("code", codeBanned).Stringer("source", blockOf(a)).Dur("for", c.ban).Msg("an address is banned: too many wrong passwords")
	}
}

// Banned is for flow.Config: whether anything from an address is taken at all.
func (g *guard) Banned(a netip.Addr) bool {
	if g.bans.Load() == 0 {
		return false
	}
	now := g.conf.Load().now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[blockOf(a)]
	switch {
	case s == nil || s.bannedUntil.IsZero():
		return false
	case s.bannedUntil.After(now):
		return true
	}
	s.bannedUntil = time.Time{}
	g.bans.Add(-1)
	return false
}

// Dropped are the requests that went no further, by code.
func (g *guard) Dropped() map[string]uint64 {
	out := map[string]uint64{}
	for code, n := range g.dropped {
		out[strings.ToLower(strings.ReplaceAll(code, "-", "_"))] = n.Load()
	}
	return out
}

// isTrusted reports whether nothing of this is for an address: this host, or one of the networks that are trusted.
func (g *guard) isTrusted(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	return contains(g.conf.Load().trusted, a)
}

// isScanner reports whether a request comes from a program that says itself what it is for.
func isScanner(m *message.Message) bool {
	for _, n := range []message.Name{message.UserAgent, message.From} {
		text := strings.ToLower(m.Get(n))
		for _, word := range scanners {
			if hasWord(text, word) {
				return true
			}
		}
	}
	return false
}

// hasWord reports whether a word stands in text with neither a letter nor a digit beside it.
func hasWord(text, word string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(word)
		if (begin == 0 || !alphanumeric(text[begin-1])) && (end == len(text) || !alphanumeric(text[end])) {
			return true
		}
		at = end
	}
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c >= 0x80 }

// flowOf is what a phone is known by: its connection, or over UDP its address.
func flowOf(h location.Hop) location.Hop {
	if h.Flow != 0 {
		return location.Hop{Flow: h.Flow}
	}
	return location.Hop{Transport: h.Transport, Remote: h.Remote}
}

// weight is what a failure counts: over a connection the other side is where it says that it is.
func weight(from location.Hop) float64 {
	if from.Transport == flow.UDP {
		return weakEvidence
	}
	return 1
}

// private reports whether an address can not come from the Internet.
func private(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

// blockOf is what limits are for: an IPv4 address, or the /64 that an IPv6 host has for itself.
func blockOf(a netip.Addr) netip.Addr {
	if p, err := a.Prefix(64); err == nil && a.Is6() {
		return p.Addr()
	}
	return a
}

// Phone reports whether a phone proved who it is over this flow a short time ago.
func (g *guard) Phone(from location.Hop) bool {
	if from.Node != "" {
		return false
	}
	now := g.conf.Load().now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flows[flowOf(from)].After(now)
}
