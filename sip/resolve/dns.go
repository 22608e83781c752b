package resolve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	typeA     = dns.TypeA
	typeAAAA  = dns.TypeAAAA
	typeSRV   = dns.TypeSRV
	typeNAPTR = dns.TypeNAPTR
)

// errUnknown tells that the cache does not know; it never leaves the package.
var (
	errUnknown    = errors.New("not in cache")
	errUnanswered = errors.New("no server answered")
)

// question is one query.
type question struct {
	name string
	kind uint16
}

// record is an address, or an SRV record.
type record struct {
	addr             netip.Addr
	host             string // SRV target, "." for none; NAPTR replacement
	service          string // of NAPTR, upper case
	port             uint16
	priority, weight uint16 // of NAPTR order and preference
}

// client asks recursive servers and keeps their answers.
type client struct {
	servers []string
	search  *dns.ClientConfig
	hosts   map[string][]netip.Addr
	now     func() time.Time

	flight singleflight.Group

	mu    sync.Mutex
	cache map[question]answer // mu
}

type answer struct {
	reply
	until time.Time
	stale time.Time // until when it is better than nothing; zero: never
}

func newClient(c Config) (*client, error) {
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.Hosts == "" {
		c.Hosts = "/etc/hosts"
	}
	conf, err := dns.ClientConfigFromFile(c.ResolvConf)
	if errors.Is(err, os.ErrNotExist) {
		conf, err = &dns.ClientConfig{Ndots: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	hosts, err := readHosts(c.Hosts)
	if err != nil {
		return nil, err
	}
	cl := &client{servers: c.Servers, search: conf, hosts: hosts, now: time.Now, cache: map[question]answer{}}
	for _, s := range conf.Servers {
		if len(c.Servers) == 0 {
			cl.servers = append(cl.servers, addrPort(s))
		}
	}
	if len(cl.servers) == 0 {
		cl.servers = []string{"127.0.0.1:53"} // as resolv.conf(5) has it
	}
	return cl, nil
}

func addrPort(server string) string {
	if strings.Contains(server, ":") {
		return "[" + server + "]:53"
	}
	return server + ":53"
}

// readHosts reads hosts(5): an address and its names on each line.
func readHosts(path string) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		a, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue // others that read this file skip such lines too
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(name)
			out[name] = append(out[name], a.WithZone(""))
		}
	}
	return out, sc.Err()
}

// names lists the full names that a host may stand for: itself, or with the domains of the search list behind it when
// it has no dot.
func (c *client) names(host string) []string {
	if strings.Contains(host, ".") {
		return []string{dns.Fqdn(host)}
	}
	return c.search.NameList(host)
}

// cached answers from memory or with errUnknown. A failure that is remembered is the answer too.
func (c *client) cached(qs ...question) []reply {
	out := make([]reply, len(qs))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range qs {
		q.name = dns.CanonicalName(q.name)
		a, ok := c.cache[q]
		if out[i] = a.reply; !ok || c.now().After(a.until) {
			out[i] = reply{err: errUnknown}
		}
	}
	return out
}

// stale is an answer that is over, but not by much; ok is false without one.
func (c *client) stale(q question) (a answer, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a = c.cache[question{dns.CanonicalName(q.name), q.kind}]
	return a, c.now().Before(a.stale)
}

// keep remembers an answer. When there is no room, expired ones go, and then any.
func (c *client) keep(q question, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cache) >= MaxCached {
		now := c.now()
		for k, v := range c.cache {
			if now.After(v.until) && !now.Before(v.stale) {
				delete(c.cache, k)
			}
		}
	}
	for k := range c.cache {
		if len(c.cache) < MaxCached {
			break
		}
		delete(c.cache, k)
	}
	c.cache[q] = a
}

// ask answers from memory or asks the servers, all questions at once. Callers with one question share its answer; a
// caller whose ctx ends leaves the others waiting. Who has an old answer does not wait for the new one for long.
func (c *client) ask(ctx context.Context, qs []question) []reply {
	hurry, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	out := c.cached(qs...)
	waits := make([]<-chan singleflight.Result, len(qs))
	for i, q := range qs {
		if errors.Is(out[i].err, errUnknown) {
			waits[i] = c.start(ctx, question{dns.CanonicalName(q.name), q.kind})
		}
	}
	for i, wait := range waits {
		if wait == nil {
			continue
		}
		old, has := c.stale(qs[i])
		late := ctx
		if has {
			late = hurry
		}
		select {
		case <-late.Done():
			if out[i] = old.reply; !has {
				out[i] = reply{err: fmt.Errorf("%w: %s: %w", ErrDNS, qs[i].name, ctx.Err())}
			}
		case res := <-wait:
			out[i], _ = res.Val.(reply)
		}
	}
	return out
}

// start asks the servers, once for all who ask the same, and remembers the answer.
func (c *client) start(ctx context.Context, q question) <-chan singleflight.Result {
	return c.flight.DoChan(fmt.Sprint(q.kind, q.name), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Deadline)
		defer cancel()
		if r := c.cached(q)[0]; !errors.Is(r.err, errUnknown) {
			return r, nil // answered between the caller's look and this one
		}
		r, ttl := c.query(ctx, q)
		old, has := c.stale(q)
		a := answer{reply: r, until: c.now().Add(ttl)}
		switch {
		case r.err != nil && has:
			a.reply, a.stale = old.reply, old.stale // RFC 8767 §4: the servers do not answer, and what they said last may still hold
		case len(r.records) > 0:
			a.stale = a.until.Add(staleFor)
		}
		if ttl > 0 {
			c.keep(q, a)
		}
		return a.reply, nil
	})
}

// query asks one server after the other until one gives an answer that counts.
func (c *client) query(ctx context.Context, q question) (reply, time.Duration) {
	msg := new(dns.Msg).SetQuestion(q.name, q.kind)
	msg.SetEdns0(ednsSize, false)
	err := errUnanswered
	for range rounds {
		for _, server := range c.servers {
			var res *dns.Msg
			if res, err = exchange(ctx, msg, server); err != nil {
				continue
			}
			switch res.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				records, ttl := read(res, q.kind)
				return reply{records: records}, ttl
			}
			err = errors.New(dns.RcodeToString[res.Rcode])
		}
	}
	return reply{err: fmt.Errorf("%w: %s: %w", ErrDNS, q.name, err)}, failedTTL
}

// exchange asks over UDP, and over TCP when the answer does not fit.
func exchange(ctx context.Context, msg *dns.Msg, server string) (*dns.Msg, error) {
	msg.Id = dns.Id()
	res, _, err := (&dns.Client{Timeout: queryTime}).ExchangeContext(ctx, msg, server)
	if err == nil && res.Truncated {
		res, _, err = (&dns.Client{Net: "tcp", Timeout: queryTime}).ExchangeContext(ctx, msg, server)
	}
	return res, err
}

// read takes the records of a kind from an answer, and how long they may be kept: the lowest TTL in it.
func read(res *dns.Msg, kind uint16) (out []record, ttl time.Duration) {
	ttl = maxTTL
	for _, rr := range res.Answer {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
		if rr.Header().Rrtype != kind {
			continue // a CNAME on the way
		}
		switch rr := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				out = append(out, record{addr: a})
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				out = append(out, record{addr: a})
			}
		case *dns.NAPTR:
			// RFC 3263 §4.1: "the "s" flag"; services are compared without regard to case.
			if strings.EqualFold(rr.Flags, "s") && rr.Regexp == "" {
				out = append(out, record{host: strings.ToLower(rr.Replacement), service: strings.ToUpper(rr.Service), priority: rr.Order, weight: rr.Preference})
			}
		case *dns.SRV:
			out = append(out, record{host: strings.ToLower(rr.Target), port: rr.Port, priority: rr.Priority, weight: rr.Weight})
		}
	}
	if len(out) > 0 {
		return out, ttl
	}
	// RFC 2308 §5: a negative answer is kept for the lesser of the TTL and the minimum field of the SOA record, and
	// not without one.
	for _, rr := range res.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return nil, min(absentTTL, time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second)
		}
	}
	return nil, 0
}
