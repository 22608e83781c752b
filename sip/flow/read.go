package flow

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// Why a connection was closed by us.
var (
	errSlow  = errors.New("flow: message took too long")
	errIdle  = errors.New("flow: idle")
	errPong  = errors.New("flow: no answer to keep-alive")
	errFrame = errors.New("flow: end of message not known")
)

// source is what the message.Reader of a connection reads from: the connection, with the deadline that its state asks for.
type source struct {
	s       *stream
	partial func() bool // whether part of a message has been read; nil: the reader sets begun itself
	heard   time.Time   // when octets last came
	begun   time.Time   // when the message that is being read began; zero between messages
	any     bool        // a whole message has come
	pinged  time.Time   // when a ping went out that has not been answered; zero: none
	pings   int         // that came in one read
	until   time.Time   // by when the upgrade to WebSocket has to be done; zero: it is, or there is none
	round   int         // of pings
	copies  int         // of the ping that was not answered, over a transport that loses some
	gather  gather
	whole   int  // messages since something was last read
	plain   bool // TCP without TLS: a read takes all that there is
	full    bool // as much as there was room for: more may be waiting
}

// read runs the connection until it ends.
func (s *stream) read() {
	defer s.t.wg.Done()
	src := &source{s: s, heard: time.Now()}
	src.gather = newGather(gatherStream, src.heard)
	_, src.plain = s.conn.(*net.TCPConn)
	if s.packets {
		s.close(src.packets())
		return
	}
	reader := message.NewReader(src)
	src.partial = reader.Partial
	for {
		m, ping, err := reader.Next()
		if ping {
			// RFC 5626 §4.4.1: the server "MUST respond with a single CRLF".
			if src.pings++; src.pings <= maxPings {
				_ = s.send(crlf, nil)
			}
			s.t.counters.drop(dropKeepAlive)
			continue
		}
		perr := message.AsParseError(err)
		if err != nil && perr == nil {
			s.close(err)
			return
		}
		src.begun, src.any = time.Time{}, true
		src.whole++
		s.touch()
		s.t.deliver(m, perr, s.hop)
		if perr != nil && perr.Fatal {
			// RFC 3261 §18.3: the octets that follow belong to nobody knows what.
			s.drain()
			s.linger()
			return
		}
	}
}

// linger reads and drops what still comes, so that the refusal is not lost in a reset, until the writer has closed the connection.
func (s *stream) linger() {
	_ = s.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(s.conn, message.MaxMessage))
	s.close(errFrame)
}

// Read implements io.Reader.
func (r *source) Read(p []byte) (int, error) {
	switch {
	case r.partial == nil:
	case !r.partial():
		r.begun = time.Time{} // what had begun was a keep-alive
	case r.begun.IsZero():
		r.begun = time.Now()
	}
	r.rest()
	for {
		asked := r.s.asked.Load()
		until, _ := r.deadline()
		if err := r.s.conn.SetReadDeadline(until); err != nil {
			return 0, err
		}
		if r.s.asked.Load() != asked {
			continue // a sender has set another deadline meanwhile, which is lost
		}
		n, err := r.s.conn.Read(p)
		if n > 0 {
			r.heard, r.pinged, r.pings, r.copies = time.Now(), time.Time{}, 0, 0
			r.full = n == len(p)
			r.s.asked.Store(0)
			return n, nil
		}
		if !late(err) {
			return 0, err
		}
		if err := r.overdue(); err != nil {
			return 0, err
		}
	}
}

// rest lets messages gather where they come fast. A read of a TLS connection takes one record, however many there are, so it does not wait.
func (r *source) rest() {
	if r.whole == 0 || !r.plain {
		return
	}
	r.gather.came(r.whole, r.heard)
	r.whole = 0
	if d := r.gather.pause(time.Now()); d > 0 && !r.full {
		time.Sleep(d)
	}
}

// deadline is how long to wait for octets, and the error that is due then; nil: a keep-alive is due.
func (r *source) deadline() (time.Time, error) {
	if !r.until.IsZero() {
		return r.until, errSlow
	}
	until, why := r.idle()
	if r.s.class == node || r.s.ws != nil {
		until, why = r.keepAlive(until, why)
	}
	if slow := r.begun.Add(messageDeadline); !r.begun.IsZero() && slow.Before(until) {
		return slow, errSlow
	}
	return until, why
}

func (r *source) idle() (time.Time, error) {
	switch {
	case r.s.class == node:
		return r.s.lastUse().Add(nodeIdle), errIdle
	case r.s.class == dialled:
		return later(r.s.lastUse(), r.heard).Add(dialledIdle), errIdle
	case r.any:
		return later(r.s.lastUse(), r.heard).Add(acceptedIdle), errIdle
	default:
		return r.s.lastUse().Add(firstMessage), errIdle
	}
}

func (r *source) keepAlive(until time.Time, why error) (time.Time, error) {
	next, what := r.heard.Add(pingInterval), error(nil)
	if asked := r.s.asked.Load(); asked != 0 && time.Unix(0, asked).Add(askAfter).Before(next) {
		next = time.Unix(0, asked).Add(askAfter)
	}
	if !r.pinged.IsZero() {
		next, what = r.pinged.Add(pongWait), errPong
		if again := r.pinged.Add(pingAgain << r.copies); r.s.packets && again.Before(next) {
			next, what = again, nil
		}
	}
	if next.Before(until) {
		return next, what
	}
	return until, why
}

// late reports whether err means that a deadline has passed.
func late(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// overdue does what is due when a deadline has passed, if it still is: a sender may have used the connection meanwhile, or set a
// deadline of its own.
func (r *source) overdue() error {
	switch until, why := r.deadline(); {
	case time.Now().Before(until):
		return nil
	case why == nil:
		return r.ping()
	default:
		return why
	}
}

// ping asks for a sign of life.
func (r *source) ping() error {
	if r.pinged.IsZero() {
		r.pinged = time.Now()
		r.round++
	} else {
		r.copies++
	}
	switch {
	case r.s.packets:
		return r.s.send(r.s.t.options(r.s.hop, r.round), nil)
	case r.s.ws != nil:
		r.s.pingWebSocket()
		return nil
	}
	return r.s.send(crlfcrlf, nil)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
