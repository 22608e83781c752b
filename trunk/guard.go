package trunk

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// entry is a call over trunks.
type entry struct {
	in, out string       // trunks that it comes from and goes to; "": none
	payer   location.AOR // whom it is charged to; "": nobody
	pair    string       // caller and called of a call between trunks
	up      bool
	since   time.Time

	node  string    // gr value of the gateway that sends it on; "": this one does
	tags  uint64    // of the dialog
	sides [2]uint64 // ways to the trunks within the dialog; 0: to none
	hung  time.Time // when the first BYE passed that proves nothing; zero: none did
}

// spending is what a user has spent.
type spending struct {
	calls int // at a time
	daily int // begun today
}

// counters are what became of requests to one trunk.
type counters struct {
	results     [resultKinds]uint64
	failovers   uint64
	lastError   string
	lastErrorAt time.Time
}

// Result kinds: a closed set.
const (
	resultAnswered = iota
	resultDeclined // by the called side: 3xx, 4xx, 6xx
	resultFailed   // 408, 5xx
	resultSilent   // no answer
	resultReceived // calls from it
	resultKinds
)

// ResultNames are the labels of the results.
var ResultNames = [resultKinds]string{"answered", "declined", "failed", "silent", "received"}

// counters returns those of a trunk. The caller holds mu.
func (s *Service) counters(trunk string) *counters {
	c := s.stats[trunk]
	if c == nil {
		c = &counters{}
		s.stats[trunk] = c
	}
	return c
}

func (s *Service) count(why *sip.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard[why.Word]++
}

// Receive implements proxy.Trunks.
func (s *Service) Receive(call, trunk string, d *sip.Dialled) *sip.Refusal {
	p := s.plan.Load()
	emergency := s.Emergency(d.User, d.Emergency)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(call)
	switch {
	case e == nil, e.in == "" && !emergency && s.full(p, trunk):
		s.forget(call)
		s.guard[sip.NoLine.Word]++
		return sip.NoLine
	case e.in != "":
		return nil // the same call again
	}
	e.in = trunk
	s.lines[trunk]++
	s.counters(trunk).results[resultReceived]++
	return nil
}

// Take implements proxy.Trunks.
func (s *Service) Take(call string, w *sip.Way, d *sip.Dialled) *sip.Refusal {
	p := s.plan.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(call)
	if e == nil {
		s.guard[sip.NoLine.Word]++
		return sip.NoLine
	}
	why := s.mayTake(p, e, w, d)
	if why != nil {
		s.guard[why.Word]++
		s.forget(call)
		return why
	}
	if e.out != w.Trunk {
		if e.out != "" {
			s.release(e.out)
		}
		e.out, e.node = w.Trunk, w.Node
		s.lines[w.Trunk]++
	}
	if w.Charge != "" && e.payer == "" {
		u := s.users[w.Charge]
		if u == nil {
			u = &spending{}
			s.users[w.Charge] = u
		}
		u.calls++
		u.daily++
		e.payer = w.Charge
	}
	return nil
}

// mayTake tells why a call may not take a way. The caller holds mu.
func (s *Service) mayTake(p *Plan, e *entry, w *sip.Way, d *sip.Dialled) *sip.Refusal {
	if w.Emergency {
		return nil
	}
	if e.in != "" && e.pair == "" {
		e.pair = callerOf(d) + "\x00" + Number(d.User)
		if s.ringing[e.pair]++; s.bouncing(e.pair) {
			return roundTrip
		}
	}
	// A call is known by its Call-ID: whoever gives two of them the same would have one counted. Trunks and other gateways may fork.
	if e.out != "" && !d.Again && (w.Charge != "" && e.payer != "" || d.Caller != "" && d.Origin == "" && d.Node == "") {
		return sameCall
	}
	if w.Charge != "" && e.payer == "" {
		s.today()
		if u := s.users[w.Charge]; u != nil && p.c.Caps.Calls > 0 && u.calls >= p.c.Caps.Calls {
			s.sweep()
		}
		switch u := s.users[w.Charge]; {
		case u == nil && len(s.users) >= maxUsers:
			return overDaily
		case u == nil:
		case p.c.Caps.Calls > 0 && u.calls >= p.c.Caps.Calls:
			return overCalls
		case p.c.Caps.Daily > 0 && u.daily >= p.c.Caps.Daily:
			return overDaily
		}
	}
	if e.out != w.Trunk && s.full(p, w.Trunk) {
		return sip.NoLine
	}
	return nil
}

// bouncing reports whether calls between trunks from one caller to one number pile up that nobody answers: PBXs that hand a call to each other
// make a new one each time, so that Max-Forwards never ends (RFC 3261 §16.3 finds loops of proxies only). The caller holds mu.
func (s *Service) bouncing(pair string) bool { return s.ringing[pair] > maxBounces }

// settle takes a call that is answered or over out of those that may be bouncing. The caller holds mu.
func (s *Service) settle(e *entry) {
	if e.pair == "" || e.up {
		return
	}
	if s.ringing[e.pair]--; s.ringing[e.pair] <= 0 {
		delete(s.ringing, e.pair)
	}
}

// full reports whether a trunk has no line left. The caller holds mu.
func (s *Service) full(p *Plan, trunk string) bool {
	t := p.Trunk(trunk)
	if t == nil || t.MaxCalls <= 0 || s.lines[trunk] < t.MaxCalls {
		return false
	}
	s.sweep()
	return s.lines[trunk] >= t.MaxCalls
}

// entry returns that of a call, a new one when there is none yet; nil when there are too many. The caller holds mu.
func (s *Service) entry(call string) *entry {
	e := s.calls[call]
	if e == nil {
		if len(s.calls) >= maxCalls {
			if s.sweep(); len(s.calls) >= maxCalls {
				return nil
			}
		}
		e = &entry{since: s.o.Now()}
		s.calls[strings.Clone(call)] = e // not to keep the whole message
	}
	return e
}

// forget drops an entry that holds nothing. The caller holds mu.
func (s *Service) forget(call string) {
	if e := s.calls[call]; e != nil && e.in == "" && e.out == "" {
		delete(s.calls, call)
	}
}

func (s *Service) release(trunk string) {
	if s.lines[trunk]--; s.lines[trunk] <= 0 {
		delete(s.lines, trunk)
	}
}

// Answered implements proxy.Trunks.
func (s *Service) Answered(call string, talk sip.Talk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.calls[call]
	if e == nil {
		return
	}
	s.settle(e)
	e.up, e.since, e.tags, e.hung = true, s.o.Now(), talk.Tags, time.Time{}
	e.sides = [2]uint64{}
	if e.in != "" {
		e.sides[0] = talk.In
	}
	if e.out != "" {
		e.sides[1] = talk.Out
	}
}

// HungUp implements proxy.Trunks. The line is free when the trunk has said BYE itself, or answered one as who has no such call any more: RFC 3261
// §12.2.1.2 has a 481 and a 408 end the dialog, as a 2xx does. A BYE of this dialog that is never answered so may be one that the trunk did not get,
// or is never to understand: the line is kept for longestHung more.
func (s *Service) HungUp(call string, h *sip.Hangup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.calls[call]
	if e == nil || !e.up || e.tags != h.Tags {
		return
	}
	itself := h.Trunk != "" && (h.Trunk == e.in || h.Trunk == e.out) || h.Node != "" && h.Node == e.node
	answered := h.Status/100 == 2 || h.Status == 481 || h.Status == 408
	switch {
	case itself, answered && h.Way != 0 && slices.Contains(e.sides[:], h.Way):
		s.end(call, e)
	case e.hung.IsZero():
		e.hung = s.o.Now()
	}
}

// Drop implements proxy.Trunks.
func (s *Service) Drop(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.calls[call]; e != nil {
		s.end(call, e)
	}
}

// end takes a call out of all counts. The caller holds mu.
func (s *Service) end(call string, e *entry) {
	delete(s.calls, call)
	s.settle(e)
	for _, trunk := range []string{e.in, e.out} {
		if trunk != "" {
			s.release(trunk)
		}
	}
	if u := s.users[e.payer]; u != nil {
		u.calls--
		if u.calls <= 0 && u.daily == 0 {
			delete(s.users, e.payer)
		}
	}
}

// sweep ends the entries of calls whose end nobody told: the caller is gone, or its BYE was lost. It goes through all calls, so that while a trunk
// is full not every call that is refused does so. The caller holds mu.
func (s *Service) sweep() {
	now := s.o.Now()
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for call, e := range s.calls {
		if age := now.Sub(e.since); age > longestCall || !e.up && age > longestSetup || !e.hung.IsZero() && now.Sub(e.hung) > longestHung {
			s.end(call, e)
		}
	}
}

// today begins the daily counts anew when the day, UTC, is another one. The caller holds mu.
func (s *Service) today() {
	day := s.o.Now().Unix() / secondsOfDay
	if day == s.day {
		return
	}
	s.day = day
	for user, u := range s.users {
		if u.daily = 0; u.calls <= 0 {
			delete(s.users, user)
		}
	}
}

// HopDown implements proxy.Trunks.
func (s *Service) HopDown(h location.Hop) bool {
	return s.o.Conditions != nil && s.o.Conditions.HopDown(h)
}

// Result implements proxy.Trunks.
func (s *Service) Result(w *sip.Way, r sip.WayResult) {
	kind := resultDeclined
	switch {
	case r.Err != nil:
		kind = resultSilent
	case r.Status < 300:
		kind = resultAnswered
	case r.Status == 401, r.Status == 407, r.Status == 408, r.Status/100 == 5:
		kind = resultFailed
	}
	s.mu.Lock()
	c := s.counters(w.Trunk)
	c.results[kind]++
	if r.Moved {
		c.failovers++
	}
	s.mu.Unlock()
	if s.o.Called != nil && (r.Hop != location.Hop{}) {
		s.o.Called(r.Hop, r.Status, r.Err)
	}
	switch kind {
	case resultSilent:
		s.failed(w.Trunk, "no answer from "+hostOf(w))
	case resultFailed:
		s.failed(w.Trunk, hostOf(w)+" answers "+strconv.Itoa(r.Status))
	}
}

// hostOf is where a way leads, for people.
func hostOf(w *sip.Way) string {
	uri := cmp.Or(w.Next, w.URI)
	u, err := message.ParseURI(uri)
	if err != nil {
		return uri
	}
	return message.HostPort(u.Host, u.Port)
}

// Lines is how many calls are on a trunk.
func (s *Service) Lines(trunk string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[trunk]
}
