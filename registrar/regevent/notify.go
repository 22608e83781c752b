package regevent

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// subscription is one dialog with a subscriber. Its fields belong to the Notifier's lock once it is in its tables.
type subscription struct {
	aor           location.AOR
	callID, tag   string
	local, remote string // From and To of NOTIFY
	contact       string // our URI
	event         string // Event as it came, with its id
	target        string
	routes        []string
	hop           location.Hop
	seq           uint32 // of the last NOTIFY
	remoteSeq     uint32
	until         time.Time
	expiry        func()

	version uint32
	told    []location.Binding // what the subscriber knows
	full    bool               // it is to be told everything
	ever    bool               // it was told of a contact
	busy    bool               // a NOTIFY is under way; the next one waits for its answer
	dirty   bool
	sent    time.Time
	pause   func() // stops the timer of a NOTIFY that waits for its turn
	over    bool
}

func (s *subscription) id() string { return s.callID + "\x00" + s.tag }

// newSubscription reads a SUBSCRIBE (RFC 3261 §12.1.1); ok is false when it makes no dialog.
func (n *Notifier) newSubscription(tx sip.ServerTransaction, aor location.AOR) (s *subscription, ok bool) {
	req := tx.Request()
	contact, err := message.ParseAddress(req.Get(message.Contact))
	seq, seqErr := req.CSeq()
	if err != nil || seqErr != nil || message.Tag(req.Get(message.From)) == "" {
		return nil, false
	}
	tag := rand.Text()
	s = &subscription{aor: aor, callID: strings.Clone(req.Get(message.CallID)), tag: tag, local: req.Get(message.To) + ";tag=" + tag,
		remote: strings.Clone(req.Get(message.From)), event: strings.Clone(req.Get(message.Event)), target: strings.Clone(contact.URI),
		hop: tx.Source(), remoteSeq: seq.Seq, contact: n.address(tx.Source())}
	for _, v := range req.Values(message.RecordRoute) {
		s.routes = append(s.routes, strings.Clone(v))
	}
	return s, true
}

// address is our Contact, as the other side of hop reaches it.
func (n *Notifier) address(hop location.Hop) string {
	a := n.c.Sender.Address(hop)
	if hop.Node != "" || a.Host == "" {
		return "sip:" + contactUser + "@" + n.c.Domain + ";gr=" + n.c.NodeGR
	}
	uri := "sip:" + contactUser + "@" + message.HostPort(a.Host, a.Port)
	if a.Transport != "UDP" {
		uri += ";transport=" + strings.ToLower(a.Transport)
	}
	return uri
}

// notify sends what changed, now or when it is its turn. The caller holds the lock.
func (n *Notifier) notify(s *subscription) {
	now := n.c.Now()
	wait := s.sent.Add(pace).Sub(now)
	switch {
	case s.over:
	case s.busy:
		s.dirty = true
	case s.full || wait <= 0:
		n.send(s, now)
	case s.pause == nil:
		s.pause = n.c.After(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			s.pause = nil
			n.notify(s)
		})
	}
}

// end sends the last NOTIFY and forgets the subscription. The caller holds the lock.
func (n *Notifier) end(s *subscription) {
	if s.over {
		return
	}
	s.full = true
	n.remove(s)
	n.send(s, n.c.Now())
}

// remove forgets a subscription. The caller holds the lock.
func (n *Notifier) remove(s *subscription) {
	if s.over {
		return
	}
	s.over = true
	for _, stop := range []func(){s.expiry, s.pause} {
		if stop != nil {
			stop()
		}
	}
	delete(n.byID, s.id())
	n.byAOR[s.aor] = slices.DeleteFunc(n.byAOR[s.aor], func(o *subscription) bool { return o == s })
	if len(n.byAOR[s.aor]) == 0 {
		delete(n.byAOR, s.aor)
	}
	n.count.Add(-1)
}

// send sends a NOTIFY, unless there is nothing to tell. The caller holds the lock.
func (n *Notifier) send(s *subscription, now time.Time) {
	set := n.c.Bindings.Get(s.aor, now)
	body, news := n.document(s, set, now)
	if !news {
		return
	}
	s.version++
	s.seq++
	s.told, s.full, s.sent, s.busy, s.dirty, s.ever = set, false, now, true, false, s.ever || len(set) > 0
	state := "terminated;reason=timeout"
	if !s.over {
		state = "active;expires=" + strconv.Itoa(int(s.until.Sub(now)/time.Second))
	}
	m := &message.Message{Method: "NOTIFY", RequestURI: s.target, Body: body}
	for _, r := range s.routes {
		m.Add(message.Route, r)
	}
	m.Add(message.MaxForwards, "70")
	m.Add(message.From, s.local)
	m.Add(message.To, s.remote)
	m.Add(message.CallID, s.callID)
	m.Add(message.CSeq, strconv.FormatUint(uint64(s.seq), 10)+" NOTIFY")
	m.Add(message.Contact, "<"+s.contact+">")
	m.Add(message.Event, s.event)
	m.AddOther("Subscription-State", state)
	m.Add(message.ContentType, "application/reginfo+xml")
	n.c.Sender.Send(m, s.hop, "", &answer{n, s})
}

// answer takes what becomes of a NOTIFY.
type answer struct {
	n *Notifier
	s *subscription
}

// Response implements sip.ClientUser.
func (a *answer) Response(res *message.Message) {
	if res.StatusCode >= 200 {
		a.done(res.StatusCode < 300)
	}
}

// Failed implements sip.ClientUser.
func (a *answer) Failed(error) { a.done(false) }

// done goes on after a NOTIFY. RFC 6665 §4.2.2: after a failure the subscription is removed.
func (a *answer) done(ok bool) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.s.busy = false
	switch {
	case !ok:
		a.n.remove(a.s)
	case a.s.dirty || a.s.full:
		a.n.notify(a.s)
	}
}
