package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func storeReq(r *sim.Record, replica uint8, generation uint64, d ...wire.StoredData) *wire.StoreReq {
	return &wire.StoreReq{Resource: r.Resource, Replica: replica,
		Kinds: []wire.StoreKindData{{Kind: wire.KindSIPRegistration, Generation: generation, Values: d}}}
}

// homed names a user of home whose record a given host is responsible for.
func homed(w *sim.World, home, responsible *sim.Host) *sim.Record {
	for i := 0; ; i++ {
		if r := w.NewRecord(fmt.Sprintf("user%d", i), home); owner(w, r.Resource)[0] == responsible {
			return r
		}
	}
}

// Conformance: D-02
func TestRFC6940_7_4_1_1_StoreOnlyAtTheResponsiblePeer(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	r := homed(w, client.Host, w.Host(1))
	m := client.Message(storeReq(r, 0, 0, w.Next(r)), toHost(w.Host(2)))
	client.Send(client.Seal(m, r))
	if got := code(client.Answer(m.Header.Transaction)); got != wire.ErrorForbidden || w.Counts["store_refused"] != 1 {
		t.Errorf("%v", got)
	}
	m = client.Message(storeReq(r, 0, 0, w.Next(r)), wire.ToResource(r.Resource))
	client.Send(client.Seal(m, r))
	if got := code(client.Answer(m.Header.Transaction)); got != wire.CodeStoreAns {
		t.Errorf("%v", got)
	}
}

// Conformance: D-16 D-52
func TestRFC6940_7_4_1_2_StoreAnsNamesTheReplicas(t *testing.T) {
	w := ring(t, 5)
	r := w.NewRecord("user", w.Host(0))
	ans := store(t, w, r)
	w.Run(time.Second)
	holders := owner(w, r.Resource)
	if got := ans.Kinds[0].Replicas; len(got) != 2 || got[0] != holders[1].ID || got[1] != holders[2].ID {
		t.Errorf("replicas %v", got)
	}
	for i, h := range holders {
		if h.Node.Holds(r.Resource) != (i < 3) {
			t.Errorf("the one %d after the owner holds it: %v", i, i >= 3)
		}
	}
}

// Conformance: D-03
func TestRFC6940_10_4_ReplicaOnlyFromAPlausibleSender(t *testing.T) {
	w := ring(t, 8)
	r := w.NewRecord("user", w.Host(0))
	chain := owner(w, r.Resource)
	for _, c := range []struct {
		to   int // how far after the owner
		near bool
		want any
	}{{1, true, wire.CodeStoreAns}, {1, false, wire.ErrorForbidden}, {5, true, wire.ErrorForbidden}} {
		// A client right before the owner is as near as a peer can be; one before its predecessor is far.
		id := chain[0].ID.Array16()
		if !c.near {
			id = chain[7].ID.Array16()
		}
		id[15]--
		client := w.NewClientAt(id, chain[c.to])
		m := client.Message(storeReq(r, 1, 1, w.Next(r)), toHost(chain[c.to]))
		m.Security.Certificates = []wire.Certificate{r.Certificate()}
		if got := code(client.Call(m)); got != c.want {
			t.Errorf("to the %dth, near %v: %v, want %v", c.to, c.near, got, c.want)
		}
	}
}

// Conformance: D-13
func TestRFC6940_7_4_1_1_ReplayOfAnOlderValueIsTooOld(t *testing.T) {
	w := ring(t, 3)
	r := w.NewRecord("user", w.Host(0))
	first := w.Next(r)
	for i, c := range []struct {
		data wire.StoredData
		want bool
	}{{first, true}, {w.Next(r), true}, {first, false}} {
		d := do(t, w, r.Home, r.OpStore(c.data))
		if (d.Refused == nil) != c.want || !c.want && d.Refused.ErrorCode != wire.ErrorDataTooOld {
			t.Errorf("store %d: %+v", i, d.Refused)
		}
	}
}

// Conformance: D-08
func TestRecordOfAnotherIsRefused(t *testing.T) {
	w := ring(t, 3)
	alice, mallory := w.NewRecord("alice", w.Host(0)), w.NewRecord("mallory", w.Host(1))
	op := mallory.OpStore(w.Next(mallory))
	op.Resource = alice.Resource
	if d := do(t, w, w.Host(1), op); d.Refused == nil || d.Refused.ErrorCode != wire.ErrorForbidden {
		t.Errorf("%+v", d)
	}
	if w.Counts["store_refused"] != 1 {
		t.Errorf("%v", w.Counts)
	}
	if got := fetch(t, w, alice, w.Host(2)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPlantedValueIsFilteredOnFetch has the storing peer itself add values to its answers.
//
// Conformance: D-33 D-34 H-16
func TestPlantedValueIsFilteredOnFetch(t *testing.T) {
	w := ring(t, 3)
	alice, mallory := homed(w, w.Host(0), w.Host(1)), w.NewRecord("mallory", w.Host(1))
	store(t, w, alice)
	planted, forged := w.Next(mallory), w.Next(alice)
	forged.Value.Data = []byte("changed after it was signed")
	w.Host(1).Tamper = func(m *wire.Message) {
		if ans, ok := m.Body.(*wire.FetchAns); ok {
			ans.Kinds[0].Values = append(ans.Kinds[0].Values, planted, forged)
			m.Security.Certificates = append(m.Security.Certificates, mallory.Certificate())
		}
	}
	if got := fetch(t, w, alice, w.Host(2)); len(got) != 1 || got[0].Signer.User != alice.User {
		t.Errorf("%d values believed", len(got))
	}
	if w.Counts["value_refused"] != 2 {
		t.Errorf("%v", w.Counts)
	}
}

func TestAnswerThatCannotBeVerifiedEndsAsUntrusted(t *testing.T) {
	w := ring(t, 2)
	r := homed(w, w.Host(0), w.Host(1))
	w.Host(1).Garble = true
	d := do(t, w, w.Host(0), r.OpFetch())
	if !errors.Is(d.Err, node.ErrUntrusted) {
		t.Errorf("%+v", d)
	}
}

// Conformance: D-25 D-38
func TestRFC6940_7_4_1_1_NewerDataAtAReplicaReplacesOurs(t *testing.T) {
	w := ring(t, 3)
	r := homed(w, w.Host(0), w.Host(1))
	replica := owner(w, r.Resource)[1]
	store(t, w, r)
	w.Run(time.Second)
	// A partition healed: the replica has a version of which the owner knows nothing.
	newer := w.Next(r)
	client := w.NewClient(replica)
	m := client.Message(storeReq(r, 1, 9, newer), toHost(replica))
	m.Security.Certificates = []wire.Certificate{r.Certificate()}
	if got := code(client.Call(m)); got != wire.CodeStoreAns {
		t.Fatal(got)
	}
	// The owner does not notice before it has a reason to copy.
	w.Cut(1, replica.Index)
	w.Run(20 * time.Second)
	for _, h := range w.Living() {
		got := fetch(t, w, r, h)
		if len(got) != 1 || got[0].StorageTime != newer.StorageTime {
			t.Errorf("host %d: %+v", h.Index, got)
		}
	}
}

// Conformance: D-36 D-37
func TestFindAndStat(t *testing.T) {
	w := ring(t, 1)
	r := w.NewRecord("user", w.Host(0))
	store(t, w, r)
	client := w.NewClient(w.Host(0))
	find := client.Message(&wire.FindReq{Resource: wire.ResourceIDOf("anything"), Kinds: []wire.KindID{wire.KindSIPRegistration}},
		wire.ToResource(wire.ResourceIDOf("anything")))
	if ans := client.Call(find); ans == nil || ans.Body.(*wire.FindAns).Results[0].Closest != r.Resource {
		t.Errorf("find: %v", code(ans))
	}
	stat := client.Message(&wire.StatReq{Resource: r.Resource, Specifiers: []wire.Specifier{r.OpFetch().Specifier}},
		wire.ToResource(r.Resource))
	if ans := client.Call(stat); ans == nil || len(ans.Body.(*wire.StatAns).Kinds[0].Values) != 1 {
		t.Errorf("stat: %v", code(ans))
	}
	w2 := ring(t, 2)
	other := homed(w2, w2.Host(0), w2.Host(1))
	client = w2.NewClient(w2.Host(0))
	find = client.Message(&wire.FindReq{Resource: other.Resource}, toHost(w2.Host(0)))
	if got := code(client.Call(find)); got != wire.ErrorNotFound {
		t.Errorf("RFC 6940 §7.4.4.1: find at a peer that is not responsible: %v", got)
	}
}

// Conformance: A-35 B-49
func TestAppAttach(t *testing.T) {
	w := ring(t, 4)
	from, to := w.Host(1), w.Host(3)
	op := node.OpAppAttach{Destinations: wire.NewDestinationList(toHost(to)), Application: wire.ApplicationSIP}
	d := do(t, w, from, op)
	if d.Answer.Message() == nil || d.Answer.Sender().Node != to.ID {
		t.Fatalf("%+v", d)
	}
	if ans := d.Answer.Message().Body.(*wire.AppAttachAns); ans.Role != wire.RoleActive || ans.Application != wire.ApplicationSIP {
		t.Errorf("%+v", ans)
	}
	if len(to.Apps) != 1 || to.Apps[0].Peer != from.ID || len(to.Apps[0].Candidates) != 1 {
		t.Errorf("the answerer opens %+v", to.Apps)
	}
	op.Application = 1234
	d = do(t, w, from, op)
	if d.Refused == nil || d.Refused.ErrorCode != wire.ErrorNotFound || len(to.Apps) != 1 {
		t.Errorf("RFC 6940 §6.5.2.2: an application that is not supported: %+v", d)
	}
}

func TestPingMeasuresHops(t *testing.T) {
	w := ring(t, 3)
	for _, c := range []struct {
		to   wire.Destination
		hops int
	}{{toHost(w.Host(0)), 0}, {toHost(w.Host(1)), 1}} {
		d := do(t, w, w.Host(0), node.OpPing{Destinations: wire.NewDestinationList(c.to)})
		if d.Answer.Message() == nil || d.Hops != c.hops {
			t.Errorf("%+v", d)
		}
	}
}

func TestCancelledOperationHasNoEnd(t *testing.T) {
	w := ring(t, 2)
	r := homed(w, w.Host(0), w.Host(1))
	ended := false
	h := w.Host(0)
	h.Do(r.OpFetch(), func(node.Done) { ended = true })
	h.CancelAll()
	w.Run(20 * time.Second)
	if ended || h.Status().Transactions > 1 { // a ping may be under way
		t.Errorf("ended %v, %d transactions", ended, h.Status().Transactions)
	}
}

// Conformance: C-03
func TestRFC6940_6_2_1_RequestFailsAfterFiveTransmissions(t *testing.T) {
	w := ring(t, 3)
	id := w.Host(1).ID.Array16()
	id[15]--
	absent, _ := wire.NodeIDFromBytes(id[:])
	begun := w.Now()
	d := do(t, w, w.Host(0), node.OpPing{Destinations: wire.NewDestinationList(wire.ToNode(absent))})
	if took := w.Now().Sub(begun); !errors.Is(d.Err, node.ErrTimeout) || took < 15*time.Second || took > 15*time.Second+10*time.Millisecond {
		t.Errorf("%v after %v", d.Err, took)
	}
}

// Conformance: D-17
func TestStorageTimesFarAheadAreTakenAndTold(t *testing.T) {
	w := ring(t, 3)
	for i, ahead := range []time.Duration{0, 30 * time.Second, 2 * time.Minute, 24 * 365 * time.Hour} {
		before := w.Counts[string(node.EventStoreAhead)]
		r := w.NewRecord("user"+string(rune('a'+i)), w.Host(0))
		d := do(t, w, r.Home, r.OpStore(w.SignVersion(r, 1, uint64(w.Now().Add(ahead).UnixMilli()))))
		if d.Err != nil || d.Refused != nil {
			t.Errorf("%v ahead: %v %v", ahead, d.Err, d.Refused)
		}
		if told := w.Counts[string(node.EventStoreAhead)] - before; (told == 1) != (ahead > time.Minute) {
			t.Errorf("%v ahead: told %d times", ahead, told)
		}
	}
}
