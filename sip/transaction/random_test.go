package transaction

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// TestRandomTraffic throws everything at a layer in any order: nothing panics, every transaction ends, each user hears at most one
// final word, in particular nothing behind Failed.
func TestRandomTraffic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var txs []sip.ServerTransaction
		ended := map[sip.ServerTransaction]int{}
		var mu sync.Mutex // calls of different transactions may come at once
		c := &core{ended: func(tx sip.ServerTransaction) {
			mu.Lock()
			defer mu.Unlock()
			ended[tx]++
		}}
		c.request = func(tx sip.ServerTransaction) { txs = append(txs, tx) }
		type sent struct {
			tx  sip.ClientTransaction
			req *message.Message
		}
		var clients []sent
		var users []*counting
		virtual(t, Config{}, c, func(l *Layer, w *wire) {
			hops := []location.Hop{udpHop, tcpHop}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				hop := rapid.SampledFrom(hops).Draw(rt, "hop")
				branch := rapid.SampledFrom([]string{"z9hG4bK1", "z9hG4bK2", "old"}).Draw(rt, "branch")
				method := rapid.SampledFrom([]string{"INVITE", "OPTIONS", "ACK", "CANCEL"}).Draw(rt, "method")
				status := rapid.SampledFrom([]int{100, 180, 200, 302, 408, 486, 603}).Draw(rt, "status")
				w.fail(rapid.SampledFrom([]error{nil, nil, nil, flow.ErrClosed}).Draw(rt, "error"))
				switch rapid.IntRange(0, 6).Draw(rt, "what") {
				case 0:
					l.Deliver(parse(ask{method: method, branch: branch}), hop)
				case 1:
					if len(txs) > 0 {
						tx := rapid.SampledFrom(txs).Draw(rt, "server")
						tx.Respond(answer(tx.Request(), status))
					}
				case 2:
					if method == "INVITE" || method == "OPTIONS" {
						u := &counting{}
						users = append(users, u)
						tx := l.Send(request(method, branch), hop, "", u)
						clients = append(clients, sent{tx, w.latest()})
					}
				case 3:
					if len(clients) > 0 {
						l.Deliver(answer(rapid.SampledFrom(clients).Draw(rt, "client").req, status), hop)
					}
				case 4:
					if len(clients) > 0 {
						rapid.SampledFrom(clients).Draw(rt, "client").tx.Cancel("")
					}
				case 5:
					if len(clients) > 0 {
						tx := rapid.SampledFrom(clients).Draw(rt, "client").tx
						tx.(*clientTx).SendFailed(flow.ErrClosed)
					}
				default:
					time.Sleep(time.Duration(rapid.IntRange(0, 40000).Draw(rt, "ms")) * time.Millisecond)
				}
				synctest.Wait()
			}
		})
		for _, u := range users {
			if u.wrong != "" {
				rt.Fatal(u.wrong)
			}
		}
		for _, tx := range txs {
			if ended[tx] != 1 {
				rt.Fatalf("%s ended %d times", tx.Request().Method, ended[tx])
			}
		}
	})
}

// counting is a user that checks what it is told.
type counting struct {
	final int
	over  bool
	wrong string
}

func (c *counting) Response(m *message.Message) {
	switch {
	case c.over:
		c.wrong = fmt.Sprintf("%d behind Failed", m.StatusCode)
	case m.StatusCode == 100:
		c.wrong = "100"
	case c.final >= 300, c.final >= 200 && m.StatusCode/100 != 2:
		c.wrong = fmt.Sprintf("%d behind %d", m.StatusCode, c.final)
	}
	if m.StatusCode >= 200 {
		c.final = m.StatusCode
	}
}

func (c *counting) Failed(error) {
	if c.over || c.final != 0 {
		c.wrong = "failed too late"
	}
	c.over = true
}

// FuzzDeliver gives a layer whatever the reader lets through.
func FuzzDeliver(f *testing.F) {
	for _, a := range []ask{{method: "INVITE", branch: "z9hG4bK1"}, {method: "ACK", branch: "1"}, {method: "CANCEL"}, {method: "OPTIONS", toTag: "x"}} {
		f.Add([]byte(a.String()))
	}
	f.Add(answer(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), 200).AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := message.Parse(b)
		if err != nil {
			return
		}
		c := &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 486)) }}
		l := New(Config{}, nowhere{})
		l.Serve(c)
		defer l.Close()
		l.Deliver(m.Clone(), udpHop)
		l.Deliver(m, udpHop)
		if m.IsRequest() && m.Method != "ACK" {
			if n := l.Stats().Started; n["invite_server"]+n["non_invite_server"] != 1 {
				t.Fatalf("a request and its copy are %v transactions", n)
			}
		}
	})
}
