package trust

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

type hashKey = [sha256.Size]byte

// cache remembers up to max good certificates, or signatures, and forgets the least recently used.
type cache[V any] struct {
	mu    sync.Mutex
	max   int
	byKey map[hashKey]*list.Element
	order *list.List // of *cached, most recent first
}

type cached[V any] struct {
	key hashKey
	v   V
}

func newCache[V any](size int) *cache[V] {
	return &cache[V]{max: size, byKey: map[hashKey]*list.Element{}, order: list.New()}
}

func (c *cache[V]) get(key hashKey) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached[V]).v, true
}

func (c *cache[V]) put(key hashKey, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.order.PushFront(&cached[V]{key, v})
	if c.order.Len() > c.max {
		delete(c.byKey, c.order.Remove(c.order.Back()).(*cached[V]).key)
	}
}
