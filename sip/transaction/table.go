package transaction

import (
	"sync"
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/sip/expiring"
)

// table finds transactions: those that are under way, and what is left of those that have finished. A key of a merged request leads to the
// transaction that the request came in by first.
type table struct {
	shards [shards]shard
	count  atomic.Int64 // transactions under way
	pages  pages
}

type shard struct {
	mu       sync.Mutex
	live     map[key]*entry
	finished *expiring.Map
}

// newTable makes a table in which finished transactions are remembered for one of the times in lives, in so many octets.
func newTable(lives []instant, octets int64) *table {
	t := &table{pages: pages{max: octets / expiring.PageSize}}
	for i := range t.shards {
		t.shards[i].live = map[key]*entry{}
		t.shards[i].finished = expiring.New(expiring.Config{Lives: lives, Pages: &t.pages})
	}
	return t
}

func (t *table) shard(k key) *shard { return &t.shards[k[0]%shards] }

// find returns the transaction that k names, or what is left of it; nil and no remains when there is neither.
func (t *table) find(now instant, k key) (*entry, remains) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.live[k]; e != nil {
		return e, remains{}
	}
	kind, value, ok := s.finished.Get(now, expiring.Key(k), nil)
	if !ok {
		return nil, remains{}
	}
	return nil, remains{role(kind), value}
}

// put enters e unless the key is taken. One that was drawn is none of a finished transaction.
func (t *table) put(now instant, k key, e *entry, drawn bool) bool {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[k] != nil {
		return false
	}
	if !drawn {
		if _, _, taken := s.finished.Get(now, expiring.Key(k), nil); taken {
			return false
		}
	}
	s.live[k] = e
	return true
}

// keep puts what is left of e, for one of the lives, into its place.
func (t *table) keep(now instant, k key, e *entry, left remains, class int) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[k] != e {
		return
	}
	delete(s.live, k)
	// Without memory for it, which even the oldest cannot make, it is forgotten: a retransmission is a new request then.
	s.finished.Put(now, expiring.Entry{Key: expiring.Key(k), Kind: uint8(left.role), Class: class, Value: left.octets})
}

func (t *table) del(k key, e *entry) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[k] == e {
		delete(s.live, k)
	}
}

// expire forgets what is over, and returns how much is left: keys, of transactions and of merged requests.
func (t *table) expire(now instant) (left int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.finished.Expire(now)
		left += s.finished.Len()
		s.mu.Unlock()
	}
	return left
}

// kept is the number of finished transactions.
func (t *table) kept() (n int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += int64(s.finished.Len() - s.finished.Count(uint8(mergedRequest)))
		s.mu.Unlock()
	}
	return n
}

// clear forgets all finished transactions.
func (t *table) clear() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.finished.Clear()
		s.mu.Unlock()
	}
}
