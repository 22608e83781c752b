package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Limits of the forwardings of a gateway: each is a record in the overlay, and the file is written whole.
const (
	maxForwards     = 10_000
	maxForwardsFile = 16 << 20
	maxForwardURI   = 512 // as sipusage takes them
)

// codeForward is for forwardings that cannot be set or read.
const codeForward = "E0220"

// forwarding is where the calls of a user go.
type forwarding struct {
	URI   string    `json:"uri"`
	Since time.Time `json:"since"`
}

// forwards are the forwardings that are set at this gateway, in a file, and what is published of the users of this gateway: a forwarding
// takes the place of the route, which is the registrar's to give (RFC 7904 §3.2: one entry for each Node-ID). It is safe for concurrent use.
type forwards struct {
	path      string
	bindings  *location.Bindings
	publisher publisher

	writing sync.Mutex // held for a change and its write, so that the file has the last one
	mu      sync.RWMutex
	set     map[location.AOR]forwarding // replaced, never modified
}

// publisher is the sipusage.Publisher.
type publisher interface {
	Extend(aor location.AOR, until time.Time) bool
	Publish(aor location.AOR, until time.Time, done func(error))
	Withdraw(aor location.AOR, done func(error))
	Forward(aor location.AOR, uri string, done func(error)) error
	State(aor location.AOR) sipusage.State
}

// openForwards reads the file. One that is damaged is an error: what users have set must not vanish.
func openForwards(path string) (*forwards, error) {
	f := &forwards{path: path, set: map[location.AOR]forwarding{}}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s data: %w", codeForward, err)
	}
	defer func() { _ = file.Close() }()
	if err := json.NewDecoder(io.LimitReader(file, maxForwardsFile)).Decode(&f.set); err != nil || f.set == nil {
		return nil, fmt.Errorf("%s data: %s is damaged: %w\n      try: correct it, or remove it and set the forwardings again", codeForward, path, err)
	}
	return f, nil
}

// to is where calls of aor go: proxy.Config.Forward.
func (f *forwards) to(aor location.AOR) (uri string, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	to, ok := f.set[aor]
	return to.URI, ok
}

// all lists what is set.
func (f *forwards) all() map[location.AOR]forwarding {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.set
}

// Publish implements registrar.Publisher: while calls are forwarded, that is what stands in the overlay.
func (f *forwards) Publish(aor location.AOR, until time.Time, done func(error)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if to, ok := f.set[aor]; ok {
		f.forward(aor, to.URI, done)
		return
	}
	f.publisher.Publish(aor, until, done)
}

// Extend implements registrar.Publisher.
func (f *forwards) Extend(aor location.AOR, until time.Time) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, forwarded := f.set[aor]
	return !forwarded && f.publisher.Extend(aor, until)
}

// Withdraw implements registrar.Publisher.
func (f *forwards) Withdraw(aor location.AOR, done func(error)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if to, ok := f.set[aor]; ok {
		f.forward(aor, to.URI, done)
		return
	}
	f.publisher.Withdraw(aor, done)
}

func (f *forwards) forward(aor location.AOR, uri string, done func(error)) {
	if err := f.publisher.Forward(aor, uri, done); err != nil {
		done(err)
	}
}

// announce has everything published that is set, after a start.
func (f *forwards) announce() {
	for aor, to := range f.all() {
		f.forward(aor, to.URI, func(error) {})
	}
}

var errForwardsFull = fmt.Errorf("%s %d forwardings are set at this node, and no more may be", codeForward, maxForwards)

// change sets the forwarding of aor, or ends it when uri is empty. It returns when that is on the disk; done is told when the overlay knows.
func (f *forwards) change(aor location.AOR, uri string, now time.Time, done func(error)) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	next := maps.Clone(f.all())
	if uri == "" {
		delete(next, aor)
	} else {
		next[aor] = forwarding{uri, now.UTC().Truncate(time.Second)}
	}
	if len(next) > maxForwards {
		return errForwardsFull
	}
	if err := saveJSON(f.path, next); err != nil {
		return fmt.Errorf("%s forwardings: %w", codeForward, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock() // until the overlay is told, so that no REGISTER comes in between
	f.set = next
	bound := f.bindings.Get(aor, now)
	switch {
	case uri != "":
		f.forward(aor, uri, done)
	case len(bound) > 0:
		last := slices.MaxFunc(bound, func(a, b location.Binding) int { return a.Expires.Compare(b.Expires) })
		f.publisher.Publish(aor, last.Expires, done)
	default:
		f.publisher.Withdraw(aor, done)
	}
	return nil
}

// destination reads where calls are to go, as people write it: a user of ours, or any SIP URI.
func (g *Gateway) destination(aor location.AOR, s string) (string, error) {
	if !strings.Contains(s, ":") { // a user, or user@host
		if !strings.Contains(s, "@") {
			s += "@" + g.o.Config.Domain
		}
		s = "sip:" + s
	}
	u, err := message.ParseURI(s)
	switch {
	case err != nil || !u.IsSIP() || u.User == "" || u.Headers != "" || u.Password != "" || len(s) > maxForwardURI:
		return "", fmt.Errorf("%s %.80q is no place that calls can be forwarded to: want a user, or sip:USER@HOST", codeForward, s)
	case !g.names.ours(u.Host, u.Port):
		return u.String(), nil
	}
	to, _ := g.names.aor(u)
	if to == aor {
		return "", fmt.Errorf("%s %s can not be forwarded to itself", codeForward, aor)
	}
	if _, device := u.Param("gr"); device {
		return "", fmt.Errorf("%s a forwarding leads to a user, not to one device", codeForward)
	}
	return u.Scheme + ":" + string(to), nil
}

// forwardable reports why the calls of aor can not be forwarded here: only a user of this node has them come here.
func (g *Gateway) forwardable(aor location.AOR) error {
	if g.locator.ours(aor) {
		return nil
	}
	if _, err := g.o.Keyring.Signer(string(aor)); err != nil {
		return fmt.Errorf("%s %s is no user of this node, and there is no certificate: %w", codeForward, aor, err)
	}
	return nil
}

// sortedForwards lists what is set, by user.
func (g *Gateway) sortedForwards() []ForwardReport {
	out := []ForwardReport{}
	for aor, to := range g.forwards.all() {
		out = append(out, ForwardReport{AOR: string(aor), URI: to.URI, Since: to.Since, State: string(g.publisher.State(aor))})
	}
	slices.SortFunc(out, func(a, b ForwardReport) int { return cmp.Compare(a.AOR, b.AOR) })
	return out
}
