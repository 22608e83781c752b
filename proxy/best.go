package proxy

import "github.com/p2psip/p2psip-gateway/sip/message"

// choose picks the best of the final responses (RFC 3261 §16.7 step 6) and the other responses whose challenges belong
// into it (step 7). ok is false when there is none, and then best is 408, or nothing at all for a request other than
// INVITE.
func choose(results []result, invite bool) (best result, others []*message.Message, ok bool) {
	at := -1
	for i, r := range results {
		// RFC 4320 §4.2: "MUST NOT send a response with Status-Code of 408 to a non-INVITE request".
		if !invite && r.status() == 408 {
			continue
		}
		if at < 0 || rank(r) < rank(results[at]) {
			at = i
		}
	}
	if at < 0 {
		// RFC 3261 §16.7 step 6: "If there are no final responses in the context, the proxy MUST send a 408".
		return result{code: timedOut}, nil, false
	}
	best = results[at]
	if s := best.status(); s == 401 || s == 407 {
		others = challenges(results, at)
	}
	if best.status() == 503 && best.res != nil {
		// RFC 3261 §16.7 step 6: "If the only response that was received is a 503, the proxy SHOULD generate a 500".
		best = result{code: unreachable}
	}
	return best, others, true
}

// rank orders final responses; the lowest is the best. RFC 3261 §16.7 step 6: 6xx first ("MUST"), otherwise the lowest
// class ("SHOULD"), in 4xx those first that tell how to send the request again.
func rank(r result) int {
	s := r.status()
	switch {
	case s >= 600:
		return 0
	case s >= 400 && s < 500:
		return 40 + rank4(s)
	case s == 503:
		return 59
	default:
		return s / 100 * 10
	}
}

// rank4 puts what a phone's user or its owner decided before what only says that a branch led nowhere.
func rank4(status int) int {
	switch status {
	case 401, 407:
		return 0
	case 415, 420, 484:
		return 1
	case 404, 410:
		return 3
	case 480:
		return 4
	case 408, 430:
		return 5
	case 487:
		return 6
	}
	return 2
}

// challenges lists the 401 and 407 responses other than the chosen one. RFC 3261 §16.7 step 7: "the proxy MUST collect
// any WWW-Authenticate and Proxy-Authenticate header field values from all other 401 and 407 responses".
func challenges(results []result, chosen int) []*message.Message {
	var others []*message.Message
	for i, r := range results {
		if s := r.status(); i != chosen && r.res != nil && (s == 401 || s == 407) {
			others = append(others, r.res)
		}
	}
	return others
}

// terminated is the best response once the caller has cancelled: a 487 of a branch, or ours when the branches ended
// otherwise. A 6xx stays what it is.
func terminated(results []result, best result) result {
	if best.status() >= 600 {
		return best
	}
	for _, r := range results {
		if r.status() == 487 {
			return r
		}
	}
	return result{code: cancelled}
}

// aggregate adds the challenges of others to res, which is changed.
func aggregate(res *message.Message, others []*message.Message) {
	for _, o := range others {
		for _, f := range o.Fields {
			if f.Name == message.WWWAuthenticate || f.Name == message.ProxyAuthenticate {
				res.Add(f.Name, f.Value)
			}
		}
	}
}
