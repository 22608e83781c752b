package flow

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// packets reads a connection over DTLS: a datagram is a message (RFC 3261 §18.3), as over UDP, without RELOAD's framing
// header. It returns why the connection has ended.
func (r *source) packets() error {
	buf := make([]byte, maxNodeDatagram)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return err
		}
		if junk(buf[:n]) {
			r.s.t.counters.drop(dropKeepAlive)
			continue
		}
		m, err := message.Parse(buf[:n])
		if m != nil && r.s.keepAlive(m) {
			r.s.t.counters.drop(dropKeepAlive)
			continue
		}
		r.s.touch()
		r.s.t.deliver(m, message.AsParseError(err), r.s.hop)
	}
}

// keepAlive takes a message that is a keep-alive of the other side, which it answers, or an answer to ours.
func (s *stream) keepAlive(m *message.Message) bool {
	via, err := m.TopVia()
	if err != nil {
		return false
	}
	if !m.IsRequest() {
		return strings.HasPrefix(via.Branch, pingBranch)
	}
	// RFC 3261 §16.3: of an OPTIONS with Max-Forwards 0, "the element [...] MAY act as the final recipient".
	if m.Method != "OPTIONS" || m.Get(message.MaxForwards) != "0" {
		return false
	}
	_ = s.send(message.NewResponse(m, 200, "", s.t.tag).AppendTo(nil), nil)
	return true
}

// pingBranch begins the branch of our keep-alives. Their answers need no transaction: any message is a sign of life.
const pingBranch = "z9hG4bK-alive-"

// options is the n-th keep-alive over DTLS, where RFC 5626 §4.4 has no CRLF: an OPTIONS that goes no further than the other side.
func (t *Table) options(to location.Hop, n int) []byte {
	uri, id, seq := "sip:"+t.cfg.Domain, t.tag+"-"+strconv.FormatUint(to.Flow, 36), strconv.Itoa(n)
	m := message.Message{Method: "OPTIONS", RequestURI: uri}
	m.Add(message.Via, t.Via(to, pingBranch+id+"-"+seq))
	m.Add(message.MaxForwards, "0")
	m.Add(message.From, "<"+uri+">;tag="+t.tag)
	m.Add(message.To, "<"+uri+">")
	m.Add(message.CallID, id)
	m.Add(message.CSeq, seq+" OPTIONS")
	return m.AppendTo(nil)
}

// passing reports an error of a datagram that says nothing of the next one: no buffer, no route, a packet filter. A
// refusal is another matter: nobody listens there any more.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ECONNREFUSED
}

var (
	viaTLS  = []byte("\r\nVia: SIP/2.0/" + TLS + " ")
	viaDTLS = []byte("\r\nVia: SIP/2.0/" + DTLS + " ")
	status  = []byte("SIP/2.0 ")
)

// overDTLS is b with the transport in the Via that we have put on top of a request. When a request is made nobody knows
// yet what connection AppAttach will bring, if there is none; so it says TLS (see Table.Via).
func overDTLS(b []byte) []byte {
	if bytes.HasPrefix(b, status) {
		return b
	}
	i := bytes.Index(b, viaTLS)
	if i < 0 || bytes.Contains(b[:i], []byte("\r\nVia:")) {
		return b
	}
	out := make([]byte, 0, len(b)+len(DTLS)-len(TLS))
	return append(append(append(out, b[:i]...), viaDTLS...), b[i+len(viaTLS):]...)
}

// Reliable reports whether what is sent to a hop arrives without being repeated (RFC 3261 §17). It does over TCP and TLS,
// and waits without loss while a connection to a gateway is being opened.
func (t *Table) Reliable(to location.Hop) bool {
	if to.Node == "" {
		return to.Transport != UDP
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range [2]*stream{t.byFlow[to.Flow], t.byKey[keyOf(to)]} {
		if s != nil {
			return !s.packets
		}
	}
	return true
}
