package sip

import (
	"strconv"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Refusal is why a core answers with a status of its own. Word is stable: people search logs, counters and traces for it.
type Refusal struct {
	Status     int
	Word, Text string
}

// Response is the response that r stands for, with a Warning that says why. RFC 3261 §20.43: warn-code 399 is "Miscellaneous warning".
func (r *Refusal) Response(req *message.Message, toTag string) *message.Message {
	return r.warn(message.NewResponse(req, r.Status, "", toTag))
}

// ResponseInto is Response in an empty message that nobody else has.
func (r *Refusal) ResponseInto(res, req *message.Message, toTag string) *message.Message {
	return r.warn(message.ResponseInto(res, req, r.Status, "", toTag))
}

func (r *Refusal) warn(res *message.Message) *message.Message {
	res.Add(message.Warning, "399 p2psip "+strconv.Quote(r.Word+" "+r.Text))
	return res
}

func (r *Refusal) Error() string { return r.Word + " " + r.Text }
