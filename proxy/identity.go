package proxy

import (
	"context"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Identity says what is done with the identity of callers (RFC 3325). The zero value asserts nothing and believes nobody.
type Identity struct {
	// Assert has P-Asserted-Identity written for senders who proved who they are. Phones has phones see it; else gateways of the overlay and
	// what Config.Trusted vouches for do.
	Assert, Phones bool
	// Trusted has the P-Asserted-Identity of sources that Config.Trusted vouches for sent on as it is.
	Trusted bool
	// Mark has calls that reach phones say so when the gateway that sent them could not prove its caller. Refuse turns such requests away.
	Mark, Refuse bool
	// Certified lists the users that the TLS certificate of a client names. It does not block. Optional: none.
	Certified func(location.Hop) []location.AOR
	// Callers knows whose certificates other gateways hold. Optional: nobody is believed.
	Callers Callers
	// Proved is told of each user who proved who he is otherwise than by his registration. It must not block. Optional.
	Proved func(location.AOR)
	// Told is told of each request that came over the overlay and was looked at. It must not block. Optional.
	Told func(Caller)
}

// Callers proves who calls over the overlay.
type Callers interface {
	// HoldsCached says whether the gateway that node leads to holds a certificate for aor, or for a number range that aor is in, as far as that is known.
	// It does not block.
	HoldsCached(node string, aor location.AOR) (h location.Holding, known bool)
	// Holds asks the overlay. It blocks until that has answered or ctx ends. An error is never the same as "no".
	Holds(ctx context.Context, node string, aor location.AOR) (location.Holding, error)
}

// Caller is who a request that came over the overlay says to be from, and what is to be thought of that.
type Caller struct {
	Verdict      Verdict
	Method, From string // From as received
	AOR          location.AOR
	Node         string // the gateway, as in Hop.Node
	Late         bool   // the overlay did not answer in time
}

// Verdict is what is known of a caller.
type Verdict uint8

// The verdicts.
const (
	Unknown    Verdict = iota // nobody says who it is, or it is a number that nobody in the overlay has
	Verified                  // proven to this gateway, or by a gateway that holds the caller's certificate
	Unverified                // a gateway says to send it for a user whose certificate it does not hold
	verdicts
)

var verdictNames = [verdicts]string{"unknown", "verified", "unverified"}

// String is "unknown", "verified" or "unverified".
func (v Verdict) String() string { return verdictNames[v] }

// claimed is who the sender of a request says to be, among the users of our domain: From, else P-Preferred-Identity, for who hides behind
// "anonymous" in From (RFC 3323 §4.1.1.3).
func (p *Proxy) claimed(in *inbound) location.AOR {
	if in.from != "" || !in.req.Has(message.PPreferredIdentity) {
		return in.from
	}
	// RFC 3325 §6: P-Preferred-Identity is a hint "which of multiple valid identities for the authenticated user should be asserted".
	a, err := message.ParseAddress(in.req.Get(message.PPreferredIdentity))
	if err != nil {
		return ""
	}
	uri, err := message.ParseURI(a.URI)
	if err != nil || uri.User == "" {
		return ""
	}
	aor, _ := p.c.AOR(uri)
	return aor
}

// certified reports whether the client certificate of the connection names aor.
func (p *Proxy) certified(in *inbound, aor location.AOR) bool {
	if p.c.Identity.Certified == nil || aor == "" || in.vias != 1 {
		return false
	}
	for _, user := range p.c.Identity.Certified(in.src) {
		if user == aor {
			p.proved(aor)
			return true
		}
	}
	return false
}

func (p *Proxy) proved(aor location.AOR) {
	if p.c.Identity.Proved != nil {
		p.c.Identity.Proved(aor)
	}
}

// assert writes who the sender is. RFC 3325 §5: a proxy "MUST authenticate the originator of the message, and use the identity which results
// from this authentication"; what the sender itself wrote is gone.
func (p *Proxy) assert(in *inbound) {
	switch {
	case in.keep && in.msg.Has(message.PAssertedIdentity):
		if in.origin.Identity != "" {
			in.msg.Set(message.PAssertedIdentity, in.origin.Identity)
		}
		in.asserted, in.verdict = true, Verified
	case in.caller != "" && !in.genuine:
		in.verdict = Verified
		if p.c.Identity.Assert {
			in.msg.Add(message.PAssertedIdentity, nameAddr(in.req.Get(message.From), in.caller))
			in.asserted = true
		}
	}
}

// nameAddr is "<sip:aor>", a part of value when that holds it.
func nameAddr(value string, aor location.AOR) string {
	open := strings.IndexByte(value, '<')
	if end := open + len("<sip:") + len(aor); open >= 0 && end < len(value) && value[end] == '>' && value[open:open+len("<sip:")] == "<sip:" &&
		value[open+len("<sip:"):end] == string(aor) {
		return value[open : end+1]
	}
	return "<sip:" + string(aor) + ">"
}

// disclose takes the asserted identity out of a request to somebody who may not see it.
func (p *Proxy) disclose(in *inbound, m *message.Message, t *target, hop location.Hop) {
	foreign := hop.Node != "" && in.origin.Trunk != "" && !in.origin.Own // of whom no gateway can hold a certificate
	if in.asserted && (foreign || !p.mayLearn(in, t, hop)) {
		m.Del(message.PAssertedIdentity)
	}
}

// mayLearn reports whether whoever a branch leads to may see the asserted identity. Gateways of the overlay are one Trust Domain as far as
// keeping it to themselves goes (RFC 3325 §2).
func (p *Proxy) mayLearn(in *inbound, t *target, hop location.Hop) bool {
	switch {
	case hop.Node != "":
		return true
	case in.privacy&privacyNone != 0:
		return true // RFC 3325 §7: set to "none", "the proxy MUST NOT remove the P-Asserted-Identity header fields"
	case !t.known && p.c.Trusted != nil && p.c.Trusted(hop):
		return true
	case in.privacy&(privacyID|privacyUser) != 0:
		return false // RFC 3325 §7: "proxies MUST remove all the P-Asserted-Identity header fields" towards those who are not trusted
	}
	return t.known && p.c.Identity.Phones // RFC 3325 §7: without Privacy it "is a policy matter"
}

// privacy is what a sender wants hidden (RFC 3323 §4.2, RFC 3325 §9.3).
type privacy uint8

const (
	privacyNone privacy = 1 << iota
	privacyID
	privacyUser
	privacyHeader
	privacySession
	privacyCritical
)

const privacyField, remotePartyID = "Privacy", "Remote-Party-ID"

func readPrivacy(value string) (p privacy) {
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ';' || r == ',' || r == ' ' || r == '\t' }) {
		switch strings.ToLower(word) {
		case "none":
			p |= privacyNone
		case "id":
			p |= privacyID
		case "user":
			p |= privacyUser
		case "header":
			p |= privacyHeader
		case "session":
			p |= privacySession
		case "critical":
			p |= privacyCritical
		}
	}
	return p
}

// tooPrivate reports whether a request depends on more privacy than there is here: RFC 3323 §5: "if the privacy service is incapable of
// performing all of the levels of privacy specified [..] then it MUST fail the request with a 500". Only "id" is done here: From, Contact and
// the addresses in a body are not ours to change in a dialog that we are no end of.
func (in *inbound) tooPrivate() bool {
	return in.privacy&privacyCritical != 0 && in.privacy&(privacyUser|privacyHeader|privacySession) != 0 && !in.inside
}
