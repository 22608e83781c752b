package trunk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Owner settles which gateway uses an account that several have.
type Owner interface {
	// Claim has this gateway want the account with a name that all of them have for it. changed is called whenever the Claim may say
	// something else; it must not block.
	Claim(name string, changed func()) Claim
}

// Claim is the part of this gateway in the ownership of one account. It is safe for concurrent use.
type Claim interface {
	// Held reports whether this gateway may use the account now. It is asked right before each use.
	Held() bool
	// Holder is the gr value of the gateway that uses it; "" when it is this one, or none is known.
	Holder() string
	// Member reports whether another gateway, by its gr value, may use the account too.
	Member(gr string) bool
	// Err is what keeps this gateway from taking part; nil: nothing. It is a location.ErrNotOffered when the overlay can not say who uses an account.
	Err() error
	// Release gives the account back, which must not be in use any more. It blocks until that is done, or ctx ends.
	Release(ctx context.Context)
}

// AccountOptions is what Accounts are made of. Every field must be set.
type AccountOptions struct {
	Sender  sip.Sender
	Resolve func(ctx context.Context, uri message.URI) ([]location.Hop, error)
	Domain  string
	Owner   Owner
	// Changed is told when the state of an account changed. It must not block.
	Changed func(AccountReport)
}

// AccountReport is how an account stands.
type AccountReport struct {
	Trunk string
	State AccountState
	// Reason is, with AccountFailed, the status of a response, "timeout", "dns", "realm", "credentials", "owner"; with AccountStandby "document" when
	// nobody can own it.
	Reason  string
	Since   time.Time
	Until   time.Time // the end of the registration; zero: there is none
	Holder  string    // with AccountStandby: the gr value of the gateway that uses it; "" when none is known
	Problem error     // what keeps this gateway from taking part in the ownership; nil: nothing
}

// Accounts keeps the accounts of trunks registered (RFC 3261 §10.2), each by one gateway at a time. Each account has a goroutine of its own,
// so that a registrar which does not answer keeps no other waiting. It is safe for concurrent use.
type Accounts struct {
	o AccountOptions

	mu      sync.Mutex
	all     map[string]*account // by trunk
	closed  bool
	running sync.WaitGroup
}

// account is one account.
type account struct {
	a      *Accounts
	trunk  Trunk
	claim  Claim // nil: no other gateway has it
	token  string
	news   chan struct{}   // something changed
	stop   chan struct{}   // closed when it is to end
	ending context.Context // set before stop is closed: bounds the end
	gone   chan struct{}   // closed when it has ended
	before <-chan struct{} // the same of the one whose place it takes; nil: of none
	good   location.Hop    // that answered last

	mu   sync.Mutex
	reg  *registration
	told AccountReport
}

// NewAccounts returns Accounts without any. Close ends them.
func NewAccounts(o AccountOptions) *Accounts {
	return &Accounts{o: o, all: map[string]*account{}}
}

// Set has the accounts of trunks be registered, and no others. One that stays as it is is left alone. It does not block.
func (a *Accounts) Set(trunks []Trunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return // the configuration was read again while the gateway stops
	}
	wanted := map[string]*Trunk{}
	for i := range trunks {
		if r := trunks[i].Register; r != nil && r.Server != "" {
			wanted[trunks[i].Name] = &trunks[i]
		}
	}
	before := map[string]<-chan struct{}{}
	for name, acc := range a.all {
		if t := wanted[name]; t == nil || *t.Register != *acc.trunk.Register || t.Domain != acc.trunk.Domain {
			acc.end(context.Background())
			before[name] = acc.gone
			delete(a.all, name)
		}
	}
	for name, t := range wanted {
		if a.all[name] == nil {
			a.all[name] = a.begin(*t, before[name])
		}
	}
}

func (a *Accounts) begin(t Trunk, before <-chan struct{}) *account {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	acc := &account{a: a, trunk: t, news: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{}), before: before,
		reg: newRegistration(&t, a.o.Domain, random)}
	acc.token = acc.reg.token
	acc.told = acc.report()
	if t.Register.Owner != "" {
		acc.claim = a.o.Owner.Claim(t.Register.Owner, acc.wake)
	}
	a.running.Go(acc.run)
	return acc
}

// end has an account un-registered and given back, until ctx ends at the latest.
func (acc *account) end(ctx context.Context) {
	acc.ending = ctx
	close(acc.stop)
}

// Close un-registers all accounts and gives them back. It returns when that is done, or when ctx has ended. Set does nothing after it.
func (a *Accounts) Close(ctx context.Context) {
	a.mu.Lock()
	a.closed = true
	for name, acc := range a.all {
		acc.end(ctx)
		delete(a.all, name)
	}
	a.mu.Unlock()
	a.running.Wait()
}

// wake has the loop look again.
func (acc *account) wake() {
	select {
	case acc.news <- struct{}{}:
	default:
	}
}

func (acc *account) held() bool { return acc.claim == nil || acc.claim.Held() }

// run is the loop of an account.
func (acc *account) run() {
	defer close(acc.gone)
	if acc.before != nil {
		<-acc.before // whose contact at the registrar may be the same: what it takes out is not to be what we put in. It ends within closeWait
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-acc.stop: // also while there is something due, which does not begin any more
			acc.leave()
			return
		default:
		}
		next, due := acc.look(acc.held())
		if due {
			acc.send(context.Background())
			continue
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-acc.news:
		case <-acc.stop:
			acc.leave()
			return
		}
	}
}

// look tells the registration whose the account is, and asks it what is due.
func (acc *account) look(held bool) (next time.Time, due bool) {
	now := time.Now()
	acc.mu.Lock()
	acc.reg.own(now, held)
	next, due = acc.reg.next, acc.reg.due(now)
	acc.mu.Unlock()
	acc.tell()
	return next, due
}

// leave un-registers the account and gives it back.
func (acc *account) leave() {
	ctx, cancel := context.WithTimeout(acc.ending, closeWait)
	defer cancel()
	for ctx.Err() == nil {
		if _, due := acc.look(false); !due {
			break
		}
		acc.send(ctx)
	}
	if acc.claim != nil {
		acc.claim.Release(ctx)
	}
}

// tell reports what changed.
func (acc *account) tell() {
	acc.mu.Lock()
	r := acc.report()
	same := r.State == acc.told.State && r.Reason == acc.told.Reason && r.Holder == acc.told.Holder
	acc.told = r
	acc.mu.Unlock()
	if !same {
		acc.a.o.Changed(r)
	}
}

// report is how the account stands. The caller holds acc.mu, but for the first time.
func (acc *account) report() AccountReport {
	r := AccountReport{Trunk: acc.trunk.Name, State: acc.reg.state, Reason: acc.reg.reason, Since: acc.reg.since, Until: acc.reg.until}
	if acc.claim != nil && r.State == AccountStandby {
		r.Holder, r.Problem = acc.claim.Holder(), acc.claim.Err()
		switch {
		case errors.Is(r.Problem, location.ErrNotOffered):
			r.Reason = "document"
		case r.Problem != nil && r.Holder == "":
			r.State, r.Reason = AccountFailed, "owner"
		}
	}
	return r
}

// send carries out what is due: it tries the addresses of the registrar one after the other until one answers (RFC 3263 §4.3).
func (acc *account) send(ctx context.Context) {
	acc.mu.Lock()
	doing := acc.reg.doing
	acc.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if doing != errandRemove {
		go acc.guard(ctx, cancel)
	}
	uri, _ := message.ParseURI(acc.trunk.Register.Server)
	hops, _ := acc.a.o.Resolve(ctx, uri)
	reason := "dns" // when there is none
	// RFC 3261 §10.2.4: a refresh goes where the binding is.
	if i := slices.Index(hops, acc.good); i >= 0 && doing == errandRemove {
		hops = hops[i : i+1]
	} else if i > 0 {
		hops = append([]location.Hop{acc.good}, slices.Delete(slices.Clone(hops), i, i+1)...)
	}
	var last *message.Message
	var contact string
	for _, hop := range hops[:min(len(hops), maxHops)] {
		if doing != errandRemove && !acc.held() {
			cancel()
		}
		if ctx.Err() != nil {
			break
		}
		contact = contactURI(acc.token, acc.a.o.Sender.Address(hop))
		res, err := acc.ask(ctx, hop, contact, doing)
		if err != nil {
			reason = unseen(err).reason
			continue
		}
		if last = res; res.StatusCode != 503 && res.StatusCode != 408 {
			acc.good = hop
			break
		}
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	switch {
	case last != nil:
		acc.reg.answered(time.Now(), last, contact)
	case ctx.Err() == nil: // else it is looked at anew what is to be done
		acc.reg.failed(time.Now(), reason)
	}
}

// guard ends what is under way when the account is not ours any more, or is to end.
func (acc *account) guard(ctx context.Context, cancel func()) {
	defer acc.wake() // what was taken from news may be of interest for others
	for acc.held() {
		select {
		case <-acc.news:
		case <-acc.stop:
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
	cancel()
}

// ask sends one REGISTER and waits for its final response.
func (acc *account) ask(ctx context.Context, hop location.Hop, contact string, doing errand) (*message.Message, error) {
	acc.mu.Lock()
	req := acc.reg.request(time.Now(), contact)
	acc.mu.Unlock()
	wait := accountWait
	if doing == errandRemove {
		wait = removalWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	u := &asker{done: make(chan struct{})}
	tx := acc.a.o.Sender.Send(req, hop, "", u)
	select {
	case <-u.done:
		return u.res, u.err
	case <-ctx.Done():
		tx.Abandon()
		return nil, sip.ErrTimeout
	}
}

// asker is the sip.ClientUser of one REGISTER.
type asker struct {
	once sync.Once
	done chan struct{}
	res  *message.Message
	err  error
}

// Response implements sip.ClientUser.
func (u *asker) Response(res *message.Message) {
	if res.StatusCode >= 200 {
		u.once.Do(func() { u.res = res; close(u.done) })
	}
}

// Failed implements sip.ClientUser.
func (u *asker) Failed(err error) { u.once.Do(func() { u.err = err; close(u.done) }) }

// Report lists the accounts, in no order.
func (a *Accounts) Report() (out []AccountReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, acc := range a.all {
		acc.mu.Lock()
		out = append(out, acc.report())
		acc.mu.Unlock()
	}
	return out
}

// ByContact finds the trunk that a request is from whose Request-URI has this user part: our contact at its registrar.
func (a *Accounts) ByContact(user string) (trunk string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, acc := range a.all {
		if acc.token == user {
			return name, true
		}
	}
	return "", false
}

// IsContact reports whether a user part is that of our contact at a registrar.
func (a *Accounts) IsContact(user string) bool {
	_, ok := a.ByContact(user)
	return ok
}

// Usable says whether this gateway may send calls to the account of a trunk, and if not, the gr value of the gateway that may; "" when none is
// known. A trunk without an account may be used.
func (a *Accounts) Usable(trunk string) (ok bool, holder string) {
	a.mu.Lock()
	acc := a.all[trunk]
	a.mu.Unlock()
	if acc == nil || acc.held() {
		return true, ""
	}
	return false, acc.claim.Holder()
}

// Admits reports whether another gateway, by its gr value, may send calls to the account of a trunk through this one: it may use the account itself
// when its turn comes.
func (a *Accounts) Admits(trunk, node string) bool {
	a.mu.Lock()
	acc := a.all[trunk]
	a.mu.Unlock()
	return acc != nil && acc.claim != nil && acc.claim.Member(node)
}

// contactToken is the user part of our contact: the same at each gateway that has the account, so that one finds what another left at
// the registrar, and a secret to everybody but the registrar.
func contactToken(c *RegisterConfig) string {
	m := hmac.New(sha256.New, []byte(c.Secret))
	m.Write([]byte(strings.Join([]string{"contact", c.Server, c.User, c.AuthUser}, "\x00")))
	return "t" + hex.EncodeToString(m.Sum(nil)[:10])
}
