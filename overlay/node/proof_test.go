package node_test

import (
	"bytes"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// TestRFC6940_6_3_2_TransactionIDsAreRandom looks at the Transaction IDs of many requests: "a unique 64-bit number that
// identifies this transaction and also allows receivers to disambiguate transactions that are otherwise identical".
//
// Conformance: B-06
func TestRFC6940_6_3_2_TransactionIDsAreRandom(t *testing.T) {
	l := newLone(func(c *node.Config) { c.First = true })
	l.Take()
	const draws = 2000
	seen := make(map[wire.TransactionID]bool)
	var ones [64]int
	last := wire.TransactionID(0)
	near := 0
	for range draws {
		l.Do(l.now, node.OpPing{Destinations: wire.NewDestinationList(wire.ToNode(nodeID(1)))})
		tx := l.Take().Seal[0].Message.Header.Transaction
		seen[tx] = true
		for b := range ones {
			ones[b] += int(tx >> b & 1)
		}
		if bits.LeadingZeros64(uint64(tx^last)) > 20 {
			near++
		}
		last = tx
	}
	if len(seen) != draws {
		t.Errorf("%d different IDs of %d", len(seen), draws)
	}
	for b, n := range ones {
		if n < draws*2/5 || n > draws*3/5 {
			t.Errorf("bit %d is set in %d of %d", b, n, draws)
		}
	}
	if near > draws/100 {
		t.Errorf("%d of %d begin like the one before", near, draws)
	}
}

// Conformance: B-45
func TestRFC6940_6_5_3_PingAnswerHoldsANumberAndTheTime(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	ids := make(map[uint64]bool)
	for _, size := range []int{0, 1, 1000, 60000} {
		ans := client.Call(client.Message(&wire.PingReq{Padding: bytes.Repeat([]byte{0xff}, size)}, toHost(w.Host(0))))
		if ans == nil {
			t.Fatalf("padding of %d octets: silence", size)
		}
		body := ans.Body.(*wire.PingAns)
		ids[body.ResponseID] = true
		at := time.UnixMilli(int64(body.Time))
		if d := w.Now().Sub(at); d < 0 || d > 20*time.Millisecond {
			t.Errorf("padding of %d octets: the answer's time is %v ago", size, d)
		}
	}
	if len(ids) != 4 || ids[0] {
		t.Errorf("response IDs %v", ids)
	}
}

// Conformance: B-47
func TestRFC6940_6_4_2_5_ProbeCountsResourcesAndSeconds(t *testing.T) {
	w := ring(t, 1)
	h := w.Host(0)
	client := w.NewClient(h)
	probe := func() [2]uint32 {
		ans := client.Call(client.Message(&wire.ProbeReq{Requested: []uint8{2, 3}}, toHost(h)))
		if ans == nil {
			t.Fatal("silence")
		}
		info := ans.Body.(*wire.ProbeAns).Info
		if len(info) != 2 || info[0].Type != 2 || info[1].Type != 3 {
			t.Fatalf("%+v", info)
		}
		return [2]uint32{info[0].Value, info[1].Value}
	}
	if got := probe(); got[0] != 0 {
		t.Errorf("%d resources before any was stored", got[0])
	}
	alice, bob := w.NewRecord("alice", h), w.NewRecord("bob", h)
	store(t, w, alice)
	store(t, w, alice)
	store(t, w, bob)
	before := probe()
	if before[0] != 2 {
		t.Errorf("%d resources, want 2: a resource with two versions counts once", before[0])
	}
	w.Run(90 * time.Second)
	if after := probe(); after[1]-before[1] < 90 || after[1]-before[1] > 91 {
		t.Errorf("uptime %d s, and %d s when 90 s had passed", before[1], after[1])
	}
}

// TestRFC6940_6_2_2_AnswerDetoursWhenTheWayBackIsCut cuts the link that a request came over while its answer is made. The
// hop is the predecessor of who answers, or its second successor.
//
// Conformance: C-25
func TestRFC6940_6_2_2_AnswerDetoursWhenTheWayBackIsCut(t *testing.T) {
	for _, at := range []int{7, 2} {
		var w *sim.World
		var hop, dest *sim.Host
		var passed []int // hosts that the answer came to
		cut := false
		w = ring(t, 8, func(c *sim.Config) {
			c.Crypto = 2 * time.Millisecond
			c.Trace = func(s sim.Step) {
				switch {
				case hop == nil || s.Input != "receive":
				case s.Code == wire.CodeAppAttachReq && s.Host == dest.Index && !cut:
					cut = true
					w.After(0, func() { w.Cut(hop.Index, dest.Index) })
				case s.Code == wire.CodeAppAttachAns:
					passed = append(passed, s.Host)
				}
			}
		})
		w.Run(3 * time.Second) // until who has just joined reaches for all that is its own
		hosts := byID(w)
		from := hosts[4]
		dest, hop = hosts[0], hosts[at]
		begun := w.Now()
		d := do(t, w, from, node.OpAppAttach{Application: wire.ApplicationSIP,
			Destinations: wire.NewDestinationList(toHost(hop), toHost(dest))})
		if d.Answer.Message() == nil || !cut {
			t.Fatalf("hop %d: %+v; cut: %v", at, d, cut)
		}
		if took := w.Now().Sub(begun); took > time.Second {
			t.Errorf("hop %d: the answer took %v: it was lost, and the request was sent again", at, took)
		}
		if len(passed) == 0 || passed[0] == hop.Index || passed[len(passed)-1] != from.Index {
			t.Errorf("hop %d: the answer went to %v; the link to %d was cut", at, passed, hop.Index)
		}
	}
}

// TestRFC6940_10_5_UnreachableNeighborDelaysTheJoin keeps a joining node and a neighbour of it from making a link: "The
// Joining Node MUST NOT send any Update message placing itself in the overlay until it has successfully completed an
// Attach with each peer that should be in its Neighbor Table." It is tried twice, and then left out.
//
// Conformance: E-09
func TestRFC6940_10_5_UnreachableNeighborDelaysTheJoin(t *testing.T) {
	var w *sim.World
	var jn, apart *sim.Host
	var asked, first time.Duration // when the neighbour was asked for the last time, and when jn spoke as a peer
	attaches, linkedThen := 0, 0
	w = ring(t, 8, func(c *sim.Config) {
		c.Trace = func(s sim.Step) {
			switch {
			case jn == nil || s.From != jn.Index || s.Input != "receive":
			case s.Code == wire.CodeJoinReq || s.Code == wire.CodeUpdateReq:
				if first == 0 {
					first, linkedThen = s.At, len(jn.Status().Links)
				}
			}
		}
	})
	hosts := byID(w)
	id := hosts[2].ID.Array16()
	id[15]--
	jn = w.AddHostAt(id)
	apart = hosts[3] // the second successor to be
	apart.Tamper = func(m *wire.Message) {
		if m.Body.Code() == wire.CodeAttachAns {
			attaches++
			asked = w.Elapsed()
		}
	}
	w.Part(jn, apart)
	begun := w.Elapsed()
	jn.Start(false)
	if err := w.Settle(time.Minute); err != nil {
		t.Fatal(err)
	}
	if attaches < 2 || first < asked {
		t.Errorf("asked %d times, the last time after %v; Join or Update after %v", attaches, asked-begun, first-begun)
	}
	if first-begun < 15*time.Second || first-begun > 35*time.Second {
		t.Errorf("Join or Update after %v: two attempts take 20 s", first-begun)
	}
	if linkedThen < 5 {
		t.Errorf("it had %d links then, of 6 neighbours of which one cannot be reached", linkedThen)
	}
}

// TestRFC6940_10_6_AttachGoesThroughTheTeacher has a peer hear of a neighbour: "it MUST source-route the Attach request
// through the peer from which it learned the new peer's Node-ID".
//
// Conformance: E-13
func TestRFC6940_10_6_AttachGoesThroughTheTeacher(t *testing.T) {
	w := ring(t, 3)
	teacher, other := w.NewClient(w.Host(0)), w.NewClient(w.Host(1))
	learned, _ := wire.NodeIDFromBytes(bytes.Repeat([]byte{7}, 16))
	u := &wire.UpdateReq{Uptime: 1, Type: wire.ChordNeighbors, Successors: []wire.NodeID{learned}}
	if got := code(teacher.Call(teacher.Message(u, toHost(w.Host(0))))); got != wire.CodeUpdateAns {
		t.Fatal(got)
	}
	w.Run(100 * time.Millisecond)
	attach := func(m *wire.Message) bool {
		last, _ := m.Header.Destinations.Last()
		return m.Body.Code() == wire.CodeAttachReq && last == wire.ToNode(learned)
	}
	i := slices.IndexFunc(teacher.Got, attach)
	if i < 0 {
		t.Fatal("no Attach came to the teacher")
	}
	if want := wire.NewDestinationList(toHost(teacher.Host), wire.ToNode(learned)); !bytes.Equal(teacher.Got[i].Header.Destinations, want) {
		t.Errorf("Destination List %x, want %x", teacher.Got[i].Header.Destinations, want)
	}
	if slices.ContainsFunc(other.Got, attach) {
		t.Error("an Attach went another way as well")
	}
}
