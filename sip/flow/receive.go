package flow

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// deliver hands a message on, or answers and counts one that could not be read.
func (t *Table) deliver(m *message.Message, perr *message.ParseError, from location.Hop) {
	t.counters.received[transportIndex(from.Transport)].Add(1)
	if m != nil && m.IsRequest() {
		stamp(m, from.Remote)
		t.alias(m, from)
	}
	if perr != nil {
		t.refuse(m, perr, from)
		return
	}
	t.receiver.Deliver(m, from)
}

// Recycle takes a message that was delivered, and that nobody has any longer: its memory is used for another one.
func (t *Table) Recycle(m *message.Message) {
	m.Reset()
	t.rooms.Put(m)
}

// stamp fills in received and rport of the top Via. What the sender put there itself is overwritten.
func stamp(m *message.Message, from netip.AddrPort) {
	value, _ := m.FirstValue(message.Via)
	v, err := message.ParseVia(value)
	if err != nil || !from.IsValid() {
		return
	}
	params := v.Params
	_, rport := message.Param(params, "rport")
	_, forged := message.Param(params, "received")
	if rport {
		// RFC 3581 §4: "it MUST set the value of the parameter to the source port of the request".
		params = message.SetParam(params, "rport", strconv.Itoa(int(from.Port())))
	}
	// RFC 3261 §18.2.1: "If the host portion of the "sent-by" parameter contains a domain name, or if it contains an IP address that
	// differs from the packet source address, the server MUST add a "received" parameter". RFC 3581 §4: with rport in any case.
	if host, err := netip.ParseAddr(v.Host); rport || forged || err != nil || host.Unmap() != from.Addr() {
		params = message.SetParam(params, "received", from.Addr().WithZone("").String())
	} else {
		return
	}
	head := strings.TrimRight(value[:len(value)-len(v.Params)], " \t")
	m.SetFirstValue(message.Via, head+params)
}

// refuse answers a malformed request from what could be read of it. The answers are limited in rate: the source may be forged.
func (t *Table) refuse(m *message.Message, perr *message.ParseError, from location.Hop) {
	t.counters.drop(malformed(perr.Status))
	if m == nil || perr.Status == 0 || !m.IsRequest() || m.Method == "ACK" {
		return
	}
	if !m.Has(message.Via) {
		return
	}
	to := from // of a Via that can not be read it says nothing
	if via, err := m.TopVia(); err == nil {
		to = t.ResponseHop(from, via)
	}
	if !t.refusals.Allow() {
		t.counters.drop(dropRefusalRate)
		return
	}
	// RFC 3261 §8.2.7: of a stateless answer, "To tags [...] MUST be generated in a stateless manner": one for the life of the process.
	why := sip.Refusal{Status: perr.Status, Word: "MSG" + strconv.Itoa(perr.Status), Text: perr.Text}
	res := why.Response(m, t.tag)
	_ = t.Send(to, res.AppendTo(nil), nil)
}

func malformed(status int) dropReason {
	switch status {
	case 0:
		return dropMalformed
	case 505:
		return dropVersion
	case 413, 414, 513:
		return dropTooLarge
	default:
		return dropBadRequest
	}
}
