package trust

import (
	"strconv"
	"testing"
)

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := newCache[known](3)
	k := func(i int) hashKey { return hashKey{byte(i)} }
	for i := range 3 {
		c.put(k(i), known{id: Identity{User: strconv.Itoa(i)}})
	}
	c.put(k(0), known{id: Identity{User: "again"}})
	if got, ok := c.get(k(0)); !ok || got.id.User != "0" {
		t.Errorf("%+v", got)
	}
	c.put(k(3), known{})
	if _, ok := c.get(k(1)); ok || len(c.byKey) != 3 || c.order.Len() != 3 {
		t.Errorf("%d, %d remembered", len(c.byKey), c.order.Len())
	}
	for _, i := range []int{0, 2, 3} {
		if _, ok := c.get(k(i)); !ok {
			t.Errorf("%d was forgotten", i)
		}
	}
}
