package location

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// tempPrefix marks a user part that is a temporary GRUU of ours.
const tempPrefix = "tg."

// GRUUs makes and reads the GRUUs of the devices that register at this gateway (RFC 5627). It keeps nothing: what a GRUU stands for
// is in it. Safe for concurrent use.
type GRUUs struct {
	seal   cipher.AEAD
	domain string
	node   string
}

// NewGRUUs returns the GRUUs of a domain. secret protects temporary ones: with the same one after a restart they stay valid. node is this
// gateway's own destination list as a gr value (RFC 7904 §6): by it any gateway of the overlay finds the one that can read a
// temporary GRUU.
func NewGRUUs(secret []byte, domain, node string) *GRUUs {
	m := hmac.New(sha256.New, secret)
	_, _ = m.Write([]byte("temporary GRUUs"))
	block, _ := aes.NewCipher(m.Sum(nil)) // 32 octets are a good key
	seal, _ := cipher.NewGCMWithRandomNonce(block)
	return &GRUUs{seal: seal, domain: domain, node: node}
}

// Public is the GRUU that says whose device it is. RFC 5627 §5.1: it "MUST be constructed by adding the "gr" URI parameter, with a
// value, to the AOR".
func (g *GRUUs) Public(aor AOR, instance string) string {
	return "sip:" + string(aor) + ";gr=" + escape(instance)
}

// Temporary is a new GRUU for the device of b that says nothing about it to others.
func (g *GRUUs) Temporary(aor AOR, b *Binding) string {
	text := append(b.epoch(), aor...)
	return "sip:" + tempPrefix + base64.RawURLEncoding.EncodeToString(g.seal.Seal(nil, nil, text, nil)) +
		"@" + g.domain + ";gr=" + escape(g.node)
}

// IsInstance reports whether a gr value or an instance is the URN of a device. A destination list has no colon.
func IsInstance(s string) bool { return strings.IndexByte(s, ':') > 0 }

// IsTemporary reports whether a user part looks like a temporary GRUU of some gateway.
func IsTemporary(user string) bool { return strings.HasPrefix(user, tempPrefix) }

// Open reads the user part of a temporary GRUU of this gateway. Device finds what it stands for among the bindings of aor.
func (g *GRUUs) Open(user string) (aor AOR, device string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(user, tempPrefix))
	if err != nil || !IsTemporary(user) {
		return "", "", false
	}
	text, err := g.seal.Open(nil, nil, b, nil)
	if err != nil || len(text) < epochLen {
		return "", "", false
	}
	return AOR(text[epochLen:]), string(text[:epochLen]), true
}

// Device is the instance among set that a temporary GRUU stands for; ok is false when the GRUU is void. RFC 5627 §5.1: a device that
// registers under another Call-ID "MUST invalidate all previously generated temporary GRUUs"; the last registration counts.
func Device(set []Binding, device string) (instance string, ok bool) {
	for i := range set {
		b := &set[i]
		if b.Instance != "" && string(b.epoch()) == device && b == latest(set, b.Instance) {
			return b.Instance, true
		}
	}
	return "", false
}

func latest(set []Binding, instance string) (last *Binding) {
	for i := range set {
		if b := &set[i]; b.Instance == instance && (last == nil || b.Updated.After(last.Updated)) {
			last = b
		}
	}
	return last
}

const epochLen = 16

// epoch tells one time that a device registers under one Call-ID from every other.
func (b *Binding) epoch() []byte {
	h := sha256.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, unix(b.Since)))
	_, _ = h.Write([]byte(b.Instance + "\x00" + b.CallID))
	return h.Sum(nil)[:epochLen]
}

// escape writes what a URI parameter may not hold as %XX (RFC 3261 §25.1: param-unreserved and unreserved).
func escape(s string) string {
	const plain = "[]/:&+$-_.!~*'()"
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', digits[c>>4], digits[c&15])
	}
	return string(b)
}
