package sip

import "errors"

// What a ClientUser's Failed may be told.
var (
	ErrTimeout   = errors.New("sip: no final response in time")           // Timer B or F: as 408 (RFC 3261 §16.8, §17.1)
	ErrTransport = errors.New("sip: request could not be delivered")      // connect, write or TLS failure: as 503 (RFC 3261 §8.1.3.1)
	ErrOverload  = errors.New("sip: too many transactions or full queue") // a limit of ours
)
