package transaction

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// core is a sip.Handler for tests; each field may be nil.
type core struct {
	request func(sip.ServerTransaction)
	ack     func(*message.Message, location.Hop)
	cancel  func(sip.ServerTransaction, *message.Message)
	ended   func(sip.ServerTransaction)
	relay   func(res *message.Message, note []byte) bool
}

func (c *core) Relay(res *message.Message, note []byte) bool {
	return c.relay != nil && c.relay(res, note)
}

func (c *core) Request(tx sip.ServerTransaction) {
	if c.request != nil {
		c.request(tx)
	}
}

func (c *core) ACK(m *message.Message, from location.Hop) {
	if c.ack != nil {
		c.ack(m, from)
	}
}

func (c *core) Cancel(tx sip.ServerTransaction, m *message.Message) {
	if c.cancel != nil {
		c.cancel(tx, m)
	}
}

func (c *core) Ended(tx sip.ServerTransaction) {
	if c.ended != nil {
		c.ended(tx)
	}
}

// user is a sip.ClientUser that writes down what it is told.
type user struct {
	responses chan *message.Message
	failed    chan error
}

func newUser() *user {
	return &user{responses: make(chan *message.Message, 64), failed: make(chan error, 4)}
}

func (u *user) Response(m *message.Message) { u.responses <- m }
func (u *user) Failed(err error)            { u.failed <- err }

func (u *user) next(t testing.TB) *message.Message {
	t.Helper()
	return receive(t, u.responses)
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		var none T
		t.Fatal("nothing came")
		return none
	}
}

// gateway is a layer over real loopback sockets: UDP and TCP.
type gateway struct {
	*Layer
	table *flow.Table
}

func newGateway(t testing.TB, c sip.Handler) *gateway {
	t.Helper()
	any4 := netip.MustParseAddrPort("127.0.0.1:0")
	table, err := flow.New(flow.Config{Listen: []flow.Listen{{Transport: flow.UDP, Addr: any4}, {Transport: flow.TCP, Addr: any4}}})
	check(t, err)
	l := New(Config{}, table)
	l.Serve(c)
	table.Serve(l)
	t.Cleanup(func() {
		table.Close()
		l.Close()
	})
	return &gateway{l, table}
}

func (g *gateway) addr(transport string) netip.AddrPort {
	for _, a := range g.table.Listeners() {
		if a.Transport == transport {
			return a.Local
		}
	}
	return netip.AddrPort{}
}

// peer is a scripted phone on a socket of its own.
type peer struct {
	t      testing.TB
	c      net.Conn
	reader *message.Reader // of a stream
}

func (g *gateway) dial(t testing.TB, transport string) *peer {
	t.Helper()
	c, err := net.Dial(strings.ToLower(transport), g.addr(transport).String())
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetDeadline(time.Now().Add(patience)))
	p := &peer{t: t, c: c}
	if transport == flow.TCP {
		p.reader = message.NewReader(c)
	}
	return p
}

func (p *peer) send(s ...string) {
	p.t.Helper()
	_, err := p.c.Write([]byte(strings.Join(s, "")))
	check(p.t, err)
}

func (p *peer) sendMessage(m *message.Message) { p.send(string(m.AppendTo(nil))) }

func (p *peer) next() *message.Message {
	p.t.Helper()
	if p.reader != nil {
		m, _, err := p.reader.Next()
		check(p.t, err)
		return m
	}
	b := make([]byte, 65535)
	n, err := p.c.Read(b)
	check(p.t, err)
	m, err := message.Parse(b[:n])
	check(p.t, err)
	return m
}

// status reads until a response other than 100.
func (p *peer) status() int {
	p.t.Helper()
	for {
		if m := p.next(); m.StatusCode != 100 {
			return m.StatusCode
		}
	}
}

// silent reports that nothing comes: a request to a core that answers is answered first.
func (p *peer) silent() {
	p.t.Helper()
	p.send(ask{method: "OPTIONS", branch: "z9hG4bKsilent" + fmt.Sprint(time.Now().UnixNano())}.String())
	if m := p.next(); !strings.HasSuffix(m.Get(message.CSeq), "OPTIONS") {
		p.t.Fatalf("unexpected %d %s %s", m.StatusCode, m.Method, m.Get(message.CSeq))
	}
}

// ask is a request as a phone writes it.
type ask struct {
	method, branch string
	cseq           string // method when empty
	call           string
	toTag          string
	sentBy         string
	more           string // header lines
	body           string
}

func (a ask) String() string {
	if a.call == "" {
		a.call = a.branch
	}
	if a.cseq == "" {
		a.cseq = "1 " + a.method
	}
	if a.toTag != "" {
		a.toTag = ";tag=" + a.toTag
	}
	if a.sentBy == "" {
		a.sentBy = "127.0.0.1:5060"
	}
	return fmt.Sprintf("%s sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TCP %s;rport;branch=%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag=a\r\n"+
		"To: <sip:bob@example.org>%s\r\nCall-ID: %s\r\nCSeq: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		a.method, a.sentBy, a.branch, a.toTag, a.call, a.cseq, a.more, len(a.body), a.body)
}

// request is one that we send: without Via.
func request(method, call string) *message.Message {
	m := &message.Message{Method: method, RequestURI: "sip:bob@example.org"}
	m.Add(message.Via, "SIP/2.0/UDP upstream.example.org;branch=z9hG4bKup")
	m.Add(message.Route, "<sip:p1.example.org;lr>")
	m.Add(message.Route, "<sip:p2.example.org;lr>")
	m.Add(message.From, "<sip:alice@example.org>;tag=a")
	m.Add(message.To, "<sip:bob@example.org>")
	m.Add(message.CallID, call)
	m.Add(message.CSeq, "1 "+method)
	m.Add(message.MaxForwards, "69")
	return m
}

func answer(req *message.Message, status int) *message.Message {
	return message.NewResponse(req, status, "", "b")
}

func TestRFC3261_9_2_INVITEAndCANCELInOneSegmentKeepTheirOrder(t *testing.T) {
	var mu sync.Mutex
	seen, cancelled := map[sip.ServerTransaction]bool{}, 0
	c := &core{
		request: func(tx sip.ServerTransaction) {
			mu.Lock()
			defer mu.Unlock()
			seen[tx] = true
		},
		cancel: func(tx sip.ServerTransaction, m *message.Message) {
			mu.Lock()
			if seen[tx] && m.Method == "CANCEL" {
				cancelled++
			}
			mu.Unlock()
			tx.Respond(message.NewResponse(tx.Request(), 487, "", ""))
		},
	}
	g := newGateway(t, c)
	for _, tr := range []string{flow.TCP, flow.UDP} {
		p := g.dial(t, tr)
		mu.Lock()
		cancelled = 0
		mu.Unlock()
		for i := range 500 {
			b := fmt.Sprintf("z9hG4bK%s%d", tr, i)
			invite, cancel := ask{method: "INVITE", branch: b}.String(), ask{method: "CANCEL", branch: b}.String()
			if tr == flow.TCP {
				p.send(invite, cancel)
			} else {
				p.send(invite)
				p.send(cancel)
			}
			tags := map[string]string{}
			for len(tags) < 2 {
				m := p.next()
				switch cs := m.Get(message.CSeq); {
				case cs == "1 CANCEL" && m.StatusCode == 200, cs == "1 INVITE" && m.StatusCode == 487:
					tags[cs] = message.Tag(m.Get(message.To))
				default:
					t.Fatalf("%d for %s", m.StatusCode, cs)
				}
			}
			if tags["1 CANCEL"] != tags["1 INVITE"] || tags["1 INVITE"] == "" {
				t.Fatalf("To tags %v", tags)
			}
			p.send(ask{method: "ACK", branch: b, toTag: tags["1 INVITE"]}.String())
		}
		mu.Lock()
		if cancelled != 500 {
			t.Fatalf("%s: %d of 500 CANCELs came behind their INVITE", tr, cancelled)
		}
		mu.Unlock()
	}
}

func TestBurstOfResponsesKeepsItsOrder(t *testing.T) {
	g := newGateway(t, &core{})
	for _, tr := range []string{flow.TCP, flow.UDP} {
		far, hop := listen(t, tr)
		for i := range 300 {
			u := newUser()
			g.Send(request("INVITE", fmt.Sprint(tr, i)), hop, "", u)
			req := far.next()
			var all string
			for _, s := range []int{100, 181, 182, 183, 200} {
				if all += string(answer(req, s).AppendTo(nil)); tr == flow.UDP {
					far.send(all)
					all = ""
				}
			}
			if all != "" {
				far.send(all)
			}
			for _, want := range []int{181, 182, 183, 200} {
				if m := u.next(t); m.StatusCode != want {
					t.Fatalf("%s call %d: %d, want %d", tr, i, m.StatusCode, want)
				}
			}
		}
	}
}

// listen is a scripted phone that is called.
func listen(t testing.TB, transport string) (*peer, location.Hop) {
	t.Helper()
	if transport == flow.UDP {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		check(t, c.SetDeadline(time.Now().Add(patience)))
		return &peer{t: t, c: &answering{UDPConn: c}}, location.Hop{Transport: flow.UDP, Remote: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	c := &accepting{ln: ln}
	return &peer{t: t, c: c, reader: message.NewReader(c)}, location.Hop{Transport: flow.TCP, Remote: ln.Addr().(*net.TCPAddr).AddrPort()}
}

// answering writes to whom it read from last.
type answering struct {
	*net.UDPConn
	to netip.AddrPort
}

func (a *answering) Read(b []byte) (n int, err error) {
	n, a.to, err = a.ReadFromUDPAddrPort(b)
	return n, err
}

func (a *answering) Write(b []byte) (int, error) { return a.WriteToUDPAddrPort(b, a.to) }

// accepting accepts one connection at the first read.
type accepting struct {
	net.Conn
	ln net.Listener
}

func (a *accepting) Read(b []byte) (int, error) {
	if a.Conn == nil {
		c, err := a.ln.Accept()
		if err != nil {
			return 0, err
		}
		a.Conn = c
	}
	if err := a.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return a.Conn.Read(b)
}

// Feature: PRX-21
func TestRFC3261_17_1_1_3_EachCopyOfA486IsAcknowledgedAtOnceWithOneVia(t *testing.T) {
	g := newGateway(t, &core{})
	far, hop := listen(t, flow.UDP)
	u := newUser()
	g.Send(request("INVITE", "c"), hop, "z9hG4bKmine", u)
	req := far.next()
	busy := message.NewResponse(req, 486, "", "far")
	for range 3 {
		start := time.Now()
		far.sendMessage(busy)
		ack := far.next()
		if d := time.Since(start); ack.Method != "ACK" || d > time.Second {
			t.Fatalf("%s after %v", ack.Method, d)
		}
		top, _ := req.FirstValue(message.Via)
		if v := ack.Values(message.Via); len(v) != 1 || v[0] != top {
			t.Errorf("Via %q, want %q", v, top)
		}
		if v := ack.Values(message.Route); strings.Join(v, ",") != "<sip:p1.example.org;lr>,<sip:p2.example.org;lr>" {
			t.Errorf("Route %q", v)
		}
		if ack.Get(message.To) != "<sip:bob@example.org>;tag=far" || ack.Get(message.CSeq) != "1 ACK" || ack.Get(message.From) != req.Get(message.From) ||
			ack.RequestURI != req.RequestURI || ack.Get(message.CallID) != "c" || ack.Get(message.MaxForwards) != "70" {
			t.Errorf("%s", ack.AppendTo(nil))
		}
	}
	if m := u.next(t); m.StatusCode != 486 || len(u.responses) != 0 {
		t.Fatal(m.StatusCode, len(u.responses))
	}
}

func TestLate180IsNotSentBehindThe486(t *testing.T) {
	txs := make(chan sip.ServerTransaction, 1)
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) {
		if tx.Request().Method == "OPTIONS" {
			tx.Respond(answer(tx.Request(), 200))
			return
		}
		txs <- tx
	}})
	p := g.dial(t, flow.UDP)
	invite := ask{method: "INVITE", branch: "z9hG4bKlate"}.String()
	p.send(invite)
	tx := receive(t, txs)
	tx.Respond(answer(tx.Request(), 486))
	tx.Respond(answer(tx.Request(), 180))
	tx.Respond(answer(tx.Request(), 200))
	for range 3 {
		if s := p.status(); s != 486 {
			t.Fatal(s)
		}
		p.send(invite)
	}
	if s := p.status(); s != 486 {
		t.Fatal(s)
	}
	p.send(ask{method: "ACK", branch: "z9hG4bKlate", toTag: "b"}.String())
	p.silent()
	if n := g.Stats().Dropped["late_response"]; n != 2 {
		t.Fatalf("%d late responses", n)
	}
}

// Feature: PRX-07
func TestRFC3261_16_10_A200ThatCrossesTheCANCELIsRelayed(t *testing.T) {
	txs, cancels := make(chan sip.ServerTransaction, 1), make(chan string, 4)
	g := newGateway(t, &core{
		request: func(tx sip.ServerTransaction) { txs <- tx },
		cancel:  func(_ sip.ServerTransaction, m *message.Message) { cancels <- m.Method },
	})
	p := g.dial(t, flow.TCP)
	p.send(ask{method: "INVITE", branch: "z9hG4bKcross"}.String())
	tx := receive(t, txs)
	tx.Respond(answer(tx.Request(), 180))
	cancel := ask{method: "CANCEL", branch: "z9hG4bKcross"}.String()
	p.send(cancel, cancel)
	receive(t, cancels)
	tx.Respond(answer(tx.Request(), 200))
	got := ""
	for range 4 {
		m := p.next()
		got += fmt.Sprintf("%d %s, ", m.StatusCode, m.Get(message.CSeq)[2:])
	}
	// Over TCP a finished transaction is gone: the second CANCEL finds the INVITE all the same.
	if got != "180 INVITE, 200 CANCEL, 200 CANCEL, 200 INVITE, " {
		t.Fatal(got)
	}
	if len(cancels) != 0 {
		t.Fatal("told twice")
	}
}

// Feature: PRX-16 PRX-07
func TestRFC6026_Two2xxOfTwoBranchesBothReachTheCaller(t *testing.T) {
	txs := make(chan sip.ServerTransaction, 1)
	acks := make(chan *message.Message, 4)
	g := newGateway(t, &core{
		request: func(tx sip.ServerTransaction) { txs <- tx },
		ack:     func(m *message.Message, _ location.Hop) { acks <- m },
	})
	p := g.dial(t, flow.TCP)
	p.send(ask{method: "INVITE", branch: "z9hG4bKtwo"}.String())
	tx := receive(t, txs)
	var us []*user
	var fars []*peer
	for range 2 {
		far, hop := listen(t, flow.UDP)
		u := newUser()
		g.Send(request("INVITE", "two"), hop, "", u)
		fars, us = append(fars, far), append(us, u)
	}
	for i, far := range fars {
		far.sendMessage(message.NewResponse(far.next(), 200, "", fmt.Sprint("phone", i)))
		res := us[i].next(t)
		relayed := message.NewResponse(tx.Request(), 200, "", message.Tag(res.Get(message.To)))
		tx.Respond(relayed)
		if m := p.next(); m.StatusCode != 200 || message.Tag(m.Get(message.To)) != fmt.Sprint("phone", i) {
			t.Fatal(m.StatusCode, m.Get(message.To))
		}
		p.send(ask{method: "ACK", branch: "z9hG4bKack" + fmt.Sprint(i), call: "two", toTag: fmt.Sprint("phone", i)}.String())
		if a := receive(t, acks); message.Tag(a.Get(message.To)) != fmt.Sprint("phone", i) {
			t.Fatal(a.Get(message.To))
		}
	}
}

// Feature: PRX-16
func TestRFC6026_7_2_RetransmittedAndFurther2xxArePassed(t *testing.T) {
	txs := make(chan sip.ServerTransaction, 1)
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { txs <- tx }, relay: relay})
	near := g.dial(t, flow.UDP)
	near.send(ask{method: "INVITE", branch: "z9hG4bKnear"}.String())
	far, hop := listen(t, flow.UDP)
	g.Send(request("INVITE", "again"), hop, "", &pair{tx: receive(t, txs)})
	req := far.next()
	for _, tag := range []string{"x", "x", "y"} {
		far.sendMessage(message.NewResponse(req, 200, "", tag))
		if m := near.next(); m.StatusCode != 200 || message.Tag(m.Get(message.To)) != tag {
			t.Fatal(m.StatusCode, m.Get(message.To))
		}
	}
	ack := request("ACK", "again")
	check(t, g.SendStateless(ack, hop, ""))
	if m := far.next(); m.Method != "ACK" || len(m.Values(message.Via)) != 2 {
		t.Fatal(m.Method)
	}
}

// Feature: PRX-16
func TestRFC6026_7_3_StrayResponsesAreDropped(t *testing.T) {
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }})
	p := g.dial(t, flow.UDP)
	m, err := message.Parse([]byte(ask{method: "INVITE", branch: "z9hG4bKnobody"}.String()))
	check(t, err)
	p.sendMessage(answer(m, 200))
	p.silent()
	if n := g.Stats().Dropped["stray_response"]; n != 1 {
		t.Fatal(n)
	}
}

func TestRFC3261_8_2_2_2_MergedRequestGets482(t *testing.T) {
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { tx.Trying() }})
	p := g.dial(t, flow.UDP)
	p.send(ask{method: "INVITE", branch: "z9hG4bKpath1", call: "m"}.String())
	if m := p.next(); m.StatusCode != 100 {
		t.Fatal(m.StatusCode)
	}
	for _, same := range []struct {
		a    ask
		want int
	}{
		{ask{method: "INVITE", branch: "z9hG4bKpath2", call: "m"}, 482},
		{ask{method: "INVITE", branch: "z9hG4bKpath2", call: "m"}, 482},
		{ask{method: "INVITE", branch: "z9hG4bKpath3", call: "m", toTag: "dialog"}, 100},
		{ask{method: "INVITE", branch: "z9hG4bKpath4", call: "m", cseq: "2 INVITE"}, 100},
		{ask{method: "INVITE", branch: "z9hG4bKpath1", call: "m", sentBy: "127.0.0.1:5062"}, 100},
	} {
		p.send(same.a.String())
		if m := p.next(); m.StatusCode != same.want {
			t.Errorf("%+v: %d", same.a, m.StatusCode)
		}
	}
}

func TestRequestWithTheSameCSeqBehindAChallengeIsServed(t *testing.T) {
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 401)) }})
	p := g.dial(t, flow.UDP)
	for _, branch := range []string{"z9hG4bKa", "z9hG4bKb"} {
		p.send(ask{method: "REGISTER", branch: branch, call: "same"}.String())
		if s := p.status(); s != 401 {
			t.Fatal(s)
		}
	}
}

func TestRFC3261_17_2_3_RFC2543BranchIsMatched(t *testing.T) {
	requests := make(chan sip.ServerTransaction, 8)
	ended := make(chan sip.ServerTransaction, 8)
	g := newGateway(t, &core{
		request: func(tx sip.ServerTransaction) {
			requests <- tx
			tx.Respond(answer(tx.Request(), 404))
		},
		ended: func(tx sip.ServerTransaction) { ended <- tx },
		ack:   func(*message.Message, location.Hop) { t.Error("the ACK was not absorbed") },
	})
	p := g.dial(t, flow.UDP)
	for _, branch := range []string{"1", ""} {
		old := func(a ask) string {
			s := a.String()
			if branch == "" {
				s = strings.Replace(s, ";branch=", ";x=", 1)
			}
			return s
		}
		invite := old(ask{method: "INVITE", branch: branch, call: "old" + branch})
		p.send(invite)
		p.status()
		p.send(invite)
		p.status()
		p.send(old(ask{method: "ACK", branch: branch, call: "old" + branch, toTag: "b"}))
		if receive(t, ended) != receive(t, requests) || len(requests) != 0 {
			t.Fatal("not one transaction")
		}
	}
}

func TestRFC3261_9_2_CANCELOfNothingGets481(t *testing.T) {
	g := newGateway(t, &core{cancel: func(sip.ServerTransaction, *message.Message) { t.Error("told") }})
	p := g.dial(t, flow.UDP)
	cancel := ask{method: "CANCEL", branch: "z9hG4bKnone"}.String()
	p.send(cancel)
	first := p.next()
	p.send(cancel)
	if second := p.next(); first.StatusCode != 481 || string(first.AppendTo(nil)) != string(second.AppendTo(nil)) {
		t.Fatalf("%d, %d", first.StatusCode, second.StatusCode)
	}
}

// Feature: PRX-06
func TestRFC3261_9_1_CANCELWaitsForAProvisionalResponse(t *testing.T) {
	g := newGateway(t, &core{})
	far, hop := listen(t, flow.UDP)
	u := newUser()
	tx := g.Send(request("INVITE", "c"), hop, "", u)
	tx.Cancel(`SIP;cause=200;text="Call completed elsewhere"`)
	tx.Cancel("")
	req := far.next()
	far.sendMessage(answer(req, 100))
	c := far.next()
	for c.Method == "INVITE" { // a slow machine has retransmitted
		c = far.next()
	}
	top, _ := req.FirstValue(message.Via)
	if c.Method != "CANCEL" || c.RequestURI != req.RequestURI || c.Get(message.Via) != top || len(c.Values(message.Via)) != 1 ||
		c.Get(message.To) != req.Get(message.To) || c.Get(message.From) != req.Get(message.From) || c.Get(message.CSeq) != "1 CANCEL" ||
		len(c.Values(message.Route)) != 2 || c.Get(message.ReasonHeader) != `SIP;cause=200;text="Call completed elsewhere"` {
		t.Fatalf("%s", c.AppendTo(nil))
	}
	far.sendMessage(answer(c, 200))
	far.sendMessage(answer(req, 487))
	if m := u.next(t); m.StatusCode != 487 {
		t.Fatal(m.StatusCode)
	}
	if a := far.next(); a.Method != "ACK" {
		t.Fatal(a.Method)
	}
}

func TestLargeResponseOverUDPIsDelivered(t *testing.T) {
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) {
		res := answer(tx.Request(), 200)
		res.Body = []byte(strings.Repeat("x", 20000))
		tx.Respond(res)
	}})
	p := g.dial(t, flow.UDP)
	p.send(ask{method: "OPTIONS", branch: "z9hG4bKbig"}.String())
	if m := p.next(); len(m.Body) != 20000 {
		t.Fatal(len(m.Body))
	}
}

func TestRetransmissionFromANewPortIsAnsweredThere(t *testing.T) {
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }})
	register := ask{method: "REGISTER", branch: "z9hG4bKmoved"}.String()
	for range 2 {
		p := g.dial(t, flow.UDP)
		p.send(register)
		if s := p.status(); s != 200 {
			t.Fatal(s)
		}
	}
	if n := g.Stats().Started["non_invite_server"]; n != 1 {
		t.Fatalf("%d transactions", n)
	}
}

func TestClosedConnectionFailsItsClientTransactions(t *testing.T) {
	g := newGateway(t, &core{})
	far, hop := listen(t, flow.TCP)
	u := newUser()
	g.Send(request("INVITE", "gone"), hop, "", u)
	req := far.next()
	far.sendMessage(answer(req, 180))
	u.next(t)
	check(t, far.c.Close())
	if err := receive(t, u.failed); !errors.Is(err, sip.ErrTransport) {
		t.Fatal(err)
	}
	// Nobody listens there any more, or never did.
	check(t, far.c.(*accepting).ln.Close())
	g.Send(request("OPTIONS", "refused"), hop, "", u)
	if err := receive(t, u.failed); !errors.Is(err, sip.ErrTransport) {
		t.Fatal(err)
	}
	g.Send(request("OPTIONS", "no socket"), location.Hop{Transport: flow.UDP, Remote: netip.MustParseAddrPort("[::1]:5060")}, "", u)
	if err := receive(t, u.failed); !errors.Is(err, sip.ErrTransport) {
		t.Fatal(err)
	}
}

func TestRFC3261_17_2_3_SentByTellsClientsWithTheSameBranchApart(t *testing.T) {
	seen := make(chan string, 4)
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) {
		via, _ := tx.Request().TopVia()
		seen <- fmt.Sprint(via.Port)
		tx.Respond(answer(tx.Request(), 200))
	}})
	p := g.dial(t, flow.UDP)
	for _, by := range []string{"127.0.0.1:5062", "127.0.0.1:5064"} {
		for range 2 {
			p.send(ask{method: "REGISTER", branch: "z9hG4bKtwin", call: "twin", sentBy: by}.String())
			p.status()
		}
		if got := receive(t, seen); !strings.HasSuffix(by, got) || len(seen) != 0 {
			t.Fatal(got, len(seen))
		}
	}
}

func TestConnectionKeepsNothingOfAFinishedTransaction(t *testing.T) {
	g := newGateway(t, &core{})
	far, hop := listen(t, flow.TCP)
	defer func() { _ = far.c.Close() }() // else the collector closes the connection
	u := newUser()
	tx := weak.Make(g.Send(request("OPTIONS", "c"), hop, "", u).(*clientTx))
	far.sendMessage(answer(far.next(), 200))
	u.next(t)
	for end := time.Now().Add(patience); tx.Value() != nil; time.Sleep(time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatal("the transaction is still held")
		}
	}
}

func TestDrain(t *testing.T) {
	txs := make(chan sip.ServerTransaction, 4)
	g := newGateway(t, &core{request: func(tx sip.ServerTransaction) { txs <- tx }})
	p := g.dial(t, flow.TCP)
	p.send(ask{method: "OPTIONS", branch: "z9hG4bKone"}.String())
	begun := receive(t, txs)
	g.StopAccepting()
	p.send(ask{method: "INVITE", branch: "z9hG4bKnew"}.String())
	if m := p.next(); m.StatusCode != 503 || m.Get(message.RetryAfter) == "" {
		t.Fatal(m.StatusCode)
	}
	p.send(ask{method: "BYE", branch: "z9hG4bKbye", toTag: "x"}.String())
	bye := receive(t, txs)
	done := make(chan error)
	go func() { done <- g.Drain(t.Context()) }()
	for _, tx := range []sip.ServerTransaction{bye, begun} {
		tx.Respond(answer(tx.Request(), 200))
		p.status()
	}
	check(t, receive(t, done))
}
