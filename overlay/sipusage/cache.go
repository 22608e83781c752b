package sipusage

import (
	"container/list"
	"time"
)

// cache remembers values for a while, the newest max of them. It has no lock.
type cache[K comparable, V any] struct {
	max   int
	items map[K]*list.Element
	order list.List // oldest first
}

type cached[K comparable, V any] struct {
	key   K
	value V
	until time.Time
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{max: limit, items: make(map[K]*list.Element)}
}

func (c *cache[K, V]) get(key K, now time.Time) (v V, ok bool) {
	e, ok := c.items[key]
	if !ok {
		return v, false
	}
	it := e.Value.(*cached[K, V])
	if !now.Before(it.until) {
		c.drop(e)
		return v, false
	}
	return it.value, true
}

func (c *cache[K, V]) empty() bool { return len(c.items) == 0 }

func (c *cache[K, V]) put(key K, v V, now time.Time, ttl time.Duration) {
	c.remove(key)
	// Those at the front are the oldest: what is past its time goes, and what is beyond the limit.
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		if now.Before(e.Value.(*cached[K, V]).until) && len(c.items) < c.max {
			break
		}
		c.drop(e)
	}
	c.items[key] = c.order.PushBack(&cached[K, V]{key, v, now.Add(ttl)})
}

func (c *cache[K, V]) remove(key K) {
	if e, ok := c.items[key]; ok {
		c.drop(e)
	}
}

func (c *cache[K, V]) drop(e *list.Element) {
	delete(c.items, c.order.Remove(e).(*cached[K, V]).key)
}
