package registrar

import "time"

// repeatFor is how long a request is known after its answer: the non-INVITE server transaction's Timer J of RFC 3261 §17.2.2, 64*T1.
const repeatFor = 32 * time.Second

// Implementation limits.
const (
	// maxPath is how many proxies a REGISTER may name; a Route of four is more than some phones take.
	maxPath = 8
	// retryAfter is what a phone is told when disk or overlay could not take its registration: longer than a hiccup, shorter than a coffee.
	retryAfter = 5 * time.Second
	// flowTimer is how often, in seconds, a phone is to send a keep-alive over a stream: the upper end of what RFC 5626 §4.4.1 has phones
	// do by themselves.
	flowTimer = "120"
	// answerFields is what an answer has room for: more than most need.
	answerFields = 12
	// probeSteps is into how many parts the asking of all contacts is divided.
	probeSteps = 60
)
