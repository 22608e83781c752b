package transaction

import "github.com/p2psip/p2psip-gateway/sip"

// What the layer answers itself.
var (
	noTransaction = &sip.Refusal{Status: 481, Word: "TRX481", Text: "there is nothing to cancel"}
	merged        = &sip.Refusal{Status: 482, Word: "TRX482", Text: "the request came by another way before"}
	forgotten     = &sip.Refusal{Status: 500, Word: "TRX500", Text: "no answer was made in time"}
	overloaded    = &sip.Refusal{Status: 503, Word: "TRX503", Text: "too many transactions"}
	goingDown     = &sip.Refusal{Status: 503, Word: "TRX503D", Text: "the gateway is going down"}
)
