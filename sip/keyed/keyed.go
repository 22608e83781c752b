// Package keyed makes codes that only who has a key can make: HMAC-SHA-256 (RFC 2104). The proxy marks its route tokens with them and the digest
// server its nonces, several for each call and REGISTER: so the state of a hash, in which the key has been worked off, is used again.
package keyed

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// Size is that of a code, in octets.
const Size = sha256.Size

// Code makes codes with one key. It is safe for concurrent use.
type Code struct{ pool sync.Pool }

// state is a hash and memory for what goes in and comes out.
type state struct {
	h    hash.Hash
	text []byte
	sum  []byte
}

// New returns what makes codes with key.
func New(key []byte) *Code {
	key = append([]byte(nil), key...)
	return &Code{sync.Pool{New: func() any { return &state{h: hmac.New(sha256.New, key)} }}}
}

// Of is the code of body and what follows it.
func (c *Code) Of(body []byte, more string) (code [Size]byte) {
	s := c.pool.Get().(*state)
	defer c.pool.Put(s)
	s.h.Reset()
	s.text = append(append(s.text[:0], body...), more...)
	_, _ = s.h.Write(s.text) // a hash does not fail
	s.sum = s.h.Sum(s.sum[:0])
	copy(code[:], s.sum)
	return code
}
