package node_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// maxScript bounds what of an input is played, in octets.
const maxScript = 1 << 10

// FuzzNode plays an input as what a hostile neighbour of one of three peers does: valid messages that lie, and messages
// that are cut, changed, repeated, held back, too long, in the name of others, or too many. Nothing must panic, no table
// outgrow its limit, no forged value be believed; and when the neighbour is gone the three are a ring in which every
// registration can be stored and found.
func FuzzNode(f *testing.F) {
	for trick := range byte(12) {
		f.Add([]byte{0, trick, 1, 2, 3, 0, 0, trick, 1, 0, 1, 0, 0, trick, 255, 254, 253, 252, 251, 250})
	}
	for seed := range uint64(20) {
		script := make([]byte, 40*(1+seed))
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if err := playScript(t, script[:min(len(script), maxScript)]); err != nil {
			t.Error(err)
		}
	})
}

// playScript lets a client of the first of three peers make its choices by the octets of script.
func playScript(t *testing.T, script []byte) error {
	w := ring(t, 3)
	var records []*sim.Record
	for i, h := range w.Hosts() {
		r := w.NewRecord(fmt.Sprintf("user%d", i), h)
		w.Store(r)
		records = append(records, r)
	}
	w.Run(time.Second)
	client := w.NewClient(w.Host(0))
	liar := w.NewLiar(client.Host, records, func(n int) int {
		if len(script) == 0 {
			return 0
		}
		b := int(script[0])
		script = script[1:]
		return b % n
	})
	client.Call(client.Message(&wire.UpdateReq{Type: wire.ChordPeerReady}, toHost(w.Host(0)))) // it makes itself a peer
	for i := 0; len(script) > 0; i++ {
		liar.Act()
		w.Run(time.Duration(liar.Pick(32)) * 4 * time.Millisecond)
		r, from := records[i%3], w.Host(i/3%3)
		switch i % 4 {
		case 1:
			w.Store(r)
		case 3:
			w.FetchGenuine(r, from)
		}
		if err := w.CheckLoad(w.Hosts()); err != nil {
			return err
		}
	}
	client.Hangup()
	return w.Recover(records)
}
