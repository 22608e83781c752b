package proxy

import (
	"math/rand/v2"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// code is a reason for a response that this proxy makes itself. The table is closed: words in it are stable, for people
// who search a log or a trace for them.
type code uint8

const (
	fine code = iota
	badRequest
	challengeWithheld
	otherIdentity
	forgedFrom
	noRelay
	badToken
	unknownUser
	challenged
	timedOut
	badScheme
	badExtension
	flowFailed
	breadthExceeded
	notRegistered
	forwardedTooOften
	flowGone
	gatewayUnreachable
	sipsNotPossible
	looped
	forwardLoop
	tooManyHops
	cancelled
	unreachable
	unresolvable
	privacyFailed
	overloaded
	noMediaPorts
	lookupFailed
	refusedByTrunks // of all reasons that trunks have; the answer has its own word
	codes           // how many there are
)

// answers tells what each code looks like on the wire.
var answers = [codes]sip.Refusal{
	badRequest:         {Status: 400, Word: "PRX400", Text: "a header field needed for routing is malformed"},
	challengeWithheld:  {Status: 403, Word: "PRX403C", Text: "the called side asks for credentials that are not for it"},
	otherIdentity:      {Status: 403, Word: "PRX403I", Text: "the credentials are not those of the From user"},
	forgedFrom:         {Status: 403, Word: "PRX403F", Text: "the gateway that sent this does not hold the certificate of the caller"},
	noRelay:            {Status: 403, Word: "PRX403R", Text: "destination outside this domain and sender not known"},
	badToken:           {Status: 403, Word: "PRX403T", Text: "the route token is not one of ours for this dialog"},
	unknownUser:        {Status: 404, Word: "PRX404", Text: "no such user"},
	challenged:         {Status: 407, Word: "PRX407", Text: "credentials needed"},
	timedOut:           {Status: 408, Word: "PRX408", Text: "no final response in time"},
	badScheme:          {Status: 416, Word: "PRX416", Text: "only sip and sips are understood"},
	badExtension:       {Status: 420, Word: "PRX420", Text: "no option of Proxy-Require is supported"},
	flowFailed:         {Status: 430, Word: "PRX430", Text: "the connection to the phone is gone"},
	breadthExceeded:    {Status: 440, Word: "PRX440", Text: "Max-Breadth is used up"},
	notRegistered:      {Status: 480, Word: "PRX480", Text: "not registered"},
	forwardedTooOften:  {Status: 480, Word: "PRX480D", Text: "forwarded more than five times"}, // users may change it
	flowGone:           {Status: 480, Word: "PRX480F", Text: "the connection to the phone is gone"},
	gatewayUnreachable: {Status: 480, Word: "PRX480G", Text: "the gateway or phone could not be reached"},
	sipsNotPossible:    {Status: 480, Word: "PRX480S", Text: "SIPS not allowed: the phone is not registered over TLS"},
	looped:             {Status: 482, Word: "PRX482", Text: "the request was here before"},
	forwardLoop:        {Status: 482, Word: "PRX482F", Text: "the forwarding leads back to who was called"},
	tooManyHops:        {Status: 483, Word: "PRX483", Text: "Max-Forwards is used up"},
	cancelled:          {Status: 487, Word: "PRX487", Text: "cancelled"},
	unreachable:        {Status: 500, Word: "PRX500", Text: "the next hop could not be reached"},
	unresolvable:       {Status: 500, Word: "PRX500D", Text: "the next hop could not be resolved"},
	privacyFailed:      {Status: 500, Word: "PRX500P", Text: "of the privacy asked for only id can be given"},
	overloaded:         {Status: 503, Word: "PRX503", Text: "too many requests at once"},
	noMediaPorts:       {Status: 503, Word: "PRX503M", Text: "no port is left for the media"},
	lookupFailed:       {Status: 504, Word: "PRX504", Text: "the overlay did not answer"},
	refusedByTrunks:    {Status: 403, Word: "PRX403K", Text: "trunks do not take this request"},
}

// String is the stable word of c.
func (c code) String() string { return answers[c].Word }

func (c code) status() int { return answers[c].Status }

// response makes the response to req that c stands for.
func (c code) response(req *message.Message) *message.Message {
	res := answers[c].Response(req, newTag())
	switch c {
	case overloaded:
		res.Add(message.RetryAfter, retryAfter)
	case badExtension:
		// RFC 3261 §16.3 step 5: "MUST include an Unsupported header field listing those option-tags the element did not
		// understand".
		for _, tag := range req.Values(message.ProxyRequire) {
			res.Add(message.Unsupported, tag)
		}
	}
	return res
}

// newTag draws the tag of a response of our own.
func newTag() string { return string(appendHex(make([]byte, 0, 16), rand.Uint64())) }
