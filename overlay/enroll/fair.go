package enroll

import (
	"net"
	"sync"
)

// fair is a listener that leaves room for others: a source may have so many connections at a time, and further ones are closed. Else one
// client that opens connections and is silent keeps everybody out.
type fair struct {
	net.Listener
	most int

	mu   sync.Mutex
	held map[string]int // connections, by source
}

func newFair(l net.Listener, most int) *fair {
	return &fair{Listener: l, most: most, held: make(map[string]int)}
}

// Accept implements net.Listener.
func (f *fair) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(c.RemoteAddr().String())
		if f.enter(source) {
			return &fairConn{Conn: c, leave: sync.OnceFunc(func() { f.leave(source) })}, nil
		}
		_ = c.Close()
	}
}

func (f *fair) enter(source string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[source] >= f.most {
		return false
	}
	f.held[source]++
	return true
}

func (f *fair) leave(source string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[source]--; f.held[source] == 0 {
		delete(f.held, source)
	}
}

type fairConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *fairConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
