package transaction

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// key names a transaction in the table: a hash of what RFC 3261 §17.1.3 and §17.2.3 compare, with seeds that nobody outside knows. 128
// bits do not collide, and a finished transaction keeps no strings.
type key [2]uint64

// hasher makes keys, To tags and branches.
type hasher struct {
	seeds  [3]maphash.Seed
	prefix string // of the branches of this process
	count  atomic.Uint64
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newHasher() *hasher {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	h := &hasher{prefix: cookie + base32Lower.EncodeToString(b[:])}
	for i := range h.seeds {
		h.seeds[i] = maphash.MakeSeed()
	}
	return h
}

// key hashes a port, 0 for none, and what goes with it.
func (h *hasher) key(port uint16, parts ...string) (k key) {
	var room [384]byte // enough for most: then this allocates nothing
	text := binary.BigEndian.AppendUint16(room[:0], port)
	for _, p := range parts {
		text = append(append(text, p...), 0)
	}
	for i := range k {
		k[i] = maphash.Bytes(h.seeds[i], text)
	}
	return k
}

// tag is the To tag of our own responses within a transaction: always the same one (RFC 3261 §8.2.6.2, §19.3).
func (h *hasher) tag(k key) string {
	return strconv.FormatUint(maphash.Comparable(h.seeds[2], k), 36)
}

// branch draws a branch: 80 random bits of this process and a count (RFC 3261 §8.1.1.7: "unique across space and time").
func (h *hasher) branch() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], h.count.Add(1))
	i := 0
	for i < 7 && b[i] == 0 {
		i++
	}
	return h.prefix + base32Lower.EncodeToString(b[i:])
}

// client is the key of a client transaction (RFC 3261 §17.1.3): the branch, and the method of CSeq, "since a CANCEL request
// constitutes a different transaction, but shares the same value of the branch parameter".
func (h *hasher) client(branch, method string) key { return h.key(0, "client", branch, method) }

// server is the key of a server transaction (RFC 3261 §17.2.3): branch, sent-by and method, where an ACK has the method INVITE. Two
// clients that count alike draw the same branch, so that only the sent-by tells them apart.
func (h *hasher) server(m *message.Message, via message.ViaValue, method string) key {
	if len(via.Branch) > len(cookie) && strings.EqualFold(via.Branch[:len(cookie)], cookie) {
		return h.key(via.Port, "server", via.Branch, strings.ToLower(via.Host), method)
	}
	// RFC 2543. Deviation: the To tag is left out, for that of an ACK is the response's; the CSeq tells requests within a dialog apart.
	cseq, _ := m.CSeq()
	value, _ := m.FirstValue(message.Via)
	return h.key(0, "2543", m.RequestURI, message.Tag(m.Get(message.From)), m.Get(message.CallID),
		strconv.FormatUint(uint64(cseq.Seq), 10), value, method)
}

// merge is what an initial request is known by on whatever path it comes (RFC 3261 §8.2.2.2: From tag, Call-ID, CSeq). Deviation: with
// the Request-URI and the first Route, which a request has changed that comes back to us on purpose (a spiral, §16.3 step 4), and
// with who sent it first, since clients started at the same moment draw the same numbers. top is the topmost Via.
func (h *hasher) merge(m *message.Message, top message.ViaValue) key {
	origin := top
	above, _ := m.FirstValue(message.Via)
	if below, _ := m.LastValue(message.Via); below != above {
		origin, _ = message.ParseVia(below)
	}
	route, _ := m.FirstValue(message.Route)
	return h.key(origin.Port, "merge", message.Tag(m.Get(message.From)), m.Get(message.CallID), m.Get(message.CSeq),
		m.RequestURI, route, strings.ToLower(origin.Host))
}
