package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// requestLifetime is how long a request may wait for its answer.
const requestLifetime = 15 * time.Second

// ring lists the hosts that are up and no clients, by Node-ID.
func (w *World) ring() []*Host {
	hosts := slices.DeleteFunc(w.reachable(), func(h *Host) bool { return h.Client })
	slices.SortFunc(hosts, func(a, b *Host) int { return a.ID.Compare(b.ID) })
	return hosts
}

// reachable lists the hosts that are up and not stranded.
func (w *World) reachable() []*Host { return slices.DeleteFunc(w.Living(), w.stranded) }

// stranded reports whether a host can not find the ring, whatever its node does: it has not been in it since it started, and at none of
// the addresses that it was started with there is a peer. Those may have gone before it came to them. Nobody else knows of it.
func (w *World) stranded(h *Host) bool {
	if h.Node.State() != node.Starting || h.joined {
		return false
	}
	return !slices.ContainsFunc(w.hosts, func(o *Host) bool { return o != h && o.serves() && slices.Contains(h.known, o.address()) })
}

// Check asks for everything that must hold when nothing has changed for a while, and stores are at rest. It uses virtual
// time for the fetches.
func (w *World) Check(records []*Record) error {
	checks := []func([]*Record) error{w.checkCycle, w.checkResponsible, w.checkReplicas, w.checkLimits, w.checkFound}
	for _, check := range checks {
		if w.violated != nil {
			break
		}
		if err := check(records); err != nil {
			return fmt.Errorf("at %v: %w", w.Elapsed(), err)
		}
	}
	return w.violated
}

// checkCycle: the successors form one cycle over the living, and the predecessors the same one backwards.
func (w *World) checkCycle([]*Record) error {
	ring := w.ring()
	for i, h := range ring {
		next, previous := ring[(i+1)%len(ring)], ring[(i+len(ring)-1)%len(ring)]
		s := h.Status()
		if s.State != node.Joined {
			return fmt.Errorf("host %d is %s", h.Index, s.State)
		}
		if len(ring) == 1 {
			if len(s.Successors) > 0 {
				return fmt.Errorf("host %d is alone and has successor %s", h.Index, s.Successors[0].Short())
			}
			return nil
		}
		if len(s.Successors) == 0 || s.Successors[0] != next.ID {
			return fmt.Errorf("host %d (%s): successors %v, want first %s", h.Index, h.ID.Short(), short(s.Successors),
				next.ID.Short())
		}
		if s.Predecessors[0] != previous.ID {
			return fmt.Errorf("host %d (%s): predecessors %v, want first %s", h.Index, h.ID.Short(), short(s.Predecessors),
				previous.ID.Short())
		}
		if want := min(chord.Neighbors, len(ring)-1); len(s.Successors) < want || len(s.Predecessors) < want {
			return fmt.Errorf("host %d has %d successors and %d predecessors, want at least %d", h.Index, len(s.Successors),
				len(s.Predecessors), want)
		}
	}
	return nil
}

func short(ids []wire.NodeID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.Short()
	}
	return out
}

// checkResponsible: every key has exactly one responsible peer.
func (w *World) checkResponsible(records []*Record) error {
	var keys []wire.ResourceID
	for _, r := range records {
		keys = append(keys, r.Resource)
	}
	for _, h := range w.hosts {
		at := chord.PointOf(h.ID)
		keys = append(keys, at.Resource(), at.Add(chord.Power(0)).Resource(), at.Sub(chord.Power(0)).Resource())
	}
	for _, k := range keys {
		var owners []int
		for _, h := range w.Living() {
			if h.Node.Responsible(wire.ToResource(k)) {
				owners = append(owners, h.Index)
			}
		}
		if len(owners) != 1 {
			return fmt.Errorf("key %s has owners %v", k.Short(), owners)
		}
	}
	return nil
}

// checkReplicas: what was acknowledged is at its owner and at its next two successors, or all there are.
func (w *World) checkReplicas(records []*Record) error {
	ring := w.ring()
	for _, r := range records {
		if r.acked == 0 {
			continue
		}
		p, _ := chord.PointOfResource(r.Resource)
		owner := slices.IndexFunc(ring, func(h *Host) bool { return h.Node.Responsible(wire.ToResource(r.Resource)) })
		for i := range min(len(ring), 1+chord.Replicas) {
			h := ring[(owner+i)%len(ring)]
			if !h.Node.Holds(r.Resource) {
				return fmt.Errorf("%s (%s, version %d): not at host %d (%s), which is replica %d", r.User, p.Resource().Short(),
					r.acked, h.Index, h.ID.Short(), i)
			}
		}
	}
	return nil
}

// checkLimits: queues are within their limits.
func (w *World) checkLimits([]*Record) error {
	for _, h := range w.Living() {
		s := h.Status()
		if name := s.Load.Over(); name != "" {
			return fmt.Errorf("host %d: too many %s", h.Index, name)
		}
		if s.Oldest > requestLifetime {
			return fmt.Errorf("host %d: a transaction is %v old", h.Index, s.Oldest)
		}
	}
	return nil
}

// checkFound: what was acknowledged is found from every host. In a large world each record is fetched from some hosts,
// and each host fetches some records.
func (w *World) checkFound(records []*Record) error {
	hosts := w.reachable()
	pending := 0
	ask := func(r *Record, h *Host) {
		if r.acked == 0 {
			return
		}
		pending++
		begun, acked := w.now, r.acked
		h.Do(r.OpFetch(), func(done node.Done) {
			pending--
			w.outcome("check", done)
			if done.Body == nil {
				w.violate("host %d: fetch of %s after %v: %v %v", h.Index, r.User, w.now.Sub(begun), done.Err, done.Refused)
				return
			}
			w.checkFetched(r, acked, h, done)
		})
	}
	w.pairs(records, hosts, ask)
	ended := func() bool { return pending == 0 }
	if !w.RunUntil(requestLifetime+time.Second, 20*time.Millisecond, ended) && w.violated == nil {
		return fmt.Errorf("%d fetches without an end", pending)
	}
	return w.violated
}

// maxPairs is up to how many pairs of record and host are all tried.
const maxPairs = 150

func (w *World) pairs(records []*Record, hosts []*Host, ask func(*Record, *Host)) {
	if len(records) == 0 {
		return
	}
	if len(records)*len(hosts) <= maxPairs {
		for _, r := range records {
			for _, h := range hosts {
				ask(r, h)
			}
		}
		return
	}
	for _, r := range records {
		for range 2 {
			ask(r, hosts[w.rand.IntN(len(hosts))])
		}
	}
	for _, h := range hosts {
		ask(records[w.rand.IntN(len(records))], h)
	}
}

func (w *World) checkFetched(r *Record, acked int, from *Host, done node.Done) {
	if acked > 0 && !r.holds(done.Values, acked) {
		w.violate("host %d: fetch of %s (%s) from %s gave %d values, none of version %d to %d", from.Index, r.User,
			r.Resource.Short(), done.From.Short(), len(done.Values), acked, r.version)
	}
}

// checkMessage looks at every message that leaves a host: no list grows past the TTL. It returns the header.
func (w *World) checkMessage(from *Host, raw []byte) wire.Header {
	h, _, err := wire.ParseHeader(raw)
	limit := int(w.c.Overlay.InitialTTL)
	switch {
	case from.Node == nil: // a client may send what it likes
	case err != nil:
		w.violate("host %d sent %v", from.Index, err)
	case h.Via.Len() > limit || h.Destinations.Len() > limit+1: // the way back has one hop more than the Via List
		w.violate("host %d sent a message with %d via entries and %d destinations", from.Index, h.Via.Len(), h.Destinations.Len())
	}
	return h
}
