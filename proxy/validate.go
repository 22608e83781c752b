package proxy

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// inbound is a request on its way through the proxy.
type inbound struct {
	req     *message.Message // as received; shared, not to be changed
	msg     *message.Message // the copy that is forwarded, again copied for each branch (RFC 3261 §16.6 step 1)
	src     location.Hop
	uri     message.URI // Request-URI of msg
	fromTag string
	from    location.AOR // "" when From is not in our domain
	inside  bool         // To has a tag: within a dialog
	hash    uint64       // what the routing of it depends on (RFC 5393 §4.2.1)
	breadth int          // incoming Max-Breadth
	vias    int          // values of Via: one when nobody stands between the sender and us

	token    token
	genuine  bool           // it is within a dialog and has our route token of it: sender and receiver are its sides
	trusted  bool           // by configuration
	socket   netip.AddrPort // from which to send over UDP; zero: any
	standing standing
	caller   location.AOR // who the sender proved to be, "" when it did not
	verdict  Verdict
	privacy  privacy
	keep     bool // what the sender says of identities goes on as it is
	asserted bool // msg has P-Asserted-Identity
	origin   sip.Origin
	renamed  bool         // From is not as it came
	refusal  *sip.Refusal // with refusedByTrunks
}

// standing is how the sender of a request is known.
type standing uint8

const (
	stranger standing = iota
	peer              // a gateway of the overlay: has asked its own phones who they are
	known             // trusted, a registered phone of the From user, or with that user's credentials
)

// overlay reports whether the request came from a gateway of the overlay.
func (in *inbound) overlay() bool { return in.src.Node != "" }

// validate checks req (RFC 3261 §16.3), in the order given there as far as that is possible before credentials are looked
// at.
func (p *Proxy) validate(req *message.Message, src location.Hop) (*inbound, code) {
	in := &inbound{req: req, src: src}
	uri, err := message.ParseURI(req.RequestURI)
	if err != nil {
		return in, badRequest
	}
	if !uri.IsSIP() && (!p.trunking() || !SOS(uri)) {
		return in, badScheme // RFC 3261 §16.3 step 2
	}
	hops, ok := req.Hops()
	if !ok {
		hops = defaultMaxForwards + 1 // RFC 3261 §16.6 step 3: "MUST add one with a field value, which SHOULD be 70"
	}
	if hops == 0 {
		return in, tooManyHops // RFC 3261 §16.3 step 3: "the element MUST NOT forward the request"
	}
	in.breadth, ok = breadth(req)
	if !ok {
		return in, breadthExceeded
	}
	in.hash = p.routingHash(req, in.overlay())
	if in.vias, ok = p.looped(req, in.hash); ok {
		return in, looped // RFC 5393 §4.2.2: "MUST reject the request with a 482"
	}
	if req.Has(message.ProxyRequire) {
		return in, badExtension // RFC 3261 §16.3 step 5: we understand no option
	}
	if code := p.dialog(in); code != fine {
		return in, code
	}
	in.msg, in.uri = req.Clone(), uri
	in.msg.Set(message.MaxForwards, strconv.Itoa(hops-1)) // RFC 3261 §16.6 step 3: "MUST decrement its value by one"
	return in, fine
}

// dialog reads who says to send the request, and in which dialog.
func (p *Proxy) dialog(in *inbound) code {
	from, err := message.ParseAddress(in.req.Get(message.From))
	if err != nil || in.req.Get(message.CallID) == "" {
		return badRequest
	}
	in.fromTag, _ = message.Param(from.Params, "tag")
	in.inside = message.Tag(in.req.Get(message.To)) != ""
	uri, err := message.ParseURI(from.URI)
	switch {
	case err != nil:
	case uri.Scheme == "tel":
		if aor := p.assertedAOR(from.URI); aor != "" && p.c.Locator.Known(aor) {
			in.from = aor // phones show it as the number of that user
		}
	case uri.User != "":
		if aor, ok := p.c.AOR(uri); ok {
			in.from = aor
		}
	}
	return fine
}

// breadth reads Max-Breadth; ok is false when it is used up. RFC 5393 §5.3.3: without one it is 60, and no more than that
// is allowed.
func breadth(req *message.Message) (n int, ok bool) {
	if !req.Has(message.MaxBreadth) {
		return defaultBreadth, true
	}
	n, err := strconv.Atoi(req.Get(message.MaxBreadth))
	if err != nil || n > defaultBreadth {
		return defaultBreadth, true
	}
	return n, n > 0
}

// routingHash is the second part of our branches. RFC 5393 §4.2.1: it "MUST vary with any field used by the location
// service logic", "MUST NOT vary with the request method", and Call-ID and CSeq make it vary with the transaction
// (§4.2.4). Whether a request came over the overlay decides where it may go.
func (p *Proxy) routingHash(req *message.Message, overlay bool) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	part := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	part(req.RequestURI)
	part(req.Get(message.CallID))
	seq, _, _ := strings.Cut(req.Get(message.CSeq), " ")
	part(seq)
	part(message.Tag(req.Get(message.From)))
	part(message.Tag(req.Get(message.To)))
	for _, f := range req.Fields {
		if f.Name == message.Route {
			part(f.Value)
		}
	}
	if overlay {
		part("overlay")
	}
	return h.Sum64()
}

// looped counts the Vias, and reports whether a Via of req has a branch of ours with the same hash. The hash is keyed: it tells our branches
// from those of others without a look at the sent-by. RFC 5393 §4.2.4: nothing is assumed of the form of anybody else's
// Via.
func (p *Proxy) looped(req *message.Message, hash uint64) (vias int, yes bool) {
	var text [16]byte
	want := appendHex(text[:0], hash)
	lines := 0
	for _, f := range req.Fields {
		if f.Name != message.Via {
			continue
		}
		if lines++; lines > maxVias {
			return vias, true
		}
		for v, rest := message.NextValue(f.Value); v != ""; v, rest = message.NextValue(rest) {
			vias++
			via, err := message.ParseVia(v)
			if err == nil && strings.HasPrefix(via.Branch, cookie) && strings.HasSuffix(via.Branch, string(want)) &&
				len(via.Branch) == branchLen {
				return vias, true
			}
		}
	}
	return vias, false
}

const (
	cookie    = "z9hG4bK" // RFC 3261 §8.1.1.7
	branchLen = len(cookie) + 16 + 1 + 16
)

// newBranch draws a branch: 64 random bits, which are unique (RFC 3261 §8.1.1.7), and the hash that finds loops.
func newBranch(hash uint64) string {
	b := append(make([]byte, 0, branchLen), cookie...)
	b = append(appendHex(b, rand.Uint64()), '.')
	return string(appendHex(b, hash))
}

func appendHex(b []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}
