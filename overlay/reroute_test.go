package overlay

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// dyingLink is a link that ends with messages left.
type dyingLink struct {
	link.Link
	peer trust.Identity
	left [][]byte
}

func (d *dyingLink) Peer() trust.Identity { return d.peer }
func (d *dyingLink) Unsent() [][]byte     { return d.left }
func (d *dyingLink) Close()               {}

// What a link leaves behind when it dies is given to the node again, in order, when the node knows that the link is gone.
func TestWhatADeadLinkLeavesGoesAnotherWay(t *testing.T) {
	w, m := newWorld(t), newMemory()
	d := w.drive(m, nil)
	lost := &dyingLink{left: [][]byte{[]byte("first"), []byte("second")}}
	d.post(t.Context(), func(now time.Time, l *loop) { l.linkUp(now, 7, lost, 0) })
	d.next("link up")
	d.post(t.Context(), func(now time.Time, l *loop) { l.linkDown(now, 7, lost, errors.New("refused")) })
	d.next("link down")
	for _, want := range lost.left {
		if got := d.next("reroute").raw; !bytes.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
