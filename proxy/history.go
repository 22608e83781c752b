package proxy

import (
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

const historyInfo = "History-Info"

// history writes down where a request was on its way to whom (RFC 7044): the Request-URI that came, unless somebody before us wrote it down,
// and where this branch takes it. Requests within dialogs, and those whose sender wants none (RFC 7044 §10.1.1), go without.
func (c *call) history(m *message.Message, branch int) {
	if !c.p.c.History || c.in.inside || private(m) {
		return
	}
	base := c.in.traced(m)
	l := &c.legs[branch]
	if l.parent > 0 {
		// RFC 7044 §10.2: a retargeting because of a response is noted with its Reason at the entry that it was the response to.
		from := &c.legs[l.parent-1]
		m.AddOther(historyInfo, entry(withReason(from.uri, from.status), index(base, l.parent-1), "rc", base))
		m.AddOther(historyInfo, entry(l.uri, index(base, branch), "mp", index(base, l.parent-1)))
		return
	}
	if l.forwarded != "" {
		// RFC 7044 §8: "mp" is another user, whom this one has named; a phone of that one is a further step.
		m.AddOther(historyInfo, entry(l.forwarded, index(base, branch), "mp", base))
		if l.uri != l.forwarded {
			m.AddOther(historyInfo, entry(l.uri, index(base, branch)+".1", "rc", index(base, branch)))
		}
		return
	}
	m.AddOther(historyInfo, entry(l.uri, index(base, branch), c.change(l), base))
}

// change is how the Request-URI of a leg came to be (RFC 7044 §8): the same, that of a contact, or that of another user.
func (c *call) change(l *leg) string {
	switch {
	case l.uri == c.in.msg.RequestURI:
		return "np"
	case l.known:
		return "rc"
	}
	return "mp"
}

// traced makes sure that the Request-URI that came is the last entry of m, and returns its index.
func (in *inbound) traced(m *message.Message) string {
	last := ""
	for _, f := range m.Fields {
		if f.Name != message.Other || !message.EqualFold(f.Text, historyInfo) {
			continue
		}
		for _, v := range message.AppendValues(nil, f.Value) {
			last = v
		}
	}
	a, err := message.ParseAddress(last)
	at, ok := message.Param(a.Params, "index")
	switch {
	case err != nil || !ok:
		at = "1"
	case message.EqualURI(a.URI, in.msg.RequestURI):
		return at
	default:
		at += ".0" // RFC 7044 §10.3: a gap: "the entity adding an hi-entry MUST add a single index with a value of "0""
	}
	m.AddOther(historyInfo, "<"+in.msg.RequestURI+">;index="+at)
	return at
}

// index is that of a branch: RFC 7044 §10.3: each branch of a fork has the next number.
func index(base string, branch int) string { return base + "." + strconv.Itoa(branch+1) }

func entry(uri, index, change, from string) string {
	return "<" + uri + ">;index=" + index + ";" + change + "=" + from
}

func withReason(uri string, status int) string {
	sep := "?"
	if strings.IndexByte(uri, '?') >= 0 {
		sep = "&"
	}
	return uri + sep + "Reason=SIP%3Bcause%3D" + strconv.Itoa(status)
}

// private reports whether the sender wants no history: RFC 7044 §10.1.1, RFC 3323 §4.2.
func private(m *message.Message) bool {
	for _, v := range strings.FieldsFunc(m.Other("Privacy"), func(r rune) bool { return r == ';' || r == ' ' }) {
		if message.EqualFold(v, "history") || message.EqualFold(v, "session") || message.EqualFold(v, "header") {
			return true
		}
	}
	return false
}
