package node_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A request is signed once: its copies are the same octets, so that fragments of different copies fit together and who has
// answered one knows the others.
//
// Conformance: C-04
func TestCopiesOfARequestAreTheSameOctets(t *testing.T) {
	l := newLone(func(c *node.Config) { c.Bootstrap = []string{"a:1"} })
	l.LinkUp(l.now, 1, trust.Identity{Node: nodeID(2), Nodes: []wire.NodeID{nodeID(2)}}, l.Take().Dial[0].Dial)
	var sent []node.Forward
	sealed := 0
	for begun := l.now; l.now.Sub(begun) < 14*time.Second; {
		e := l.Take()
		for _, s := range e.Seal {
			if s.Message.Body.Code() == wire.CodeAttachReq {
				sealed++
			}
			l.Sealed(l.now, s.Job, s.Message.AppendTo(nil), nil)
			e.Forward = append(e.Forward, l.Take().Forward...)
		}
		for _, f := range e.Forward {
			if m, err := l.Overlay().Schema().Parse(f.Raw); err == nil && m.Body.Code() == wire.CodeAttachReq {
				sent = append(sent, f)
			}
		}
		l.Receive(l.now, 1, []byte("the link is alive"))
		l.pass()
	}
	if len(sent) != 5 || sealed != 1 {
		t.Fatalf("sent %d times, signed %d times", len(sent), sealed)
	}
	for i, f := range sent {
		if !bytes.Equal(f.Raw, sent[0].Raw) || f.Link != 1 {
			t.Errorf("copy %d differs", i)
		}
	}
}
