package sim

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Liar is a node with a valid certificate that does not keep to the protocol: a host whose node's messages are changed
// before they are signed, or a Client; and besides it sends what it likes.
type Liar struct {
	*Host
	// Pick makes every choice: it draws from 0 to n-1.
	Pick func(n int) int

	prey    []*Record // registrations of others
	own     *Record
	heard   [][]byte // messages of others, to be sent again
	held    [][]byte // messages that wait for others to be sent before them
	holding bool
}

// Limits of a liar.
const (
	maxHeard = 32 // messages that it remembers
	maxHeld  = 16 // messages that it holds back
)

// NewLiar makes a liar of a host that is up. It goes for the registrations of prey, which are of other hosts.
func (w *World) NewLiar(h *Host, prey []*Record, pick func(n int) int) *Liar {
	x := &Liar{Host: h, Pick: pick, prey: prey, own: w.NewRecord("liar"+h.ID.Short(), h)}
	h.Tamper = x.tamper
	receive := h.receive
	h.receive = func(from node.LinkID, raw []byte) {
		if x.overhear(from, raw) {
			receive(from, raw)
		}
	}
	return x
}

// overhear looks at what comes, and reports whether it may pass.
func (x *Liar) overhear(from node.LinkID, raw []byte) bool {
	if len(x.heard) == maxHeard {
		x.heard = x.heard[1:]
	}
	x.heard = append(x.heard, slices.Clone(raw))
	m, err := x.w.schema.Parse(raw)
	if err != nil {
		return x.Node != nil // to a Client, its own mangled octets have come back
	}
	if fetch, ok := m.Body.(*wire.FetchReq); ok && x.Pick(2) == 0 {
		x.answerFetch(from, m, fetch)
	}
	return x.Node == nil || x.Pick(8) > 0
}

// answerFetch answers a request that is on its way to somebody else, or to us, with values that are not good.
func (x *Liar) answerFetch(link node.LinkID, req *wire.Message, fetch *wire.FetchReq) {
	_, far := x.links.get(link).sides(x.Host)
	r := x.someRecord()
	for _, p := range x.prey {
		if p.Resource == fetch.Resource {
			r = p
		}
	}
	to := append(wire.NewDestinationList(wire.ToNode(far.host.ID)), req.Header.Via.Reversed()...)
	m := x.w.message(&wire.FetchAns{Kinds: []wire.FetchKindResponse{{Kind: wire.KindSIPRegistration, Generation: 1 << 40,
		Values: []wire.StoredData{x.value(r), x.value(r)}}}})
	m.Header.Transaction, m.Header.Destinations = req.Header.Transaction, to
	m.Security.Certificates = []wire.Certificate{r.Certificate(), x.own.Certificate()}
	x.put(link, x.gateway.seal(m))
}

// put sends octets on a link, as they are.
func (x *Liar) put(link node.LinkID, raw []byte) {
	if x.holding && len(x.held) < maxHeld {
		x.held = append(x.held, raw)
		return
	}
	p := x.links.get(link)
	if p == nil {
		return
	}
	_, far := p.sides(x.Host)
	far.reach(x.w, x.w.delay(x.w.c.MinDelay, x.w.c.MaxDelay), func() {
		x.w.Messages++
		x.w.noteMessage(x.Host, far.host, raw)
		far.host.receive(far.id, raw)
	})
}

// Act does one thing that it should not do, on one of its links.
func (x *Liar) Act() {
	links := x.links.ids()
	if len(links) == 0 {
		return
	}
	link := links[x.Pick(len(links))]
	_, far := x.links.get(link).sides(x.Host)
	tricks := [...]func(*Liar, mark){(*Liar).update, (*Liar).join, (*Liar).leave, (*Liar).attach, (*Liar).store, (*Liar).storeCopy,
		(*Liar).replay, (*Liar).mangle, (*Liar).oversize, (*Liar).reorder, (*Liar).volley, (*Liar).header}
	tricks[x.Pick(len(tricks))](x, mark{link, far.host})
}

// mark is a neighbour to be lied to, and the link that leads to it.
type mark struct {
	link node.LinkID
	*Host
}

// say sends a request, signed by the liar itself.
func (x *Liar) say(to mark, body wire.Body, dest ...wire.Destination) {
	if len(dest) == 0 {
		dest = []wire.Destination{wire.ToNode(to.ID)}
	}
	x.put(to.link, x.gateway.seal(x.w.message(body, dest...)))
}

// someNode names a node: one that there is, a place right beside the neighbour, or any.
func (x *Liar) someNode(near wire.NodeID) wire.NodeID {
	id := near.Array16()
	switch x.Pick(3) {
	case 0:
		return x.w.hosts[x.Pick(len(x.w.hosts))].ID
	case 1:
		id[15] += byte(x.Pick(7)) - 3
	default:
		id[0], id[1] = byte(x.Pick(256)), byte(x.Pick(256))
	}
	out, _ := wire.NodeIDFromBytes(id[:])
	return out
}

func (x *Liar) someNodes(near wire.NodeID) (out []wire.NodeID) {
	for range x.Pick(5) {
		out = append(out, x.someNode(near))
	}
	return out
}

// someRecord is a registration of somebody else or, when there is none, its own.
func (x *Liar) someRecord() *Record {
	if len(x.prey) == 0 {
		return x.own
	}
	return x.prey[x.Pick(len(x.prey))]
}

func (x *Liar) update(to mark) {
	u := &wire.UpdateReq{Uptime: uint32(x.Pick(256)), Type: wire.ChordUpdateType(1 + x.Pick(3))}
	if u.Type >= wire.ChordNeighbors {
		u.Predecessors, u.Successors = x.someNodes(to.ID), x.someNodes(to.ID)
	}
	if u.Type == wire.ChordFull {
		u.Fingers = x.someNodes(to.ID)
	}
	x.say(to, u)
}

func (x *Liar) join(to mark) {
	id := x.ID
	if x.Pick(2) == 0 {
		id = x.someNode(to.ID)
	}
	x.say(to, &wire.JoinReq{Joining: id})
}

func (x *Liar) leave(to mark) {
	id := x.ID
	if x.Pick(2) == 0 {
		id = x.someNode(to.ID)
	}
	data := wire.ChordLeave{Type: uint8(1 + x.Pick(2)), Nodes: x.someNodes(to.ID)}
	x.say(to, &wire.LeaveReq{Leaving: id, OverlaySpecific: data.AppendTo(nil)})
}

// attach asks for links to places that are not its own.
func (x *Liar) attach(to mark) {
	a := wire.Attach{Ufrag: "liar", Password: "liarliarliarliarliarli", Role: wire.RolePassive,
		Candidates: x.w.hosts[x.Pick(len(x.w.hosts))].Candidates(), SendUpdate: x.Pick(2) == 0}
	dest := wire.ToNode(x.someNode(to.ID))
	if x.Pick(2) == 0 {
		dest = wire.ToResource(chord.PointOf(x.someNode(to.ID)).Add(chord.Power(0)).Resource())
	}
	x.say(to, &wire.AttachReq{Attach: a}, dest)
}

// value is one that must not be believed to be the newest of r: with another's signature, by another signer, older than
// what was stored since, under a key that is not the signer's, or a tombstone that the owner has not made.
func (x *Liar) value(r *Record) wire.StoredData {
	d := x.w.SignVersion(x.own, 1+x.Pick(9), uint64(x.w.now.UnixMilli())+uint64(x.Pick(256))<<20)
	if n := len(r.signed); n > 0 {
		d = r.signed[x.Pick(n)]
	}
	by := x.own.by
	switch x.Pick(6) {
	case 0: // as it was
		return d
	case 1:
		d.Value.Data = x.own.value(7)
		return d
	case 2:
		d.StorageTime += 1 << 20
		return d
	case 3:
		d.Value.Key = string(x.ID.Bytes())
	case 4:
		d.Value.Exists, d.Value.Data = false, nil
	default:
		d.Value.Data, d.StorageTime = x.own.value(7), d.StorageTime+uint64(x.Pick(256))<<20
	}
	by.signValue(r.Resource, wire.KindSIPRegistration, &d)
	return d
}

func (x *Liar) storeBody(replica uint8) (*Record, *wire.StoreReq) {
	r := x.someRecord()
	generation := [...]uint64{0, 1, 1 << 40, 1<<64 - 1}[x.Pick(4)]
	return r, &wire.StoreReq{Resource: r.Resource, Replica: replica, Kinds: []wire.StoreKindData{
		{Kind: wire.KindSIPRegistration, Generation: generation, Values: []wire.StoredData{x.value(r)}}}}
}

// store stores under the name of another.
func (x *Liar) store(to mark) {
	r, body := x.storeBody(0)
	m := x.w.message(body, wire.ToResource(r.Resource))
	m.Security.Certificates = []wire.Certificate{r.Certificate(), {Data: x.gateway.der}}
	x.put(to.link, x.own.by.seal(m))
}

// storeCopy pretends to hand over or to replicate.
func (x *Liar) storeCopy(to mark) {
	r, body := x.storeBody(uint8(1 + x.Pick(3)))
	dest := wire.ToNode(to.ID)
	if x.Pick(3) == 0 {
		dest = wire.ToResource(r.Resource)
	}
	m := x.w.message(body, dest)
	m.Security.Certificates = []wire.Certificate{r.Certificate(), x.own.Certificate()}
	x.put(to.link, x.gateway.seal(m))
}

// octets is something that it has heard or could say.
func (x *Liar) octets(to mark) []byte {
	if n := len(x.heard); n > 0 {
		return slices.Clone(x.heard[x.Pick(n)])
	}
	return x.gateway.seal(x.w.message(&wire.PingReq{}, wire.ToNode(to.ID)))
}

func (x *Liar) replay(to mark) { x.put(to.link, x.octets(to)) }

// mangle sends a message of which some octets are others, or some are missing.
func (x *Liar) mangle(to mark) {
	raw := x.octets(to)
	for range 1 + x.Pick(4) {
		raw[(x.Pick(256)<<8+x.Pick(256))%len(raw)] ^= byte(1 + x.Pick(255))
	}
	if x.Pick(2) == 0 {
		raw = raw[:(x.Pick(256)<<8+x.Pick(256))%len(raw)]
	}
	x.put(to.link, raw)
}

func (x *Liar) oversize(to mark) {
	x.say(to, &wire.PingReq{Padding: make([]byte, x.w.c.Overlay.MaxMessageSize-200+x.Pick(256)*2)})
}

// reorder begins to hold messages back, or sends those that it has, the last one first.
func (x *Liar) reorder(to mark) {
	x.holding = !x.holding
	if !x.holding {
		for _, raw := range slices.Backward(x.held) {
			x.put(to.link, raw)
		}
		x.held = nil
	}
}

// volley sends many requests at once.
func (x *Liar) volley(to mark) {
	bodies := [...]wire.Body{&wire.PingReq{}, &wire.RouteQueryReq{SendUpdate: true, Destination: wire.ToNode(x.ID)},
		&wire.ProbeReq{Requested: []uint8{1, 2, 3, 9}}, &wire.ConfigUpdateReq{Type: 1, Config: []byte("<overlay/>")}}
	body := bodies[x.Pick(len(bodies))]
	for range 1 + x.Pick(40) {
		x.say(to, body)
	}
}

// header sends a Ping whose header claims what is not so.
func (x *Liar) header(to mark) {
	m := x.w.message(&wire.PingReq{}, wire.ToNode(x.someNode(to.ID)))
	h := &m.Header
	switch x.Pick(5) {
	case 0:
		h.ConfigSequence = uint16(x.Pick(256)) << 8
	case 1:
		h.Fragment = wire.FragmentHigh | uint32(x.Pick(256))
	case 2:
		h.Transaction = 0
	case 3:
		for _, id := range x.someNodes(to.ID) {
			h.Destinations = append(h.Destinations, wire.NewDestinationList(wire.ToNode(id))...)
		}
	default:
		for _, id := range x.someNodes(to.ID) {
			h.Via = append(h.Via, wire.NewDestinationList(wire.ToNode(id))...)
		}
	}
	x.put(to.link, x.gateway.seal(m))
}

// tamper changes what its node sends.
func (x *Liar) tamper(m *wire.Message) {
	if x.Pick(3) > 0 {
		return
	}
	switch body := m.Body.(type) {
	case *wire.UpdateReq:
		if body.Type >= wire.ChordNeighbors {
			body.Predecessors, body.Successors = x.someNodes(x.ID), x.someNodes(x.ID)
		}
	case *wire.AttachReq:
		body.Candidates = x.w.hosts[x.Pick(len(x.w.hosts))].Candidates()
	case *wire.AttachAns:
		body.Candidates = x.w.hosts[x.Pick(len(x.w.hosts))].Candidates()
	case *wire.StoreAns: // have who stores a copy fetch ours
		m.Body = wire.NewError(wire.ErrorDataTooOld, "")
	case *wire.FetchAns:
		r := x.someRecord()
		for i := range body.Kinds {
			body.Kinds[i].Values = append(body.Kinds[i].Values, x.value(r))
			m.Security.Certificates = append(m.Security.Certificates, r.Certificate(), x.own.Certificate())
		}
	case *wire.StoreReq:
		for i := range body.Kinds {
			for j := range body.Kinds[i].Values {
				body.Kinds[i].Values[j] = x.value(x.someRecord())
			}
		}
		m.Security.Certificates = append(m.Security.Certificates, x.own.Certificate())
	}
}
