package message

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// invite1k is an INVITE of about 1 kB as it reaches a proxy behind another one.
var invite1k = []byte(strings.ReplaceAll(`INVITE sip:bob@example.org SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK2e86c7f1b0a94d5c;rport
Via: SIP/2.0/TCP 198.51.100.23:49152;branch=z9hG4bKPj0a3b8c;rport=49152;received=203.0.113.9
Record-Route: <sip:192.0.2.7;lr;ftag=8f3a2b>
Max-Forwards: 69
From: "Alice Example" <sip:alice@example.org>;tag=8f3a2b61c0
To: <sip:bob@example.org>
Call-ID: 3848276298220188511@client.example.org
CSeq: 31862 INVITE
Contact: <sip:alice@198.51.100.23:49152;transport=tcp;ob>
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE
Supported: replaces, 100rel, timer, norefersub, outbound, gruu
Session-Expires: 1800
User-Agent: Example Phone 4.2
Content-Type: application/sdp
Content-Length: 244

v=0
o=- 3907100000 3907100000 IN IP4 198.51.100.23
s=phone
c=IN IP4 198.51.100.23
t=0 0
m=audio 40000 RTP/AVP 96 0 8 101
a=rtpmap:96 opus/48000/2
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=sendrecv
`, "\n", "\r\n"))

func TestBenchMessageIsWhole(t *testing.T) {
	m, err := Parse(invite1k)
	if err != nil || !bytes.Equal(m.AppendTo(nil), invite1k) {
		t.Fatalf("%v\n%s", err, m.AppendTo(nil))
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(invite1k); err != nil {
			b.Fatal(err)
		}
	}
}

// What a proxy does to a request, with our model and with the one of sipgo: read, copy, write.
func BenchmarkParseCloneWrite(b *testing.B) {
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		m, err := Parse(invite1k)
		if err != nil {
			b.Fatal(err)
		}
		out = m.Clone().AppendTo(out[:0])
	}
}

func BenchmarkParseCloneWriteSipgo(b *testing.B) {
	b.ReportAllocs()
	p := sip.NewParser()
	var out bytes.Buffer
	for b.Loop() {
		m, err := p.ParseSIP(invite1k)
		if err != nil {
			b.Fatal(err)
		}
		out.Reset()
		m.(*sip.Request).Clone().StringWrite(&out)
	}
}

func BenchmarkReader(b *testing.B) {
	b.ReportAllocs()
	src := &repeat{msg: invite1k}
	r := NewReader(src)
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// repeat is an endless stream of one message.
type repeat struct {
	msg []byte
	at  int
}

func (r *repeat) Read(b []byte) (int, error) {
	n := copy(b, r.msg[r.at:])
	r.at = (r.at + n) % len(r.msg)
	return n, nil
}

// The figure that the choice of an own model rests on; one more is a regression worth a look.
func TestParseAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(invite1k) }); n > 5 {
		t.Errorf("%v allocations", n)
	}
	m, err := Parse(invite1k)
	if err != nil {
		t.Fatal(err)
	}
	out := m.AppendTo(nil)
	if n := testing.AllocsPerRun(100, func() { out = m.AppendTo(out[:0]) }); n > 0 {
		t.Errorf("AppendTo: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = m.TopVia(); _ = Tag(m.Get(From)); _, _ = ParseURI(m.RequestURI) }); n > 0 {
		t.Errorf("views: %v allocations", n)
	}
}
