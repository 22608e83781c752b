// Package digest is digest authentication (RFC 3261 §22, RFC 7616, RFC 8760; RFC 2617 for old phones). Of a server: challenges, nonces and the
// check of credentials, and the file of users, which holds HA1 values, never passwords. Of a client: the answer to a challenge. The gateway
// hands it to registrar, proxy and trunks; the command line uses it to write users.
//
// A Server is safe for concurrent use and starts no goroutine. The time is an argument everywhere.
package digest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Algorithm is a hash of RFC 8760 §2.2.
type Algorithm uint8

// The algorithms. Clients read no more than the first challenge, or fail at a second: MD5 alone serves all of them.
const (
	MD5 Algorithm = iota
	SHA256
	algorithms // how many there are
)

// String is the token in challenges and credentials.
func (a Algorithm) String() string {
	if a == SHA256 {
		return "SHA-256"
	}
	return "MD5"
}

// parseAlgorithm reads the token: its case does not count, and without one it is MD5 (RFC 7616 §3.3).
func parseAlgorithm(s string) (Algorithm, bool) {
	for a := range algorithms {
		if message.EqualFold(s, a.String()) {
			return a, true
		}
	}
	return MD5, s == ""
}

// HA1 holds, in lower-case hexadecimal, H(user ":" realm ":" password) for each algorithm; "" where it is not known.
type HA1 struct{ MD5, SHA256 string }

func (h HA1) of(a Algorithm) string {
	if a == SHA256 {
		return h.SHA256
	}
	return h.MD5
}

// NewHA1 computes what is kept in place of a password.
func NewHA1(user, realm, password string) HA1 {
	return HA1{MD5: MD5.join(user, realm, password), SHA256: SHA256.join(user, realm, password)}
}

// join is the hash of the parts with colons between, in lower-case hexadecimal (KD and H of RFC 7616 §3.3).
func (a Algorithm) join(parts ...string) string {
	b := make([]byte, 0, 256)
	for i, p := range parts {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, p...)
	}
	if a == SHA256 {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}
