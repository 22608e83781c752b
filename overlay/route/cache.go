package route

import (
	"container/list"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Key names a request: who signed it, and its transaction ID.
type Key struct {
	Signer      wire.NodeID
	Transaction wire.TransactionID
}

// Cache remembers requests that were carried out, with their answers: "Receiving nodes MUST generate semantically
// equivalent responses to retransmissions of the same request" (RFC 6940 §6.2.1).
type Cache struct {
	keep  time.Duration
	limit int
	order *list.List // of *cached, oldest first
	index map[Key]*list.Element
}

type cached struct {
	key     Key
	expires time.Time
	answer  []byte
}

// NewCache returns a cache that keeps up to limit requests for so long. When it is full the oldest goes.
func NewCache(keep time.Duration, limit int) *Cache {
	return &Cache{keep: keep, limit: limit, order: list.New(), index: make(map[Key]*list.Element)}
}

// Len counts the requests.
func (c *Cache) Len() int { return c.order.Len() }

// Begin reports whether request k is new, and remembers it. When it is not, answer is the sealed message that answered
// it; nil while that is still being made.
func (c *Cache) Begin(now time.Time, k Key) (answer []byte, fresh bool) {
	c.expire(now)
	if e := c.index[k]; e != nil {
		return e.Value.(*cached).answer, false
	}
	if c.order.Len() >= c.limit {
		c.remove(c.order.Front())
	}
	c.index[k] = c.order.PushBack(&cached{key: k, expires: now.Add(c.keep)})
	return nil, true
}

// Answer keeps the answer to k. The octets must not be changed afterwards.
func (c *Cache) Answer(k Key, raw []byte) {
	if e := c.index[k]; e != nil {
		e.Value.(*cached).answer = raw
	}
}

// Forget is for a request that turned out to be somebody else's: should it come back, it is new.
func (c *Cache) Forget(k Key) {
	if e := c.index[k]; e != nil {
		c.remove(e)
	}
}

func (c *Cache) expire(now time.Time) {
	for e := c.order.Front(); e != nil && !e.Value.(*cached).expires.After(now); e = c.order.Front() {
		c.remove(e)
	}
}

func (c *Cache) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.index, e.Value.(*cached).key)
}
