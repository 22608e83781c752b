package proxy

import (
	"context"
	crand "crypto/rand"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Resolver finds where a URI leads (RFC 3263).
type Resolver interface {
	// Immediate answers what needs no lookup: a numeric address. It does not block.
	Immediate(uri message.URI) (hops []location.Hop, ok bool)
	// Resolve asks the DNS. The hops are in the order in which they are to be tried; none and no error does not occur.
	Resolve(ctx context.Context, uri message.URI) ([]location.Hop, error)
}

// Config is what a Proxy is made of. Fields not said to be optional must be set.
type Config struct {
	Sender   sip.Sender
	Locator  location.Locator
	Resolver Resolver
	// Domain is the SIP domain of the overlay: the host part of GRUUs.
	Domain string
	// NodeGR is this gateway's own destination list as a gr value (RFC 7904 §6).
	NodeGR string
	// GRUUs reads the temporary GRUUs of phones that are registered here (RFC 5627). Optional: there are none.
	GRUUs *location.GRUUs
	// Ours reports whether host and port are the domain or an address of this gateway; port 0: none given.
	Ours func(host string, port uint16) bool
	// AOR makes a canonical address-of-record of a URI; ok is false when its domain is not ours.
	AOR func(message.URI) (aor location.AOR, ok bool)
	// Trusted names sources that may send anything without credentials. Optional: none.
	Trusted func(location.Hop) bool
	// Forward is where a user has calls go instead of the phones at this gateway, a URI. It does not block. Optional: nowhere.
	Forward func(location.AOR) (uri string, ok bool)
	// Authenticator checks credentials, Realm is what they are for. Optional; RequireAuth asks senders for them that say
	// to be of our domain and are neither trusted nor registered over the same flow.
	Authenticator Authenticator
	Realm         string
	RequireAuth   bool
	// Realms are those of others whose challenges callers may see. Optional: none, but for what Trusted vouches for.
	Realms []string
	// Outside reports whether a source is one that nobody vouches for: a stranger there gets the same answer for a user who does not exist as
	// for one who is not there. Optional: none is.
	Outside func(location.Hop) bool
	// Secret protects route tokens. With the same one after a restart, dialogs go on. Optional: drawn.
	Secret []byte
	// Identity says what is done with the identity of callers.
	Identity Identity
	// Trunks leads calls to PBXs and providers, and knows what comes from there. Optional: there are none. Phones reports whether a phone is
	// registered at an address: it may call emergency services as anybody. Optional: there are none.
	// User reports whether an AOR is a user itself, and not just a number of a range: it is never led over trunks. It does not block. Optional:
	// Locator.Known says so.
	Trunks Trunks
	User   func(location.AOR) bool
	Phones func(location.Hop) bool
	// Recurse follows redirections instead of passing them to the caller. History writes History-Info (RFC 7044).
	Recurse, History bool
	// MaxCalls limits the requests under way. Optional: 20000.
	MaxCalls int
	// Now and After are the clock; After calls f after d unless stopped. Optional: time.Now, time.AfterFunc.
	Now   func() time.Time
	After func(d time.Duration, f func()) (stop func())
	// Media relays the media of calls. Optional: bodies pass as they are.
	Media Media
	// Refused is told of each request that was turned away before it was forwarded. It must not block. Optional.
	Refused func(Refusal)
}

// Refusal says who was turned away, and why.
type Refusal struct {
	Code   string // the stable word of the Warning: "PRX403R"
	Status int
	Method string
	URI    string // Request-URI
	From   string // From, as received
	Source location.Hop
}

// Proxy is a stateful proxy: the part of a sip.Handler that forwards. It is safe for concurrent use.
type Proxy struct {
	c    Config
	seal sealer
	seed maphash.Seed // of the routing hash
	pool pool
	ctx  context.Context
	stop context.CancelFunc

	mu    sync.Mutex
	calls map[sip.ServerTransaction]*call

	checking  atomic.Int64  // questions about callers under way
	resolving atomic.Int64  // names being looked up
	mediaLegs atomic.Uint64 // numbers given to legs so far
	outages   outages
	counters  counters
}

// New returns a Proxy. Close ends it.
func New(c Config) *Proxy {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = func(d time.Duration, f func()) func() {
			t := time.AfterFunc(d, f)
			return func() { t.Stop() }
		}
	}
	if c.MaxCalls <= 0 {
		c.MaxCalls = maxCalls
	}
	if len(c.Secret) == 0 {
		c.Secret = make([]byte, 32)
		_, _ = crand.Read(c.Secret) // never fails: it ends the process instead
	}
	p := &Proxy{c: c, seed: maphash.MakeSeed(), calls: map[sip.ServerTransaction]*call{}}
	p.seal = newSealer(c.Secret)
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Close ends lookups and waits for their goroutines. Requests that wait for one are answered as after a failed lookup.
func (p *Proxy) Close() {
	p.stop()
	p.pool.close()
}

// Request takes a request other than ACK, CANCEL and those for the gateway itself (OPTIONS without user, REGISTER).
func (p *Proxy) Request(tx sip.ServerTransaction) {
	in, pl, challenge, code := p.route(tx.Request(), tx.Source())
	switch {
	case in.refusal != nil:
		p.refuseBy(tx, in.refusal)
		return
	case code != fine:
		p.refuse(tx, code, challenge)
		return
	}
	if why := p.receive(in); why != nil {
		p.refuseBy(tx, why)
		return
	}
	c := p.open(tx, in)
	if c == nil {
		p.drop(in)
		p.refuse(tx, overloaded, nil)
		return
	}
	c.begin(pl)
}

// route does everything that comes before forwarding (RFC 3261 §16.3 to §16.5).
func (p *Proxy) route(req *message.Message, src location.Hop) (in *inbound, pl plan, challenge []string, c code) {
	if in, c = p.validate(req, src); c != fine {
		return in, pl, nil, c
	}
	if c = p.preprocess(in); c != fine {
		return in, pl, nil, c
	}
	if challenge, c = p.admit(in); c != fine {
		return in, pl, challenge, c
	}
	pl, c = p.determine(in)
	return in, pl, nil, c
}

// refuse answers a request that is not forwarded.
func (p *Proxy) refuse(tx sip.ServerTransaction, c code, challenge []string) {
	req := tx.Request()
	res := c.response(req)
	for _, v := range challenge {
		res.Add(message.ProxyAuthenticate, v)
	}
	tx.Respond(res)
	p.counters.calls[resultOf(c.status())].Add(1)
	p.turnedAway(tx, c)
}

// turnedAway counts and tells of a request that is not forwarded.
func (p *Proxy) turnedAway(tx sip.ServerTransaction, c code) {
	p.counters.refused[c].Add(1)
	p.tell(tx, &answers[c])
}

func (p *Proxy) tell(tx sip.ServerTransaction, why *sip.Refusal) {
	req := tx.Request()
	if p.c.Refused != nil {
		p.c.Refused(Refusal{Code: why.Word, Status: why.Status, Method: req.Method, URI: req.RequestURI,
			From: req.Get(message.From), Source: tx.Source()})
	}
}

// open registers a call; nil when there are too many. Requests within dialogs get some room more.
func (p *Proxy) open(tx sip.ServerTransaction, in *inbound) *call {
	limit := p.c.MaxCalls
	if in.genuine || p.emergency(in) {
		limit += spareCalls
	}
	c := &call{p: p, tx: tx, in: in, busy: true}
	r := &c.room
	c.inbox, c.legs, c.seen = r.events[:0], r.legs[:0], r.seen[:0]
	c.fork = fork{invite: in.msg.Method == "INVITE", breadth: in.breadth, branches: r.branches[:0],
		out: r.actions[:0:1], given: r.actions[1:1]}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) >= limit {
		return nil
	}
	p.calls[tx] = c
	return c
}

func (p *Proxy) find(tx sip.ServerTransaction) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[tx]
}

func (p *Proxy) forget(tx sip.ServerTransaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, tx)
}

// Cancel takes the CANCEL of an INVITE that is being forwarded (RFC 3261 §16.10). One for anything else has been answered
// already.
func (p *Proxy) Cancel(tx sip.ServerTransaction, cancel *message.Message) {
	if c := p.find(tx); c != nil {
		c.post(event{kind: evCancel, reason: cancel.Get(message.ReasonHeader)})
	}
}

// Ended takes the end of a server transaction. What is still under way for it is cancelled.
func (p *Proxy) Ended(tx sip.ServerTransaction) {
	if c := p.find(tx); c != nil {
		c.post(event{kind: evEnded})
	}
}
