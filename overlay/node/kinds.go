package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// acceptKinds takes Kinds that a ConfigUpdate has brought: o is the present configuration with them. RFC 6940 §6.5.4.2: "If
// the update is acceptable, then the node MUST reconfigure itself to match the new information. This may include adding
// permissions for new Kinds".
func (n *Node) acceptKinds(o *config.Overlay) {
	old := n.c.Overlay
	if o == old {
		return // it knew them
	}
	n.c.Overlay = o
	n.schema = o.Schema()
	n.store.Configure(o)
	n.out.Reconfigured = append(n.out.Reconfigured, Reconfigured{Overlay: o})
	for i := range o.KindBlocks {
		b := &o.KindBlocks[i]
		if was := old.KindBlock(b.Kind.ID); was == nil || string(was.Signed) != string(b.Signed) {
			n.event(EventConfigured, n.c.Self, fmt.Sprintf("kind 0x%x", uint32(b.Kind.ID)))
			n.spreadKind(b)
		}
	}
}

// spreadKind hands a new Kind on to every linked node. Who knows it hands it no further, so that this ends; and two
// descriptions by the same signer, of which nothing says which is the newer, can not chase each other around faster than once
// in pushInterval.
func (n *Node) spreadKind(b *config.KindBlock) {
	if at, ok := n.configuring.spread[b.Kind.ID]; ok && n.now.Sub(at) < pushInterval {
		return
	}
	if n.configuring.spread == nil {
		n.configuring.spread = make(map[wire.KindID]time.Time)
	}
	n.configuring.spread[b.Kind.ID] = n.now // of at most as many Kinds as package config lets in
	for _, p := range n.sortedPeers() {
		if !p.left {
			n.request(outgoing{dest: toNode(p.id), link: p.link().id, body: kindUpdate(b), done: func(result) {}})
		}
	}
}

func kindUpdate(blocks ...*config.KindBlock) *wire.ConfigUpdateReq {
	u := &wire.ConfigUpdateReq{Type: wire.ConfigUpdateKind}
	for _, b := range blocks {
		u.Kinds = append(u.Kinds, config.AppendKindBlock(nil, b))
	}
	return u
}

// unknownKind looks at an error that answers r. RFC 6940 §7.4.1.2: "A node which receives this error MUST generate a
// ConfigUpdate message which contains the appropriate Kind definition (assuming which, in fact, a Kind which was defined in
// the configuration document was used)." Then r is sent again, once, as a new transaction, and unknownKind reports true.
func (n *Node) unknownKind(r *request, res result) bool {
	if res.refused.ErrorCode != wire.ErrorUnknownKind || r.again || r.once || len(n.held) >= maxHeld {
		return false
	}
	unknown, err := res.refused.UnknownKinds()
	var blocks []*config.KindBlock
	for _, id := range unknown {
		if b := n.c.Overlay.KindBlock(id); b != nil && b.Signature != nil && len(blocks) < maxKindBlocks {
			blocks = append(blocks, b)
		}
	}
	if err != nil || blocks == nil {
		return false
	}
	n.table.End(r.tx)
	delete(n.requests, r.tx)
	r.again = true
	h := &held{r: r, res: res, until: n.now.Add(holdWait)}
	n.held = append(n.held, h)
	n.timers[timerHeld] = earlier(n.timers[timerHeld], h.until)
	update := outgoing{dest: n.towards(r, res.from), link: r.link, body: kindUpdate(blocks...)}
	update.done = func(u result) {
		if !slices.Contains(n.held, h) {
			return // it has waited too long
		}
		if u.body == nil {
			h.until = n.now // as good as answered: the error stands
			n.heldTimer()
			return
		}
		n.release(func(o *held) bool { return o == h })
	}
	n.request(update)
	return true
}
