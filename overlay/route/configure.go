package route

import "time"

// SetTimer changes the overlay-reliability-timer for requests that are started, or sent again, from now on. After a
// shorter one is set, such a request may wait for those before it.
func (t *Table) SetTimer(timer time.Duration) { t.timer = timer }

// SetKeep changes for how long requests are remembered that begin from now on.
func (c *Cache) SetKeep(keep time.Duration) { c.keep = keep }
