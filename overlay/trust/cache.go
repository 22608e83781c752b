package trust

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

type certKey = [sha256.Size]byte

// cache remembers up to max good certificates and forgets the least recently used.
type cache struct {
	mu    sync.Mutex
	max   int
	byKey map[certKey]*list.Element
	order *list.List // of *cached, most recent first
}

type cached struct {
	key certKey
	k   known
}

func newCache(size int) *cache {
	return &cache{max: size, byKey: map[certKey]*list.Element{}, order: list.New()}
}

func (c *cache) get(key certKey) (known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return known{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).k, true
}

func (c *cache) put(key certKey, k known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.order.PushFront(&cached{key, k})
	if c.order.Len() > c.max {
		delete(c.byKey, c.order.Remove(c.order.Back()).(*cached).key)
	}
}
