package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// loss is what Updates one that loses a neighbour, or a predecessor, sends.
type loss struct {
	told   map[int]map[int]bool // whom each host sent an Update, by the indices
	links  map[int][]int        // with whom each host was linked
	hosts  []*sim.Host          // in the order of the ring, from the victim on
	client *sim.Client          // of hosts[1]
	got    int                  // Updates that the client got
}

// lose kills a peer of a ring of twelve and watches for less than a second.
func lose(t *testing.T, reactive bool) *loss {
	t.Helper()
	x := &loss{told: make(map[int]map[int]bool), links: make(map[int][]int)}
	watching := false
	w := ring(t, 12, func(c *sim.Config) {
		c.Overlay = sim.Overlay()
		c.Overlay.ChordReactive = reactive
		c.Trace = func(s sim.Step) {
			if watching && s.Input == "receive" && s.Code == wire.CodeUpdateReq && s.From >= 0 && s.Host >= 0 {
				if x.told[s.From] == nil {
					x.told[s.From] = make(map[int]bool)
				}
				x.told[s.From][s.Host] = true
			}
		}
	})
	x.hosts = byID(w)
	x.client = w.NewClient(x.hosts[1])
	index := make(map[wire.NodeID]int)
	for _, h := range x.hosts {
		index[h.ID] = h.Index
	}
	for _, h := range x.hosts {
		for _, l := range h.Status().Links {
			if i, ok := index[l.Peer]; ok && i != x.hosts[0].Index && !slices.Contains(x.links[h.Index], i) {
				x.links[h.Index] = append(x.links[h.Index], i)
			}
		}
	}
	before := updates(x.client)
	watching = true
	w.Kill(x.hosts[0].Index, sim.Crash)
	w.Run(500 * time.Millisecond)
	x.got = updates(x.client) - before
	return x
}

// updates counts the Updates that a client got.
func updates(c *sim.Client) (n int) {
	for _, m := range c.Got {
		if m.Body.Code() == wire.CodeUpdateReq {
			n++
		}
	}
	return n
}

// missed lists those linked with host i of the ring that it has not told.
func (x *loss) missed(i int) (out []int) {
	h := x.hosts[i].Index
	for _, l := range x.links[h] {
		if !x.told[h][l] {
			out = append(out, l)
		}
	}
	return out
}

// neighbors are the hosts, as indices of hosts, that had the victim in their Neighbor Table.
var neighbors = []int{1, 2, 3, 9, 10, 11}

// TestRFC6940_10_7_3_ReactiveRecoveryTellsEveryLink kills a peer: "if the Neighbor Table changes and the peer is using
// reactive recovery, the peer MUST send an Update request to each member of its Connection Table".
//
// Conformance: E-16 E-17
func TestRFC6940_10_7_3_ReactiveRecoveryTellsEveryLink(t *testing.T) {
	x := lose(t, true)
	for _, i := range neighbors {
		if missed := x.missed(i); len(missed) > 0 {
			t.Errorf("the one %d after the victim has not told %v of %v", i, missed, x.links[x.hosts[i].Index])
		}
	}
	if x.got == 0 {
		t.Error("the client of the successor was not told")
	}
	x = lose(t, false)
	for _, i := range neighbors[1:] { // whose range is what it was
		if told := x.told[x.hosts[i].Index]; len(told) > 0 {
			t.Errorf("without reactive recovery, the one %d after the victim has told %v", i, told)
		}
	}
}

// TestRFC6940_10_7_3_ChangeOfRangeIsToldToEveryLink kills a predecessor in a ring without reactive recovery: "When a peer
// discovers that its range of responsible IDs has changed, it MUST send an Update to all entries in its Connection Table."
//
// Conformance: E-17
func TestRFC6940_10_7_3_ChangeOfRangeIsToldToEveryLink(t *testing.T) {
	x := lose(t, false)
	if missed := x.missed(1); len(missed) > 0 || len(x.links[x.hosts[1].Index]) < 6 {
		t.Errorf("the successor has not told %v of %v", missed, x.links[x.hosts[1].Index])
	}
	if x.got == 0 {
		t.Error("the client of the successor was not told")
	}
}

// TestRFC6940_10_7_2_LostFingerIsLookedFor kills the only finger of an interval: "If using reactive recovery, the peer MUST
// initiate a search for a new Finger Table entry".
//
// Conformance: E-24
func TestRFC6940_10_7_2_LostFingerIsLookedFor(t *testing.T) {
	for _, reactive := range []bool{true, false} {
		o := sim.Overlay()
		w := sim.New(sim.Config{Seed: 11, Peers: 40, Links: -1, MaxDelay: 3 * time.Millisecond, Overlay: o})
		w.Start(2 * time.Second)
		w.Run(2 * time.Second)
		if err := w.Settle(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		w.Run(10 * time.Second)
		if err := w.Check(nil); err != nil {
			t.Fatal(err)
		}
		o.ChordReactive = reactive
		h, finger, i := loneFinger(t, w)
		at := chord.New(h.ID).FingerStart(i).Resource()
		searches := 0
		h.Tamper = func(m *wire.Message) {
			if last, _ := m.Header.Destinations.Last(); m.Body.Code() == wire.CodeAttachReq && last == wire.ToResource(at) {
				searches++
			}
		}
		w.Kill(finger.Index, sim.Crash)
		w.Run(time.Second)
		if slices.Contains(h.Status().Fingers, finger.ID) {
			t.Errorf("reactive %v: the failed finger is still in the table", reactive)
		}
		if (searches > 0) != reactive {
			t.Errorf("reactive %v: %d searches from where the finger's interval begins", reactive, searches)
		}
	}
}

// loneFinger finds a host that knows one peer only in the interval of its i'th finger.
func loneFinger(t *testing.T, w *sim.World) (h, finger *sim.Host, i int) {
	t.Helper()
	for _, h := range w.Hosts() {
		s := h.Status()
		for _, f := range s.Fingers {
			r := chord.New(h.ID)
			for _, id := range slices.Concat(s.Predecessors, s.Successors, s.Fingers) {
				if id != f {
					r.Add(id)
				}
			}
			d := chord.PointOf(f).Sub(chord.PointOf(h.ID))
			i := 1
			for d.Less(chord.Power(chord.Bits - i)) {
				i++
			}
			if i <= chord.FingerGoal && !r.FingerSettled(i) {
				k := slices.IndexFunc(w.Hosts(), func(o *sim.Host) bool { return o.ID == f })
				return h, w.Host(k), i
			}
		}
	}
	t.Fatal("every interval has several peers")
	return nil, nil, 0
}
