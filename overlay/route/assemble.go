package route

import (
	"bytes"
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Reasons for dropping fragments, in addition to those of Check.
const (
	BadFragment      Reason = "bad_fragment"      // too short, or of a message that is too long
	FragmentConflict Reason = "fragment_conflict" // it contradicts others of its set, which are dropped with it
	FragmentsFull    Reason = "fragments_full"    // no room to hold it
)

// Assembler puts messages that are for this node together again from their fragments (RFC 6940 §6.7). It takes them in any
// order, more than once, and cut in several ways. What it holds is bounded in total and per neighbour, so that one neighbour
// cannot fill it.
type Assembler struct {
	max   int // octets of a whole message
	quota int // octets held for one neighbour
	held  int
	by    map[wire.NodeID]int
	sets  map[setKey]*list.Element
	order *list.List // of *set, oldest first
}

// setKey tells fragments of one message from those of another. A request and its answer have the same transaction ID.
type setKey struct {
	transaction wire.TransactionID
	overlay     wire.OverlayID
	answer      bool
}

type set struct {
	key     setKey
	owner   wire.NodeID // who sent the fragment that came first; it pays
	expires time.Time
	cost    int
	end     int     // of the body; 0 until the last fragment has come
	got     int     // octets of the body
	pieces  []piece // in order, without overlap
	header  []byte  // of the first fragment
	from    wire.NodeID
}

type piece struct {
	at   int
	data []byte
}

func (p piece) end() int { return p.at + len(p.data) }

// NewAssembler returns an Assembler for messages of up to max octets, header included.
func NewAssembler(max int) *Assembler {
	a := &Assembler{by: make(map[wire.NodeID]int), sets: make(map[setKey]*list.Element), order: list.New()}
	a.SetMax(max)
	return a
}

// SetMax has messages of up to max octets assembled from now on.
func (a *Assembler) SetMax(max int) {
	// A neighbour may have one message of the largest size under way, whatever that size is.
	a.max, a.quota = max, neighbourOctets+max
}

// Len counts the messages that wait for more of their fragments.
func (a *Assembler) Len() int { return a.order.Len() }

// Octets is what is held, bookkeeping included.
func (a *Assembler) Octets() int { return a.held }

// Add takes raw, a fragment for this node that came from a neighbour; answer tells whether its transaction is one of our own
// requests. raw is not kept. When the message is complete it is returned with the neighbour that sent its first fragment:
// that one's Via List is the way back of the answer, for only the first fragment tells forwarders that it is a request. Else
// whole is nil, and drop says why the fragment is not held.
func (a *Assembler) Add(now time.Time, from wire.NodeID, answer bool, raw []byte) (whole []byte, first wire.NodeID, drop Reason) {
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		return nil, first, BadFragment
	}
	if h.Whole() {
		return raw, from, ""
	}
	a.Expire(now)
	at, body := int(h.Fragment&wire.FragmentOffset), raw[n:]
	last := h.Fragment&wire.FragmentLast != 0
	if len(body) == 0 || len(body) < MinFragmentBody && !last || n+at+len(body) > a.max {
		return nil, first, BadFragment
	}
	s := a.find(now, setKey{h.Transaction, h.Overlay, answer}, from)
	if drop = a.hold(s, piece{at, body}, last); drop != "" {
		a.drop(s)
		return nil, first, drop
	}
	if at == 0 && s.header == nil {
		s.header, s.from = bytes.Clone(raw[:n]), from
	}
	if s.end == 0 || s.got < s.end {
		return nil, first, ""
	}
	a.drop(s)
	return s.join(), s.from, ""
}

// hold puts a fragment into its set. After a reason the set is to be dropped.
func (a *Assembler) hold(s *set, p piece, last bool) Reason {
	if !s.limit(p.end(), last) || !s.insert(p.at, p.data) {
		return FragmentConflict
	}
	cost := setCost + s.got + len(s.pieces)*pieceCost
	a.held += cost - s.cost
	a.by[s.owner] += cost - s.cost
	s.cost = cost
	if a.by[s.owner] > a.quota || a.held > totalQuotas*a.quota {
		// RFC 6940 §6.7: "if the receiver runs out of buffer space to reassemble a message, it MUST drop the message."
		return FragmentsFull
	}
	return ""
}

// Expire drops what has waited for too long and returns how many messages that were. RFC 6940 §6.7: "receivers SHOULD time
// out incomplete fragments after the maximum request lifetime (15 seconds)".
func (a *Assembler) Expire(now time.Time) (dropped int) {
	for e := a.order.Front(); e != nil && !e.Value.(*set).expires.After(now); e = a.order.Front() {
		a.drop(e.Value.(*set))
		dropped++
	}
	return dropped
}

func (a *Assembler) find(now time.Time, k setKey, from wire.NodeID) *set {
	if e := a.sets[k]; e != nil {
		return e.Value.(*set)
	}
	s := &set{key: k, owner: from, expires: now.Add(MaxRequestLifetime)}
	a.sets[k] = a.order.PushBack(s)
	return s
}

func (a *Assembler) drop(s *set) {
	a.order.Remove(a.sets[s.key])
	delete(a.sets, s.key)
	a.held -= s.cost
	if a.by[s.owner] -= s.cost; a.by[s.owner] == 0 {
		delete(a.by, s.owner)
	}
}

// limit notes that octets up to end exist, and no more of them when the fragment is the last. It reports whether that
// can be.
func (s *set) limit(end int, last bool) bool {
	if s.end != 0 {
		return end <= s.end && (!last || end == s.end)
	}
	if last {
		s.end = end
		return len(s.pieces) == 0 || s.pieces[len(s.pieces)-1].end() <= end
	}
	return true
}

// insert copies what is new in b to its place. It reports false when b contradicts what is there.
func (s *set) insert(at int, b []byte) bool {
	i, _ := slices.BinarySearchFunc(s.pieces, at+1, func(p piece, x int) int { return cmp.Compare(p.end(), x) })
	for len(b) > 0 {
		n := len(b)
		if i < len(s.pieces) {
			p := s.pieces[i]
			if p.at <= at {
				n = min(n, p.end()-at)
				if !bytes.Equal(b[:n], p.data[at-p.at:at-p.at+n]) {
					return false
				}
				at, b, i = at+n, b[n:], i+1
				continue
			}
			n = min(n, p.at-at)
		}
		s.pieces = slices.Insert(s.pieces, i, piece{at, bytes.Clone(b[:n])})
		s.got += n
		at, b, i = at+n, b[n:], i+1
	}
	return true
}

func (s *set) join() []byte {
	body := make([]byte, 0, s.end)
	for _, p := range s.pieces {
		body = append(body, p.data...)
	}
	return withBody(s.header, body, wire.Unfragmented)
}
