package flow

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/p2psip/p2psip-gateway/sip"
)

// sockets are all listeners. They do not change: others take their place.
type sockets struct {
	udp     []*udpSocket
	streams []*listener
}

// ErrListener is for a listener that can not become another one while it is open.
var ErrListener = errors.New("flow: the options of a listener that stays can not change")

// Listen replaces the listeners: new ones are bound and, behind Serve, read, those that are not in the list any more are closed, and what is in both
// stays as it is. Connections that were accepted stand, whatever becomes of the listener. When one can not be bound nothing changes. A listener whose
// address stays and whose options do not is ErrListener.
func (t *Table) Listen(list []Listen) error {
	t.listening.Lock()
	defer t.listening.Unlock()
	if t.ctx.Err() != nil {
		return ErrClosed
	}
	old, next, fresh := t.sockets.Load(), &sockets{}, &sockets{}
	for _, l := range list {
		if err := t.take(l, old, next, fresh); err != nil {
			fresh.close()
			return fmt.Errorf("flow: listen %s %s: %w", l.Transport, l.Addr, err)
		}
	}
	t.sockets.Store(next)
	if t.receiver != nil {
		fresh.serve(t)
	}
	old.without(next).close()
	return nil
}

// take adds one listener to next: that of old, or a new one, which it adds to fresh too.
func (t *Table) take(l Listen, old, next, fresh *sockets) error {
	switch l.Transport {
	case UDP:
		if at := slices.IndexFunc(old.udp, func(u *udpSocket) bool { return same(u.address, l) }); at >= 0 && !slices.Contains(next.udp, old.udp[at]) {
			next.udp = append(next.udp, old.udp[at])
			return differs(old.udp[at].as, l)
		}
		u, err := openUDP(t, l)
		if err != nil {
			return err
		}
		u.as = l
		next.udp, fresh.udp = append(next.udp, u), append(fresh.udp, u)
	case TCP, TLS, WS, WSS:
		if at := slices.IndexFunc(old.streams, func(s *listener) bool { return same(s.address, l) }); at >= 0 && !slices.Contains(next.streams, old.streams[at]) {
			next.streams = append(next.streams, old.streams[at])
			return differs(old.streams[at].as, l)
		}
		if secured(l.Transport) && t.cfg.Certificate == nil {
			return errors.New("no certificate")
		}
		s, err := openListener(t, l)
		if err != nil {
			return err
		}
		s.as = l
		next.streams, fresh.streams = append(next.streams, s), append(fresh.streams, s)
	default:
		return errors.New("unknown transport")
	}
	return nil
}

// same reports whether a listener is bound where l is to be. Port 0 is another one each time.
func same(bound sip.Address, l Listen) bool {
	return bound.Transport == l.Transport && bound.Local == l.Addr
}

func differs(a, b Listen) error {
	a.Addr = b.Addr // which the system may have chosen
	if !reflect.DeepEqual(a, b) {
		return ErrListener
	}
	return nil
}

func (s *sockets) serve(t *Table) {
	for _, u := range s.udp {
		t.wg.Go(u.read)
	}
	for _, l := range s.streams {
		t.wg.Go(l.accept)
	}
}

func (s *sockets) close() {
	for _, u := range s.udp {
		u.close()
	}
	for _, l := range s.streams {
		_ = l.l.Close()
	}
}

// without are the listeners of s that are not in other.
func (s *sockets) without(other *sockets) *sockets {
	out := &sockets{}
	for _, u := range s.udp {
		if !slices.Contains(other.udp, u) {
			out.udp = append(out.udp, u)
		}
	}
	for _, l := range s.streams {
		if !slices.Contains(other.streams, l) {
			out.streams = append(out.streams, l)
		}
	}
	return out
}
