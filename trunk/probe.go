package trunk

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// optionsTo is an OPTIONS to a target (RFC 3261 §11): whoever answers it is there.
func optionsTo(target, domain string, contact sip.Address) *message.Message {
	m := &message.Message{Method: "OPTIONS", RequestURI: target}
	tag := strconv.FormatUint(rand.Uint64(), 36)
	m.Add(message.MaxForwards, "70")
	m.Add(message.From, "<sip:"+domain+">;tag="+tag)
	m.Add(message.To, "<"+target+">")
	m.Add(message.CallID, tag+strconv.FormatUint(rand.Uint64(), 36))
	m.Add(message.CSeq, "1 OPTIONS")
	m.Add(message.Accept, "application/sdp")
	if contact.Host != "" {
		m.Add(message.Contact, "<"+contactURI("", contact)+">")
	}
	return m
}

// Tested is what one address of a target said to an OPTIONS.
type Tested struct {
	Target, Address string // Address is "" when the name of the target can not be resolved
	Status          int    // 0: no answer
	Error           string
	Took            time.Duration
}

// Test sends one OPTIONS now to each address of each target of a trunk, one after the other, until ctx ends. Bindings are those of a PBX that
// registers here: its targets.
func (h *Health) Test(ctx context.Context, t *Trunk, bindings []location.Binding) (out []Tested) {
	domain := t.Domain
	if domain == "" {
		domain = h.o.Domain
	}
	for _, b := range bindings {
		out = append(out, h.test(ctx, b.Contact, domain, b.Hop))
	}
	for _, x := range t.Targets {
		uri, err := message.ParseURI(x.URI)
		if err != nil {
			continue
		}
		hops, err := h.o.Resolve(ctx, uri)
		if err != nil {
			out = append(out, Tested{Target: x.URI, Error: err.Error()})
		}
		for _, hop := range hops {
			out = append(out, h.test(ctx, x.URI, domain, hop))
		}
	}
	return out
}

func (h *Health) test(ctx context.Context, target, domain string, hop location.Hop) Tested {
	r := Tested{Target: target, Address: hopName(hop)}
	begin, done := time.Now(), make(chan outcome, 1)
	tx := h.o.Sender.Send(optionsTo(target, domain, h.o.Sender.Address(hop)), hop, "", outcomes(done))
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	select {
	case o := <-done:
		r.Status = o.status
		if o.err != nil {
			r.Error = o.err.Error()
		}
	case <-ctx.Done():
		tx.Abandon()
		r.Error = "no answer in " + probeWait.String()
	}
	r.Took = time.Since(begin)
	return r
}

// outcome is the end of a test; outcomes is the sip.ClientUser that tells of it, once.
type outcome struct {
	status int
	err    error
}

type outcomes chan outcome

// Response implements sip.ClientUser.
func (c outcomes) Response(res *message.Message) {
	if res.StatusCode >= 200 {
		c.tell(outcome{status: res.StatusCode})
	}
}

// Failed implements sip.ClientUser.
func (c outcomes) Failed(err error) { c.tell(outcome{err: err}) }

func (c outcomes) tell(o outcome) {
	select {
	case c <- o:
	default: // nobody waits any more
	}
}
