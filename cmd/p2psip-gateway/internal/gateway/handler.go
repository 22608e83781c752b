package gateway

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// core is a proxy or a redirect server.
type core interface {
	Request(tx sip.ServerTransaction)
	Cancel(tx sip.ServerTransaction, cancel *message.Message)
	ACK(ack *message.Message, from location.Hop)
	Ended(tx sip.ServerTransaction)
	Relay(res *message.Message, note []byte) bool
}

// registrations is a registrar.
type registrations interface {
	Request(tx sip.ServerTransaction)
	Prompt(o sip.Offer) (rest func(sip.ServerTransaction))
	Again(o sip.Offer) bool
}

// handler dispatches by method: a REGISTER to the registrar, an OPTIONS about us to us, all else to the core of our role.
type handler struct {
	register registrations // nil on a redirect peer
	draining *atomic.Bool
	core     core
	names    *names
	events   interface {
		Take(sip.ServerTransaction) bool
	} // nil on a redirect peer
	load     *overload // nil: everything is let in
	answered func(tx sip.ServerTransaction, status int, word string)
	checked  func(req *message.Message, from location.Hop) // the credentials of a request have been looked at
}

// allow is what the cores between them understand. A proxy forwards any method.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REFER, INFO, UPDATE, PRACK"

// Request implements sip.Handler.
func (h *handler) Request(tx sip.ServerTransaction) {
	req := tx.Request()
	switch {
	case h.load != nil && !h.load.admit(req, tx.Source()):
		h.refuse(tx)
	case req.Method == "REGISTER" && h.register != nil:
		h.register.Request(tx)
	case req.Method == "REGISTER":
		h.answer(tx, 405)
	case req.Method == "SUBSCRIBE" && h.events != nil && h.events.Take(tx):
	case req.Method == "OPTIONS" && h.aboutUs(req):
		h.answer(tx, 200)
	default:
		h.core.Request(tx)
	}
	h.checked(req, tx.Source())
}

// Prompt implements sip.Prompter: some REGISTERs need no transaction.
func (h *handler) Prompt(o sip.Offer) (rest func(sip.ServerTransaction)) {
	req := o.Request()
	if req.Method != "REGISTER" || h.register == nil {
		return nil
	}
	if h.draining.Load() {
		h.register.Again(o) // who has been answered is answered; the others are refused
		return nil
	}
	if h.load != nil && h.load.busy() {
		if h.register.Again(o) {
			return nil
		}
		if !h.load.admit(req, o.Source()) {
			h.refuse(o)
			return nil
		}
	}
	rest = h.register.Prompt(o)
	h.checked(req, o.Source())
	return rest
}

// aboutUs reports whether an OPTIONS asks for our own capabilities: RFC 3261 §11, "a Request-URI without a user part that means us", or
// one that may go no further (§16.3 step 3).
func (h *handler) aboutUs(req *message.Message) bool {
	if n, ok := req.Hops(); ok && n == 0 {
		return true
	}
	uri, err := message.ParseURI(req.RequestURI)
	return err == nil && uri.User == "" && h.names.ours(uri.Host, uri.Port) && !req.Has(message.Route)
}

// refuse answers what is not let in.
func (h *handler) refuse(tx sip.ServerTransaction) {
	h.answered(tx, overloaded.Status, overloaded.Word)
	h.load.refuse(tx, ourTag)
}

// ourTag marks the To of our own answers, which make no dialog.
const ourTag = "p2psip-gateway"

func (h *handler) answer(tx sip.ServerTransaction, status int) {
	res := message.NewResponse(tx.Request(), status, "", ourTag)
	// RFC 3261 §11.2, §21.4.6: Allow in the answer to OPTIONS and in a 405.
	res.Set(message.Allow, allow)
	if status == 200 {
		res.Set(message.Accept, "*/*")
	}
	h.answered(tx, status, "")
	tx.Respond(res)
}

// ACK implements sip.Handler.
func (h *handler) ACK(ack *message.Message, from location.Hop) { h.core.ACK(ack, from) }

// Cancel implements sip.Handler.
func (h *handler) Cancel(tx sip.ServerTransaction, cancel *message.Message) {
	h.core.Cancel(tx, cancel)
}

// Ended implements sip.Handler.
func (h *handler) Ended(tx sip.ServerTransaction) { h.core.Ended(tx) }

// Relay implements sip.Handler.
func (h *handler) Relay(res *message.Message, note []byte) bool { return h.core.Relay(res, note) }

// authenticator checks the credentials in one header field.
type authenticator struct {
	server     *digest.Server
	field      message.Name
	algorithms func() []digest.Algorithm
	now        func() time.Time
	refused    func(req *message.Message, err error)
}

// Authenticate implements the Authenticator of registrar and proxy.
func (a *authenticator) Authenticate(req *message.Message) (user string, challenge []string, ok bool) {
	now := a.now()
	r := a.server.Verify(req, a.field, now)
	if r.Verdict == digest.OK {
		return r.User, nil, true
	}
	if r.Verdict == digest.Refused {
		a.refused(req, r.Err)
	}
	return "", a.server.Challenge(req, now, r.Verdict == digest.Stale, a.algorithms()...), false
}

func algorithms(words []string) (out []digest.Algorithm) {
	for _, w := range words {
		if strings.EqualFold(w, "sha-256") {
			out = append(out, digest.SHA256)
		} else {
			out = append(out, digest.MD5)
		}
	}
	return out
}

// within makes a test of a Hop's source; nil for no networks.
func within(networks []netip.Prefix) func(location.Hop) bool {
	if len(networks) == 0 {
		return nil
	}
	return func(h location.Hop) bool { return comesFrom(networks, h) }
}

// comesFrom reports whether a source is in one of the networks; another gateway is in none.
func comesFrom(networks []netip.Prefix, h location.Hop) bool {
	return h.Node == "" && contains(networks, h.Remote.Addr().Unmap())
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
