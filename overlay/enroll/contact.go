package enroll

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Contact is how one server stands.
type Contact struct {
	Server   string    // host and port, or the name of the overlay when DNS leads to the server
	Answered time.Time // last; zero: never yet
	Since    time.Time // when it was first found not to answer; zero: it answers
	Err      error     // why it does not
}

// Contacts remembers whether the servers of an overlay answer: what the operator of a gateway has to know in time, since nothing
// else shows it before certificates end. It is safe for concurrent use. Nil forgets everything.
type Contacts struct {
	mu      sync.Mutex
	servers map[string]Contact
}

// note takes what came of one request. A refusal is an answer.
func (c *Contacts) note(server string, now time.Time, err error) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.servers[server]
	if !known && len(c.servers) >= maxContacts {
		return
	}
	if c.servers == nil {
		c.servers = make(map[string]Contact)
	}
	s.Server, s.Err = server, err
	switch {
	case err == nil:
		s.Answered, s.Since = now, time.Time{}
	case s.Since.IsZero():
		s.Since = now
	}
	c.servers[server] = s
}

// List is what is known, by the name of the server.
func (c *Contacts) List() []Contact {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Contact, 0, len(c.servers))
	for _, s := range c.servers {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Contact) int { return cmp.Compare(a.Server, b.Server) })
	return list
}
