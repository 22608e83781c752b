// Package resolve finds where to send a request for a URI (RFC 3263 §4, RFC 2782): numeric hosts at once, names by
// NAPTR, SRV and then A and AAAA. The gateway calls it in front of sip.Sender.
//
// A Resolver is safe for concurrent use. Immediate never blocks; Start resolves on a goroutine of its own, of which
// there are MaxRunning at most; Resolve blocks its caller.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Errors of a resolution.
var (
	ErrURI       = errors.New("resolve: not a sip or sips URI")
	ErrTransport = errors.New("resolve: transport not supported")
	ErrNotFound  = errors.New("resolve: no such host")
	ErrDNS       = errors.New("resolve: DNS did not answer") // it may the next time
	ErrBusy      = errors.New("resolve: too many resolutions")
)

// Resolver turns URIs into candidates.
type Resolver struct {
	dns     *client
	running *semaphore.Weighted
	mu      sync.Mutex
	hosts   map[string]int // mu; resolutions that run, by name
	intN    func(int) int  // SRV weights; replaced in tests
}

// Config says where the Resolver asks.
type Config struct {
	Servers    []string // "address:port" of recursive servers; empty: those of ResolvConf
	ResolvConf string   // empty: /etc/resolv.conf. Its search list counts for names without a dot
	Hosts      string   // file of names asked first and read once; empty: /etc/hosts
}

// New returns a Resolver. A file that does not exist is as good as an empty one, and without servers the local one is
// asked.
func New(c Config) (*Resolver, error) {
	dns, err := newClient(c)
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	return &Resolver{dns: dns, running: semaphore.NewWeighted(MaxRunning), hosts: map[string]int{}, intN: rand.IntN}, nil
}

// Immediate returns the candidates that can be told without a question: for a numeric host, or from answers at hand.
// ok is false when a question is due, or nothing comes of it: Resolve tells.
func (r *Resolver) Immediate(u message.URI) (hops []location.Hop, ok bool) {
	hops, err := r.candidates(u, r.dns.cached)
	return hops, err == nil
}

// Resolve returns the candidates in the order in which to try them. It blocks until all are known, ctx ends or
// Deadline has passed.
func (r *Resolver) Resolve(ctx context.Context, u message.URI) ([]location.Hop, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	return r.candidates(u, func(qs ...question) []reply { return r.dns.ask(ctx, qs) })
}

// Start resolves on another goroutine and calls done from there, exactly once. It does not block; with ErrBusy done
// is not called.
func (r *Resolver) Start(ctx context.Context, u message.URI, done func([]location.Hop, error)) error {
	host := strings.ToLower(u.Host)
	if !r.enter(host) {
		return ErrBusy
	}
	go func() {
		defer r.leave(host)
		done(r.Resolve(ctx, u))
	}()
	return nil
}

// enter takes one of the places for resolutions. A name whose servers do not answer gets a share of them only.
func (r *Resolver) enter(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts[host] >= maxPerHost || !r.running.TryAcquire(1) {
		return false
	}
	r.hosts[host]++
	return true
}

func (r *Resolver) leave(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts[host]--; r.hosts[host] == 0 {
		delete(r.hosts, host)
	}
	r.running.Release(1)
}

// lookup answers questions, each with one reply.
type lookup func(...question) []reply

// reply is records, none for a name or type that does not exist, or an error.
type reply struct {
	records []record
	err     error
}

// target is what RFC 3263 §4 calls TARGET, and what the URI says of it.
type target struct {
	host      string
	port      uint16 // 0: none given
	transport string // "": not said
	secure    bool   // sips
	name      string // for certificates
}

func newTarget(u message.URI) (target, error) {
	if !u.IsSIP() {
		return target{}, ErrURI
	}
	t := target{host: u.Host, port: u.Port, secure: u.Scheme == "sips", name: strings.ToLower(u.Host)}
	// RFC 3263 §4: "If the URI contains an maddr parameter, the TARGET is its value".
	if maddr, ok := u.Param("maddr"); ok && maddr != "" {
		t.host = strings.Trim(maddr, "[]")
	}
	if _, numeric := message.Addr(t.name); numeric {
		t.name = "" // the address itself is what the certificate must hold
	}
	p, ok := u.Param("transport")
	switch p = strings.ToUpper(p); {
	case !ok && t.secure:
		// §4.1: a SIPS URI means TCP, that is TLS over TCP.
		t.transport = "TLS"
	case !ok:
	case p == "TLS" || p == "TCP" && t.secure:
		t.transport = "TLS"
	case p == "TCP" || p == "UDP" && !t.secure:
		t.transport = p
	default:
		return t, fmt.Errorf("%w: %s", ErrTransport, p)
	}
	return t, nil
}

// candidates is RFC 3263 §4.1 and §4.2.
func (r *Resolver) candidates(u message.URI, ask lookup) ([]location.Hop, error) {
	t, err := newTarget(u)
	if err != nil {
		return nil, err
	}
	if a, ok := message.Addr(t.host); ok {
		// §4.2: "If TARGET is a numeric IP address, the client uses that address", and without a port the default one.
		return []location.Hop{t.hop(t.plain(), a, t.port)}, nil
	}
	if t.port == 0 && strings.Contains(t.host, ".") {
		hops, err := r.services(t, ask)
		if len(hops) > 0 || err != nil {
			return hops, err
		}
	}
	// §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name", as it
	// does at once when there is a port.
	addrs, err := r.addresses(t.host, ask)
	if err != nil {
		return nil, err
	}
	var hops []location.Hop
	for _, a := range addrs {
		hops = t.add(hops, t.plain(), netip.AddrPortFrom(a, t.port))
	}
	if len(hops) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, t.host)
	}
	return hops, nil
}

// plain is the transport when neither URI nor DNS names one: UDP, as TLS for sips is named already.
func (t target) plain() string {
	if t.transport == "" {
		return "UDP"
	}
	return t.transport
}

func (t target) hop(transport string, a netip.Addr, port uint16) location.Hop {
	h := location.Hop{Transport: transport}
	if transport == "TLS" {
		h.Host = t.name
	}
	switch {
	case port != 0:
	case transport == "TLS":
		port = portSIPS
	default:
		port = portSIP
	}
	h.Remote = netip.AddrPortFrom(a.Unmap(), port)
	return h
}

func (t target) add(hops []location.Hop, transport string, to netip.AddrPort) []location.Hop {
	h := t.hop(transport, to.Addr(), to.Port())
	if len(hops) == MaxHops || slices.Contains(hops, h) {
		return hops
	}
	return append(hops, h)
}

// service is one set of SRV records to ask for.
type service struct{ name, transport string }

// services follows the SRV records of each transport that is open to us, those that NAPTR records name where there are any. No hops and no
// error: there are none, or the question failed: some resolvers know neither kind, and the addresses may be had all the same.
func (r *Resolver) services(t target, ask lookup) ([]location.Hop, error) {
	list, err := named(t, ask)
	if err != nil {
		return nil, err
	}
	if list == nil {
		// RFC 3263 §4.1: "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports".
		for _, transport := range t.transports() {
			list = append(list, service{prefix[transport] + t.host, transport})
		}
	}
	qs := make([]question, len(list))
	for i, s := range list {
		qs[i] = question{s.name, typeSRV}
	}
	var hops []location.Hop
	var failed error
	for i, found := range ask(qs...) {
		if errors.Is(found.err, errUnknown) {
			return nil, found.err
		}
		for _, s := range r.order(found.records) {
			addrs, err := r.addresses(s.host, ask)
			if errors.Is(err, errUnknown) {
				return nil, err
			}
			if len(addrs) == 0 {
				failed = cmp.Or(err, failed, fmt.Errorf("%w: %s", ErrNotFound, s.host))
			}
			for _, a := range addrs {
				hops = t.add(hops, list[i].transport, netip.AddrPortFrom(a, s.port))
			}
		}
	}
	if len(hops) > 0 {
		failed = nil
	}
	return hops, failed
}

// transports are those that the target may be reached over, in the order of our liking.
func (t target) transports() []string {
	if t.transport != "" {
		return []string{t.transport}
	}
	return []string{"UDP", "TCP"}
}

// naptr are the services of NAPTR records that we support (RFC 3263 §4.1).
var naptr = map[string]string{"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}

// named asks for the NAPTR records of a target whose transport nobody has chosen, sips included, and returns the services that they name and we
// support, in their order; nil without any. RFC 3263 §4.1: "If the URI is a SIPS URI [..] those services MUST be SIPS".
func named(t target, ask lookup) ([]service, error) {
	if t.transport != "" && !t.secure {
		return nil, nil
	}
	found := ask(question{t.host, typeNAPTR})[0]
	if errors.Is(found.err, errUnknown) {
		return nil, found.err
	}
	records := slices.Clone(found.records)
	slices.SortStableFunc(records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.weight, b.weight))
	})
	var list []service
	for _, n := range records {
		transport := naptr[n.service]
		if transport == "" || t.secure && transport != "TLS" || len(list) == maxServices {
			continue
		}
		list = append(list, service{n.host, transport})
	}
	return list, nil
}

// prefix is the service of a transport (RFC 3263 §4.2: with TLS "_sips", else "_sip").
var prefix = map[string]string{"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}

// order sorts SRV records as RFC 2782 says: lowest priority first, and within one priority drawn by weight.
func (r *Resolver) order(in []record) []record {
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b record) int {
		if a.priority != b.priority {
			return int(a.priority) - int(b.priority)
		}
		return int(a.weight) - int(b.weight) // those of weight 0 in front: drawn last, and hardly ever first
	})
	for start := 0; start < len(in); {
		end := start + 1
		for end < len(in) && in[end].priority == in[start].priority {
			end++
		}
		for ; start < end; start++ {
			k := start + r.draw(in[start:end])
			picked := in[k]
			copy(in[start+1:k+1], in[start:k])
			in[start] = picked
		}
	}
	return in[:min(len(in), maxTargets)]
}

// draw picks one: a number from 0 to the sum of weights, and the first record at which the running sum reaches it.
func (r *Resolver) draw(in []record) int {
	sum := 0
	for _, s := range in {
		sum += int(s.weight)
	}
	n := r.intN(sum + 1)
	for i, s := range in {
		if n -= int(s.weight); n <= 0 {
			return i
		}
	}
	return 0
}

// addresses looks a name up: IPv4 first, as the one that most networks have. One family that fails does not count.
func (r *Resolver) addresses(host string, ask lookup) ([]netip.Addr, error) {
	if a, ok := message.Addr(host); ok {
		return []netip.Addr{a}, nil
	}
	if host == "." {
		// RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
		return nil, nil
	}
	for _, name := range r.dns.names(host) {
		if a := r.dns.hosts[strings.TrimSuffix(strings.ToLower(name), ".")]; len(a) > 0 {
			return a, nil
		}
	}
	var failed error
	for _, name := range r.dns.names(host) {
		var out []netip.Addr
		for _, found := range ask(question{name, typeA}, question{name, typeAAAA}) {
			failed = errors.Join(failed, found.err)
			for _, rec := range found.records {
				out = append(out, rec.addr)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, failed
}
