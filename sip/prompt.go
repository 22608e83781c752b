package sip

import "github.com/p2psip/p2psip-gateway/sip/message"

// Prompter is a Handler that can do without a transaction for some requests.
type Prompter interface {
	Handler
	// Prompt is offered each new request over UDP but INVITE, ACK and CANCEL, before it has a transaction. It may answer before it returns; then nothing
	// is kept, and a repetition of the request is offered again, which must get the same answer (RFC 3261 §8.2.7). Otherwise the request has a transaction
	// as any other, and rest gets it instead of Request, unless rest is nil. It must not block.
	Prompt(o Offer) (rest func(tx ServerTransaction))
}

// Offer is a request that has no transaction. It is valid during Prompt only, and so is the request when it is answered; otherwise what it returns is
// valid as long as that of a transaction. A response that it was given is the core's again when the method returns.
type Offer interface {
	ServerTransaction
	// Again is Respond to a request that was answered before.
	Again(res *message.Message)
}
