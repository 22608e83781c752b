package node_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// tuned makes the overlay of a world a self-tuning one.
func tuned(c *sim.Config) {
	c.Overlay, c.Links = config.WithSelfTuning(sim.Overlay()), -1
}

// bornTuned is a settled self-tuning ring of n, which has gone on for a while.
func bornTuned(t *testing.T, n int, age time.Duration) *sim.World {
	t.Helper()
	c := sim.Config{Seed: 5, Peers: n, MaxDelay: 3 * time.Millisecond, Crypto: -1} // what is sealed is sealed at once
	tuned(&c)
	w := sim.New(c)
	w.Born()
	w.Run(age)
	if err := w.Check(nil); err != nil {
		t.Fatal(err)
	}
	return w
}

// said is one request that a host has made.
type said struct {
	at     time.Duration
	from   *sim.Host
	to     wire.NodeID
	body   wire.Body
	tuning *wire.SelfTuningData
	m      *wire.Message
}

// overhear lists the requests of some methods that the hosts make from now on.
func overhear(w *sim.World, codes ...wire.MessageCode) *[]said {
	out := new([]said)
	for _, h := range w.Hosts() {
		h.Tamper = func(m *wire.Message) {
			last, _ := m.Header.Destinations.Last()
			if slices.Contains(codes, m.Body.Code()) {
				d, _ := m.SelfTuning()
				*out = append(*out, said{at: w.Elapsed(), from: h, to: last.Node, body: m.Body, tuning: d, m: m})
			}
		}
	}
	return out
}

// TestRFC7363_5_2_PeriodicUpdatesToTheNextOnEitherSide: "each peer only sends a periodic Update request to its first predecessor and
// first successor on the Chord ring; it MUST NOT send Update requests to others. [...] The type of the Update request MUST be
// 'neighbors'." And §6.5: "a peer selects number-of-peers-to-probe random peers from its finger table and send each of them a Probe
// request", with the extension, which is not critical.
//
// Conformance: J-03 J-12
func TestRFC7363_5_2_PeriodicUpdatesToTheNextOnEitherSide(t *testing.T) {
	for _, peers := range []int{2, 10} {
		w := bornTuned(t, peers, time.Minute)
		heard := overhear(w, wire.CodeUpdateReq, wire.CodeProbeReq)
		w.Run(5 * time.Minute)
		type period struct {
			from *sim.Host
			at   time.Duration
		}
		updates, probes := make(map[period][]wire.NodeID), make(map[period][]wire.NodeID)
		for _, s := range *heard {
			p := period{s.from, s.at}
			switch b := s.body.(type) {
			case *wire.UpdateReq:
				if b.Type != wire.ChordNeighbors {
					t.Errorf("Update of type %d in a ring at rest", b.Type)
				}
				updates[p] = append(updates[p], s.to)
			case *wire.ProbeReq:
				if s.tuning == nil || s.m.Extensions[0].Critical || s.tuning.NetworkSize < 1 {
					t.Errorf("self_tuning_data %+v", s.m.Extensions)
				}
				probes[p] = append(probes[p], s.to)
			}
		}
		if len(updates) < 2*peers || len(updates) > 20*peers {
			t.Errorf("%d periods of %d peers in 5 minutes", len(updates), peers)
		}
		for p, got := range updates {
			s := p.from.Status()
			want := []wire.NodeID{s.Successors[0], s.Predecessors[0]}
			if peers == 2 {
				want = want[:1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("host %d told %v, want %v", p.from.Index, got, want)
			}
			asked := probes[p]
			slices.SortFunc(asked, wire.NodeID.Compare)
			if len(slices.Compact(asked)) != min(peers-1, config.DefaultPeersToProbe) {
				t.Errorf("host %d asked %v", p.from.Index, asked)
			}
		}
	}
}

// TestRFC7363_5_RecoveryIsPeriodic: a peer that dies has nobody sent an Update before the period ends: "the periodic recovery
// strategy is used". The first successor and the predecessor have closed the gap by themselves.
//
// Conformance: J-02
func TestRFC7363_5_RecoveryIsPeriodic(t *testing.T) {
	w := bornTuned(t, 30, 5*time.Minute)
	quiet := func() bool { // no period ends soon
		heard := overhear(w, wire.CodeUpdateReq)
		w.Run(2 * time.Second)
		return len(*heard) == 0
	}
	for !quiet() {
	}
	hosts := byID(w)
	heard := overhear(w, wire.CodeUpdateReq)
	w.Kill(hosts[4].Index, sim.Crash)
	w.Run(time.Second)
	type turn struct {
		from *sim.Host
		at   time.Duration
	}
	turns := make(map[turn]int)
	for _, s := range *heard {
		if s.body.(*wire.UpdateReq).Type != wire.ChordPeerReady {
			turns[turn{s.from, s.at}]++
		}
	}
	for p, n := range turns { // whose period has ended just now tells two
		if n != 2 || len(turns) > 6 {
			t.Errorf("host %d sent %d Updates at %v, in all %d did", p.from.Index, n, p.at, len(turns))
		}
	}
	if s := hosts[3].Status().Successors; s[0] != hosts[5].ID {
		t.Errorf("successor %s", s[0].Short())
	}
	w.Run(3 * time.Minute)
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// TestRFC7363_5_1_ListsOfOtherLengths: "If a peer receives more entries than fit [...], the peer MUST ignore the extra entries."
// And fewer are used "to update only a subset of the entries [...]. The rest of the successors will remain intact."
//
// Conformance: J-04
func TestRFC7363_5_1_ListsOfOtherLengths(t *testing.T) {
	w := bornTuned(t, 40, 3*time.Minute)
	h := w.Host(0)
	lists := h.Status().Tuning.Lists
	at := chord.PointOf(h.ID)
	near := func(k uint64) wire.NodeID { // the k'th of many nodes that are nearer than any other
		id, _ := wire.NodeIDFromBytes([]byte(at.Add(chord.Point{}).Add(point64(k)).Resource()))
		return id
	}
	c := w.NewClientAt(near(1).Array16(), h)
	var many []wire.NodeID
	for k := range uint64(20) {
		many = append(many, near(20-k+1)) // in no useful order
	}
	heard := overhear(w, wire.CodeAttachReq)
	c.Call(c.Message(&wire.UpdateReq{Type: wire.ChordNeighbors, Successors: many}, toHost(h)))
	w.Run(100 * time.Millisecond)
	var sought []wire.NodeID
	for _, s := range *heard {
		if s.from == h && slices.Contains(many, s.to) {
			sought = append(sought, s.to)
		}
	}
	slices.SortFunc(sought, wire.NodeID.Compare)
	sought = slices.Compact(sought)
	if len(sought) != lists-1 || slices.Contains(sought, near(uint64(lists)+1)) || !slices.Contains(sought, near(2)) {
		t.Errorf("lists of %d: %d of 20 were attached to: %v", lists, len(sought), short(sought))
	}
	before := h.Status().Successors
	if before[0] != c.ID || len(before) != lists {
		t.Fatalf("successors %v", short(before))
	}
	c.Call(c.Message(&wire.UpdateReq{Type: wire.ChordNeighbors, Successors: before[1:3]}, toHost(h)))
	if after := h.Status().Successors; !slices.Equal(after, before) {
		t.Errorf("successors %v, before %v", short(after), short(before))
	}
}

func point64(k uint64) (p chord.Point) {
	for i := range 64 {
		if k>>i&1 == 1 {
			p = p.Add(chord.Power(i))
		}
	}
	return p
}

func short(ids []wire.NodeID) (out []string) {
	for _, id := range ids {
		out = append(out, id.Short())
	}
	return out
}

// TestRFC7363_5_3_ANewFingerIsAskedForItsUptime: "Immediately after a new peer has been added to the finger table, a Probe request
// is sent to the new peer to fetch its uptime."
//
// Conformance: J-05
func TestRFC7363_5_3_ANewFingerIsAskedForItsUptime(t *testing.T) {
	w := bornTuned(t, 60, time.Minute)
	heard := overhear(w, wire.CodeProbeReq)
	h := w.AddHost()
	h.Start(false)
	w.Run(5 * time.Second)
	if h.Node.State() != node.Joined {
		t.Fatal(h.Node.State())
	}
	fingers := 0
	for _, o := range w.Living() {
		if !slices.Contains(o.Status().Fingers, h.ID) {
			continue
		}
		fingers++
		if !slices.ContainsFunc(*heard, func(s said) bool {
			return s.from == o && s.to == h.ID && slices.Equal(s.body.(*wire.ProbeReq).Requested, []uint8{wire.ProbeUptime})
		}) {
			t.Errorf("host %d has a new finger and has not asked it for its uptime", o.Index)
		}
	}
	if fingers == 0 {
		t.Error("the new peer is nobody's finger")
	}
}

// TestRFC7363_6_ParametersChangeAtTheEndOfAPeriod: "Peers in the overlay MUST recalculate the values of the parameters [...] at the
// end of each stabilization period before restarting the stabilization timer."
//
// Conformance: J-06
func TestRFC7363_6_ParametersChangeAtTheEndOfAPeriod(t *testing.T) {
	w := bornTuned(t, 40, time.Second)
	heard := overhear(w, wire.CodeUpdateReq)
	before := make(map[*sim.Host]node.Tuning)
	changes := 0
	for range 120 {
		for _, h := range w.Living() {
			now := *h.Status().Tuning
			was, ok := before[h]
			now.Failures, was.Failures = 0, 0
			told := slices.ContainsFunc(*heard, func(s said) bool { return s.from == h })
			if ok && now != was {
				changes++
				if !told {
					t.Errorf("host %d: %+v has become %+v within a period", h.Index, was, now)
				}
			}
			before[h] = now
		}
		*heard = (*heard)[:0]
		w.Run(time.Second)
	}
	if changes < 40 {
		t.Errorf("%d changes", changes)
	}
	for _, h := range w.Living() {
		if s := h.Status(); s.Tuning.Lists != (chord.Estimates{Size: s.Tuning.Used.Size}).ListSize() || len(s.Successors) != s.Tuning.Lists {
			t.Errorf("host %d: %+v, %d successors", h.Index, s.Tuning, len(s.Successors))
		}
	}
}

// TestRFC7363_6_3_1_WhatIsAFailure: "A Leave request is received from a neighbor"; "A peer fails to reply to a Ping request". One
// that is late has not failed. And a peer that is silent is asked within 2*Tr, be it a neighbour or not.
//
// Conformance: J-10
func TestRFC7363_6_3_1_WhatIsAFailure(t *testing.T) {
	const twoTr = 30 * time.Second
	for what, c := range map[string]struct {
		happen func(w *sim.World, h *sim.Host)
		wait   time.Duration
		more   int
	}{
		"leaves":  {func(w *sim.World, h *sim.Host) { w.Leave(h.Index) }, 5 * time.Second, 1},
		"crashes": {func(w *sim.World, h *sim.Host) { w.Kill(h.Index, sim.Crash) }, time.Second, 1},
		"is silent": {func(w *sim.World, h *sim.Host) { w.Kill(h.Index, sim.Silent) }, twoTr + 2*config.DefaultReliabilityTimer + time.Second,
			1},
		"is late": {func(w *sim.World, h *sim.Host) {
			h.Pause()
			w.Run(config.DefaultReliabilityTimer - time.Second)
			h.Resume()
		}, twoTr, 0},
	} {
		w := bornTuned(t, 40, time.Minute)
		victim := w.Host(7)
		before := make(map[*sim.Host]int)
		for _, h := range w.Living() {
			if slices.ContainsFunc(h.Status().Links, func(l node.LinkStatus) bool { return l.Peer == victim.ID && l.Peered }) {
				before[h] = h.Status().Tuning.Failures
			}
		}
		if len(before) < 10 {
			t.Fatalf("%d peers know the victim", len(before))
		}
		c.happen(w, victim)
		w.Run(c.wait)
		for h, was := range before {
			if got := h.Status().Tuning.Failures - was; got != c.more {
				t.Errorf("%s: host %d has %d failures more, want %d", what, h.Index, got, c.more)
			}
		}
	}
}

// TestRFC7363_6_5_TheAnswerCarriesEstimatesToo: "Both the Probe request and the answer returned by the target peer MUST contain a new
// message extension". Who tells nothing is told nothing, and what can not be read is refused.
//
// Conformance: J-12
func TestRFC7363_6_5_TheAnswerCarriesEstimatesToo(t *testing.T) {
	w := bornTuned(t, 20, time.Minute)
	c := w.NewClient(w.Host(0))
	probe := func(x ...wire.Extension) *wire.Message {
		m := c.Message(&wire.ProbeReq{Requested: []uint8{wire.ProbeUptime}}, toHost(w.Host(0)))
		m.Extensions = x
		return c.Call(m)
	}
	told := wire.SelfTuningData{NetworkSize: 7}.AppendTo(nil)
	ans := probe(wire.Extension{Type: wire.ExtensionSelfTuning, Contents: told})
	d, err := ans.SelfTuning()
	if err != nil || d == nil || ans.Extensions[0].Critical {
		t.Fatalf("%v %v", d, err)
	}
	own := w.Host(0).Status().Tuning.Own
	if f := float64(d.NetworkSize); f < own.Size || f >= own.Size+1 {
		t.Errorf("%d peers, estimated were %v", d.NetworkSize, own.Size)
	}
	if f := float64(d.JoinRate) / 86400; f < own.Joins || f >= own.Joins+1.0/86400 {
		t.Errorf("%d joins in 24 hours, estimated were %v a second", d.JoinRate, own.Joins)
	}
	if d, _ := probe().SelfTuning(); d != nil {
		t.Errorf("to a Probe without: %+v", d)
	}
	if got := code(probe(wire.Extension{Type: wire.ExtensionSelfTuning, Contents: told[1:]})); got != wire.ErrorInvalidMessage {
		t.Error(got)
	}
	plain := ring(t, 2)
	c = plain.NewClient(plain.Host(0))
	w = plain
	if d, _ := probe(wire.Extension{Type: wire.ExtensionSelfTuning, Contents: told}).SelfTuning(); d != nil {
		t.Errorf("in an overlay without self-tuning: %+v", d)
	}
}

// TestRFC7363_8_AFewLiarsDoNotCount: "as long as the amount of malicious peers in the overlay remains modest, the statistical
// mechanisms applied in Section 6.5 [...] help". One that asks a hundred times counts once.
//
// Conformance: J-12
func TestRFC7363_8_AFewLiarsDoNotCount(t *testing.T) {
	w := bornTuned(t, 40, 2*time.Minute)
	liar, victim := w.Host(0), w.Host(1)
	c := w.NewClientAt(liar.ID.Array16(), victim)
	lie := wire.SelfTuningData{NetworkSize: 1 << 31, JoinRate: 1 << 31, LeaveRate: 1 << 31}
	for range 30 {
		for range 5 {
			m := c.Message(&wire.ProbeReq{}, toHost(victim))
			m.Extensions = []wire.Extension{{Type: wire.ExtensionSelfTuning, Contents: lie.AppendTo(nil)}}
			c.Call(m)
		}
		w.Run(10 * time.Second)
		if u := victim.Status().Tuning.Used; u.Size > 120 || u.Joins > 10 || u.Fails > 1 {
			t.Fatalf("used: %+v", u)
		}
	}
}

// TestRFC7363_5_6_LeaveCarriesTheLists: "The Leave requests that are sent to successors contain the predecessor list of the leaving
// peer. The Leave requests that are sent to the predecessors contain the successor list". They go "to all members of its neighbor
// table", and who finds better neighbours in them "sends Attach requests to them".
//
// Conformance: J-14
func TestRFC7363_5_6_LeaveCarriesTheLists(t *testing.T) {
	w := bornTuned(t, 40, 3*time.Minute)
	hosts := byID(w)
	h := hosts[20]
	s := h.Status()
	heard := overhear(w, wire.CodeLeaveReq)
	w.Leave(h.Index)
	w.Run(5 * time.Second)
	var schema wire.Schema
	told := make(map[wire.NodeID]bool)
	for _, x := range *heard {
		l, err := schema.ParseChordLeave(x.body.(*wire.LeaveReq).OverlaySpecific)
		want := s.Predecessors
		if l.Type == wire.LeaveFromSucc {
			want = s.Successors
		}
		if err != nil || !slices.Equal(l.Nodes, want) || len(want) <= chord.Neighbors {
			t.Errorf("type %d: %v %v, want %v", l.Type, short(l.Nodes), err, short(want))
		}
		if after := l.Type == wire.LeaveFromPred; after != slices.Contains(s.Successors, x.to) {
			t.Errorf("type %d to %s", l.Type, x.to.Short())
		}
		told[x.to] = true
	}
	if len(told) != len(s.Predecessors)+len(s.Successors) {
		t.Errorf("%d were told, of %d and %d", len(told), len(s.Predecessors), len(s.Successors))
	}
}

// Conformance: J-14
func TestRFC7363_5_6_BetterNeighborsAreAttachedTo(t *testing.T) {
	w := bornTuned(t, 40, 3*time.Minute)
	hosts := byID(w)
	h := hosts[20]
	s := h.Status()
	// Between the last two of the successor list, past the third.
	k := len(s.Successors)
	if k <= chord.Neighbors+1 {
		t.Fatalf("%d successors", k)
	}
	id := s.Successors[k-1].Array16()
	binary.BigEndian.PutUint64(id[8:], binary.BigEndian.Uint64(id[8:])-1)
	better, _ := wire.NodeIDFromBytes(id[:])
	at := h.ID.Array16()
	at[15]++
	c := w.NewClientAt(at, h)
	if got := code(c.Call(c.Message(&wire.UpdateReq{Type: wire.ChordPeerReady}, toHost(h)))); got != wire.CodeUpdateAns {
		t.Fatal(got)
	}
	heard := overhear(w, wire.CodeAttachReq)
	l := wire.ChordLeave{Type: wire.LeaveFromSucc, Nodes: []wire.NodeID{better, hosts[35].ID}}
	if got := code(c.Call(c.Message(&wire.LeaveReq{Leaving: c.ID, OverlaySpecific: l.AppendTo(nil)}, toHost(h)))); got != wire.CodeLeaveAns {
		t.Fatal(got)
	}
	w.Run(100 * time.Millisecond)
	if !slices.ContainsFunc(*heard, func(x said) bool { return x.from == h && x.to == better }) {
		t.Error("the better successor was not attached to")
	}
	if slices.ContainsFunc(*heard, func(x said) bool { return x.from == h && x.to == hosts[35].ID }) {
		t.Error("a peer that belongs in no list was attached to")
	}
}
