package sipusage

import (
	"container/list"
	"time"
)

// cache remembers values for a while, the newest max of them. It has no lock.
type cache[V any] struct {
	max   int
	items map[string]*list.Element
	order list.List // oldest first
}

type cached[V any] struct {
	key   string
	value V
	until time.Time
}

func newCache[V any](limit int) *cache[V] {
	return &cache[V]{max: limit, items: make(map[string]*list.Element)}
}

func (c *cache[V]) get(key string, now time.Time) (v V, ok bool) {
	e, ok := c.items[key]
	if !ok {
		return v, false
	}
	it := e.Value.(*cached[V])
	if !now.Before(it.until) {
		c.drop(e)
		return v, false
	}
	return it.value, true
}

func (c *cache[V]) put(key string, v V, now time.Time, ttl time.Duration) {
	c.remove(key)
	// Those at the front are the oldest: what is past its time goes, and what is beyond the limit.
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		if now.Before(e.Value.(*cached[V]).until) && len(c.items) < c.max {
			break
		}
		c.drop(e)
	}
	c.items[key] = c.order.PushBack(&cached[V]{key, v, now.Add(ttl)})
}

func (c *cache[V]) remove(key string) {
	if e, ok := c.items[key]; ok {
		c.drop(e)
	}
}

func (c *cache[V]) drop(e *list.Element) {
	delete(c.items, c.order.Remove(e).(*cached[V]).key)
}
