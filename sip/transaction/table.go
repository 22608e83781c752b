package transaction

import (
	"sync"
	"sync/atomic"
)

// table finds transactions. A key of a merged request leads to the transaction that the request came in by first.
type table struct {
	shards [shards]shard
	count  atomic.Int64 // transactions, finished ones included
}

type shard struct {
	mu sync.Mutex
	m  map[key]*entry
}

func newTable() *table {
	t := &table{}
	for i := range t.shards {
		t.shards[i].m = map[key]*entry{}
	}
	return t
}

func (t *table) get(k key) *entry {
	s := &t.shards[k[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[k]
}

// put enters e unless the key is taken.
func (t *table) put(k key, e *entry) bool {
	s := &t.shards[k[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[k] != nil {
		return false
	}
	s.m[k] = e
	return true
}

func (t *table) del(k key, e *entry) {
	s := &t.shards[k[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[k] == e {
		delete(s.m, k)
	}
}
