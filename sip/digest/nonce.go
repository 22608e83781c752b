package digest

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// A nonce is base64(time | generation | serial | algorithms | code): when it was made, in which generation of counts, what tells it from
// others of that time, the algorithms of the challenge as bits, and a keyed code over these and the realm. So any nonce of ours is known
// without a table of those handed out (RFC 7616 §3.3 asks for such a construction), and nobody answers with an
// algorithm that was not offered.
//
// The serial is a keyed code of the request, and the time is in steps of nonceStep: who is challenged without a transaction and asks the same
// again gets the same challenge, as RFC 3261 §8.2.7 has it for a stateless UAS, but for requests on either side of a step, or of a generation.
const (
	nonceSeconds = int64(nonceStep / time.Second)

	nonceBody = 4 + 4 + 8 + 1
	nonceSize = nonceBody + macLen
)

// nonce is one of ours, read back.
type nonce struct {
	id      [16]byte // time, generation and serial
	made    time.Time
	gen     uint32
	offered uint8 // bit a stands for algorithm a
}

func (s *Server) newNonce(req *message.Message, now time.Time, offered uint8) string {
	var b [nonceSize]byte
	binary.BigEndian.PutUint32(b[:], uint32(now.Unix()/nonceSeconds))
	binary.BigEndian.PutUint32(b[4:], s.generation())
	via, _ := req.FirstValue(message.Via)
	serial := s.code.Of(b[:8], req.Get(message.CallID)+"\n"+req.Get(message.CSeq)+"\n"+via)
	copy(b[8:16], serial[:])
	b[16] = offered
	code := s.code.Of(b[:nonceBody], s.realm)
	copy(b[nonceBody:], code[:macLen])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// readNonce reads back a nonce of ours, however old; ok is false for any other.
func (s *Server) readNonce(text string) (n nonce, ok bool) {
	var b [nonceSize + 2]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return n, false
	}
	if k, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text)); err != nil || k != nonceSize {
		return n, false
	}
	n.offered = b[16]
	n.made = time.Unix(int64(binary.BigEndian.Uint32(b[:]))*nonceSeconds, 0)
	n.gen = binary.BigEndian.Uint32(b[4:])
	copy(n.id[:], b[:16])
	code := s.code.Of(b[:nonceBody], s.realm)
	return n, hmac.Equal(b[nonceBody:nonceSize], code[:macLen])
}

// counts remembers which counts (nc) of which nonces have been used. Only credentials that are right get in. It holds
// two generations; dropping one forgets the use of its nonces, so all that were made in it, or before, are stale from then
// on. By the generation and not by the time: in a crowd many generations begin while the time of a nonce stands still.
type counts struct {
	cur, old map[[16]byte]window
	began    time.Time // when cur was begun
	gen      uint32    // that of cur
}

// window is the highest count used and, as bits, which of those just below it: bit i is high-1-i.
type window struct {
	high  uint32
	below uint64
}

// use notes a count of a nonce. It is false when the count was used before, or may have been.
func (c *counts) use(n nonce, count uint32, now time.Time) bool {
	if c.began.IsZero() {
		c.began = now
	}
	if len(c.cur) >= perGen || now.Sub(c.began) > NonceLife {
		c.old, c.cur, c.began = c.cur, make(map[[16]byte]window), now
		c.gen++
	}
	if c.gen-n.gen > 1 { // a later one than ours does not occur
		return false
	}
	w, ok := c.cur[n.id]
	if !ok {
		w = c.old[n.id]
	}
	if !w.use(count) {
		return false
	}
	c.cur[n.id] = w
	return true
}

// use takes a count that is higher than any before, or lower and not used; 0 is none.
func (w *window) use(count uint32) bool {
	switch {
	case count > w.high:
		up := count - w.high
		w.below <<= up // 0 for 64 and more
		if w.high != 0 && up <= windowBits {
			w.below |= 1 << (up - 1)
		}
		w.high = count
		return true
	case count == w.high || count == 0 || w.high-count > windowBits:
		return false
	}
	bit := uint64(1) << (w.high - count - 1)
	if w.below&bit != 0 {
		return false
	}
	w.below |= bit
	return true
}
