package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// hello is a ClientHello that came in one piece (RFC 6347 §4.2.1).
type hello struct {
	record []byte // the record's number: epoch and sequence number
	random []byte
	cookie []byte
}

// isHello reports whether a datagram begins with a ClientHello, or with a fragment of one.
func isHello(b []byte) bool {
	r, _, ok := cutRecord(b)
	return ok && r.kind == recordHandshake && r.epoch == 0 && len(r.body) >= messageHeader && r.body[0] == helloClient
}

// parseHello reads a datagram for which isHello holds.
func parseHello(b []byte) (h hello, ok bool) {
	r, _, _ := cutRecord(b)
	length, offset, here := r.body[1:4], r.body[6:9], r.body[9:12]
	body := r.body[messageHeader:]
	if !bytes.Equal(length, here) || !bytes.Equal(offset, make([]byte, 3)) || len(body) < 35 {
		return h, false
	}
	h.record, h.random = b[3:11], body[2:34]
	rest := body[34:]
	for range 2 { // the session ID, then the cookie
		if len(rest) < 1 || len(rest) < 1+int(rest[0]) {
			return h, false
		}
		h.cookie, rest = rest[1:1+int(rest[0])], rest[1+int(rest[0]):]
	}
	return h, true
}

// doorman proves addresses without keeping state for those that are not proven. The library's own cookie exchange
// (RFC 6347 §4.2.1) makes an association for each first ClientHello, whoever it comes from, and cannot take over one of
// which somebody else has seen the first half. While few associations wait for their cookie to come back, that is good
// enough. When there are many the doorman answers instead, with a cookie that it can recompute; a client that returns it
// is told to start over, and its IP address passes for a while.
type doorman struct {
	secret [32]byte

	mu     sync.Mutex
	proven map[netip.Addr]time.Time // until when
}

// passes reports whether the owner of address has returned a cookie lately.
func (d *doorman) passes(now time.Time, address netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proven[address].After(now)
}

// answer is what a ClientHello is answered with; nil: nothing.
func (d *doorman) answer(now time.Time, b []byte, from netip.AddrPort) []byte {
	h, ok := parseHello(b)
	if !ok {
		return nil
	}
	mac := hmac.New(sha256.New, d.secret[:])
	_, _ = mac.Write(from.Addr().AsSlice())
	_, _ = mac.Write(binary.BigEndian.AppendUint16(nil, from.Port()))
	_, _ = mac.Write(h.random)
	cookie := mac.Sum(nil)[:cookieLen]
	if !hmac.Equal(cookie, h.cookie) {
		return helloVerifyRequest(h.record, cookie)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.proven) >= maxProven {
		clear(d.proven)
	}
	if d.proven == nil {
		d.proven = make(map[netip.Addr]time.Time)
	}
	d.proven[from.Addr()] = now.Add(provenTime)
	return appendRecord(recordAlert, h.record, []byte{alertFatal, alertInternal})
}

// helloVerifyRequest is the message that carries a cookie. RFC 6347 §4.2.1: "The server MUST use the record sequence
// number in the ClientHello as the record sequence number in the HelloVerifyRequest."
func helloVerifyRequest(number, cookie []byte) []byte {
	n := byte(3 + len(cookie))
	message := []byte{helloVerify, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, n, 0xfe, 0xff, byte(len(cookie))}
	return appendRecord(recordHandshake, number, append(message, cookie...))
}

// appendRecord is a record in clear text. RFC 6347 §4.2.1: "DTLS 1.2 server implementations SHOULD use DTLS version 1.0"
// in an answer to a client whose version is not settled.
func appendRecord(kind byte, number, body []byte) []byte {
	b := append([]byte{kind, 0xfe, 0xff}, number...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}
