package flow

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// order notes the CSeq of what is delivered, by Call-ID.
type order struct {
	mu sync.Mutex
	by map[string][]int
}

func (o *order) Deliver(m *message.Message, _ location.Hop) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, _ := strconv.Atoi(m.Get(message.CSeq))
	o.by[m.Get(message.CallID)] = append(o.by[m.Get(message.CallID)], n)
}

// Messages of one Call-ID are delivered in wire order, whoever does it and however often that changes, and none is lost.
func TestAHelperKeepsTheOrderOfEachCall(t *testing.T) {
	tb, err := New(Config{Listen: []Listen{{Transport: UDP, Addr: loopback}}})
	check(t, err)
	o := &order{by: map[string][]int{}}
	tb.receiver = o
	now := time.Now()
	h := newHelper(tb.sockets.Load().udp[0], now)
	h.able = true
	const batches, calls = 400, 5
	want := map[string][]int{}
	helped, alone := 0, 0
	for batch := range batches {
		n := batchSize
		if batch%7 > 4 {
			n-- // a pause
		}
		now = now.Add(busyAfter / 2)
		h.begin(n, now, now)
		for i := range n {
			id := strconv.Itoa((batch*batchSize + i) % calls)
			m := &message.Message{Method: "INFO"}
			m.Add(message.CallID, id)
			m.Add(message.CSeq, strconv.Itoa(batch*batchSize+i))
			want[id] = append(want[id], batch*batchSize+i)
			h.deliver(delivery{m: m})
		}
		if len(h.given) > 0 {
			helped++
		} else {
			alone++
		}
		h.pass()
	}
	h.end()
	tb.Close()
	if diff := cmp.Diff(want, o.by); diff != "" {
		t.Error(diff)
	}
	if helped == 0 || alone == 0 {
		t.Errorf("%d batches with help, %d without", helped, alone)
	}
}

// A reader that has pauses has no help.
func TestAReaderThatKeepsUpHasNoHelp(t *testing.T) {
	now := time.Now()
	h := &helper{able: true, since: now}
	for range 100 {
		now = now.Add(gatherUDP)
		h.begin(batchSize, now, now)
		h.begin(1, now, now)
		if h.part {
			t.Fatal("divided")
		}
	}
	asked := now
	for range 2 { // it had none
		now = now.Add(busyAfter)
		h.begin(batchSize, asked, now)
		asked = now
	}
	if !h.part {
		t.Error("no help when there was no pause")
	}
	// It slept for a second, and then many came at once.
	h.begin(batchSize, asked, now.Add(time.Second))
	if h.part {
		t.Error("divided behind a long pause")
	}
}
