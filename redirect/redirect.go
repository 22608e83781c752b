// Package redirect answers requests with 302, or another 3xx, and the addresses at which an address-of-record can be reached (RFC 3261 §8.3, §21.3.3). Where
// that is, the overlay knows: a redirect peer need not hold one registration. A Server is safe for concurrent use and never blocks.
package redirect

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Directory names SIP URIs, without a user part, at which a gateway of the overlay takes requests from anybody:
// "sip:192.0.2.1:5060;transport=udp". node is as in location.Hop.
type Directory interface {
	Addresses(ctx context.Context, node string) ([]string, error)
	// AddressesCached is Addresses as far as a fresh answer is at hand; it does not block.
	AddressesCached(node string) ([]string, bool)
}

// Config is what a Server is made of. Every field not said to be optional must be set.
type Config struct {
	// AOR makes a canonical address-of-record of a URI; ok is false when its domain is not ours.
	AOR       func(message.URI) (location.AOR, bool)
	Locator   location.Locator
	Directory Directory
	Now       func() time.Time
	// Outside reports whether a source is one that nobody vouches for: it gets the same answer for a user who does not exist as for one who is
	// not there. Optional: none is.
	Outside func(location.Hop) bool
	// Choices has several places answered with 300 (RFC 3261 §21.3.1) instead of 302.
	Choices bool
	// UseProxy has a gateway named as the proxy to go through, with 305 (RFC 3261 §21.3.4), when there is no other place than one gateway.
	UseProxy bool
	// Answered is told of each answer to a request from somewhere: its status code, and the word of the refusal if it is one. It must not block.
	Answered func(req *message.Message, from location.Hop, status int, word string)
}

// Every answer that is not 302, and why.
var (
	badRequest    = &sip.Refusal{Status: 400, Word: "RDR400", Text: "the Request-URI is malformed"}
	foreignDomain = &sip.Refusal{Status: 403, Word: "RDR403", Text: "not a domain of this server"}
	unknownUser   = &sip.Refusal{Status: 404, Word: "RDR404", Text: "no such user"}
	badScheme     = &sip.Refusal{Status: 416, Word: "RDR416", Text: "only sip and sips are understood"}
	badExtension  = &sip.Refusal{Status: 420, Word: "RDR420", Text: "no option of Require is supported"}
	notRegistered = &sip.Refusal{Status: 480, Word: "RDR480", Text: "not registered"}
	forwardedMuch = &sip.Refusal{Status: 480, Word: "RDR480D", Text: "forwarded more than five times"}
	forwardLoop   = &sip.Refusal{Status: 482, Word: "RDR482", Text: "the forwarding leads back to who was called"}
	tooManyHops   = &sip.Refusal{Status: 483, Word: "RDR483", Text: "Max-Forwards is used up"}
	cancelled     = &sip.Refusal{Status: 487, Word: "RDR487", Text: "cancelled"}
	overloaded    = &sip.Refusal{Status: 503, Word: "RDR503", Text: "too many lookups at once"}
	lookupFailed  = &sip.Refusal{Status: 504, Word: "RDR504", Text: "the overlay did not answer"}
)

// Server is a redirect server.
type Server struct {
	c     Config
	slots chan struct{} // one for each lookup that runs
}

// New returns a redirect server.
func New(c Config) *Server { return &Server{c: c, slots: make(chan struct{}, maxLookups)} }

// Request answers any request but ACK and CANCEL.
func (s *Server) Request(tx sip.ServerTransaction) {
	req := tx.Request()
	aor, why := s.target(req)
	if why != nil {
		s.refuse(tx, why)
		return
	}
	if res := s.known(req, tx.Source(), aor); res != nil {
		tx.Respond(res)
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.refuse(tx, overloaded)
		return
	}
	go func() {
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
		defer cancel()
		p, err := s.ask(ctx, aor, tx)
		s.answer(tx, aor, p, err)
	}()
}

// Redirection is the answer to a request as far as it is a redirection and everything that it says is at hand; else nil, and the request is
// one for a transaction. It does not block. The same request has the same answer, with the same To tag, while the user is at the same places:
// so it may be given without a transaction (RFC 3261 §8.2.7).
func (s *Server) Redirection(req *message.Message, from location.Hop) *message.Message {
	aor, why := s.target(req)
	if why != nil {
		return nil
	}
	return s.known(req, from, aor)
}

// known is the redirection of aor when everything that is to be said is at hand. All other answers are left to who can ask.
func (s *Server) known(req *message.Message, from location.Hop, aor location.AOR) *message.Message {
	remotes, ok := s.c.Locator.RemoteCached(aor)
	if !ok {
		return nil
	}
	p, err := s.places(aor, want(req, from), remotes, s.addressesCached)
	if err != nil || len(p.contacts) == 0 {
		return nil
	}
	return s.redirection(req, from, p)
}

func (s *Server) addressesCached(node string) ([]string, error) {
	if a, ok := s.c.Directory.AddressesCached(node); ok {
		return a, nil
	}
	return nil, location.ErrUnavailable
}

// ask asks the overlay for places.
func (s *Server) ask(ctx context.Context, aor location.AOR, tx sip.ServerTransaction) (places, error) {
	remotes, err := s.c.Locator.Remote(ctx, aor)
	p, failed := s.places(aor, want(tx.Request(), tx.Source()), remotes, func(node string) ([]string, error) { return s.c.Directory.Addresses(ctx, node) })
	return p, errors.Join(err, failed)
}

// Cancel answers the INVITE of a CANCEL (RFC 3261 §9.2).
func (s *Server) Cancel(tx sip.ServerTransaction, _ *message.Message) { s.refuse(tx, cancelled) }

// ACK drops an ACK that belongs to no transaction: a redirect server sends no 2xx to INVITE.
func (s *Server) ACK(*message.Message, location.Hop) {}

// Relay sends nothing on: a redirect server sends no INVITE.
func (s *Server) Relay(*message.Message, []byte) bool { return false }

// Ended has nothing to forget.
func (s *Server) Ended(sip.ServerTransaction) {}

func (s *Server) target(req *message.Message) (location.AOR, *sip.Refusal) {
	uri, err := message.ParseURI(req.RequestURI)
	switch {
	case err != nil:
		return "", badRequest
	case uri.Scheme != "sip" && uri.Scheme != "sips":
		return "", badScheme
	case exhausted(req):
		return "", tooManyHops // RFC 3261 §16.3 step 3, for the sake of one answer whatever our role
	case req.Has(message.Require):
		return "", badExtension // RFC 3261 §8.2.2.3: a redirect server supports no extension
	}
	aor, ours := s.c.AOR(uri)
	if !ours {
		return "", foreignDomain
	}
	if uri.User == "" {
		return "", unknownUser
	}
	return aor, nil
}

func exhausted(req *message.Message) bool {
	n, ok := req.Hops()
	return ok && n == 0
}

func (s *Server) answer(tx sip.ServerTransaction, aor location.AOR, p places, err error) {
	switch {
	case len(p.contacts) > 0:
		tx.Respond(s.redirection(tx.Request(), tx.Source(), p))
	case errors.Is(err, location.ErrForwardLoop):
		s.refuse(tx, forwardLoop)
	case errors.Is(err, location.ErrForwardDepth):
		s.refuse(tx, forwardedMuch)
	case err != nil && !errors.Is(err, location.ErrNotFound):
		s.refuse(tx, lookupFailed) // the overlay did not answer, which is not the same as "not found"
	case err == nil && s.c.Locator.Known(aor), s.c.Outside != nil && s.c.Outside(tx.Source()):
		// Deviation: RFC 3261 §21.4.5 has 404 for a user who does not exist; who may be trying numbers does not get to know.
		s.refuse(tx, notRegistered)
	default:
		s.refuse(tx, unknownUser)
	}
}

// places are where a user is.
type places struct {
	contacts []string // values of Contact
	moved    int      // how many of them are other addresses-of-record, or whatever URI the user put into the overlay
	gateway  string   // URI of the last gateway among them, without a user
	holders  int      // how many of them serve the number range of the number
}

// rank is the q of a place. RFC 3261 §20.10: those who serve the same number range are tried one after the other, so that what is behind them does not
// ring twice.
func (p *places) rank(r location.Remote) string {
	if r.Range == "" {
		return ""
	}
	q := max(1000-100*p.holders, 0)
	p.holders++
	return ";q=" + strconv.FormatFloat(float64(q)/1000, 'f', -1, 64)
}

// status is the answer that is due.
func (p *places) status(c *Config) int {
	switch n := len(p.contacts); {
	case n > 1 && c.Choices:
		return 300
	case p.moved == n:
		return 301 // RFC 3261 §21.3.2: the user is to be found at the new address, and no longer here
	case n == 1 && p.gateway != "" && c.UseProxy:
		return 305
	}
	return 302
}

// places lists one Contact value for each place at which aor is registered: here, and at remotes, whose addresses addresses knows.
func (s *Server) places(aor location.AOR, w wanted, remotes []location.Remote, addresses func(node string) ([]string, error)) (out places, err error) {
	for _, b := range s.c.Locator.Local(aor) {
		if b.Bulk {
			continue // RFC 6140: the contact of numbers, not of this user
		}
		left := int(b.Expires.Sub(s.c.Now()) / time.Second)
		out.contacts = append(out.contacts, "<"+b.Contact+">;q="+strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64)+";expires="+strconv.Itoa(left))
	}
	user, _, _ := strings.Cut(string(aor), "@")
	for _, r := range remotes {
		if r.URI != "" {
			out.contacts, out.moved = append(out.contacts, "<"+r.URI+">"), out.moved+1
			continue
		}
		found, failed := addresses(r.Node)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		if a := best(found, w); a != "" {
			out.contacts, out.gateway = append(out.contacts, "<"+withUser(a, user)+">"+out.rank(r)), a
		}
	}
	return out, err
}

// wanted is the kind of address that a sender can most likely use.
type wanted struct {
	transport string // that over which it sent to us
	secure    bool   // it asked for sips
}

func want(req *message.Message, from location.Hop) wanted {
	const sips = "sips:"
	return wanted{from.Transport, len(req.RequestURI) > len(sips) && message.EqualFold(req.RequestURI[:len(sips)], sips)}
}

// best picks that address, or the first one.
func best(addresses []string, w wanted) string {
	fallback := ""
	for _, a := range addresses {
		transport := "udp" // RFC 3263 §4.1, for what follows is an IP address with a port
		if at := strings.IndexByte(a, ';'); at >= 0 {
			if t, ok := message.Param(a[at:], "transport"); ok {
				transport = t
			}
		}
		switch {
		case w.secure && message.EqualFold(transport, "tls"):
			return "sips:" + strings.TrimPrefix(a, "sip:")
		case w.secure:
		case message.EqualFold(transport, w.transport):
			return a
		case fallback == "":
			fallback = a
		}
	}
	return fallback
}

func withUser(uri, user string) string {
	at := strings.IndexByte(uri, ':') + 1
	return uri[:at] + user + "@" + uri[at:]
}

// redirection is the response that names p.
func (s *Server) redirection(req *message.Message, from location.Hop, p places) *message.Message {
	status := p.status(&s.c)
	res := message.NewResponse(req, status, "", toTag(req))
	if status == 305 {
		p.contacts = []string{"<" + p.gateway + ">"} // "The Contact field gives the URI of the proxy."
	}
	for _, c := range p.contacts {
		res.Add(message.Contact, c)
	}
	s.c.Answered(req, from, status, "")
	return res
}

func (s *Server) refuse(tx sip.ServerTransaction, why *sip.Refusal) {
	res := why.Response(tx.Request(), toTag(tx.Request()))
	switch why {
	case badExtension:
		res.Set(message.Unsupported, tx.Request().Get(message.Require))
	case overloaded:
		res.Set(message.RetryAfter, "1")
	}
	s.c.Answered(tx.Request(), tx.Source(), res.StatusCode, why.Word)
	tx.Respond(res)
}

// toTag is made of the Call-ID, so that another redirect peer, or this one after a restart, would answer a retransmission alike.
func toTag(req *message.Message) string {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h, id := uint64(offset), req.Get(message.CallID)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	return "r" + strconv.FormatUint(h, 36)
}
