package overlay

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Evidence is what the overlay holds at one place, with all that is needed to check it, and who was seen to hold it.
type Evidence struct {
	Values       []wire.StoredData  // that exist, verified and authorised, with the lifetimes that remain
	Certificates []wire.Certificate // of those who signed, intermediates included
	Responsible  wire.NodeID        // the peer that answered
	Replicas     []wire.NodeID      // those of its next two successors that answered with the same values
}

// replicas is how many copies of a value there are besides the one of the responsible peer (RFC 6940 §10.4).
const replicas = 2

// Evidence is Fetch with everything that proves what it says. Values of replicas that do not answer in time are not waited for.
func (p *Peer) Evidence(ctx context.Context, res wire.ResourceID, kind wire.KindID) (e Evidence, err error) {
	s, err := everything(p.Config(), kind)
	if err != nil {
		return e, err
	}
	op := node.OpFetch{Resource: res, Specifier: s}
	done, err := p.do(ctx, op)
	if err != nil {
		return e, err
	}
	for _, v := range existing(done.Values) {
		e.Values = append(e.Values, v.StoredData)
	}
	e.Responsible = done.From
	if done.From == p.self {
		_, e.Certificates = p.held(op)
	} else {
		e.Certificates = done.Answer.Message().Security.Certificates
	}
	if len(e.Values) == 0 {
		return e, nil
	}
	short, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	e.Replicas = p.replicasOf(short, op, e)
	return e, nil
}

// replicasOf asks the successors of the responsible peer what they hold.
func (p *Peer) replicasOf(ctx context.Context, op node.OpFetch, e Evidence) (found []wire.NodeID) {
	at := e.Responsible
	for range replicas {
		_, next, err := p.Ping(ctx, wire.NewDestinationList(wire.ToResource(behind(at))))
		if err != nil || next == e.Responsible || slices.Contains(found, next) {
			break
		}
		at, op.At = next, next
		var values []wire.StoredData
		if next == p.self {
			values, _ = p.held(op)
		} else {
			var done node.Done
			if done, err = p.do(ctx, op); err == nil {
				for _, v := range done.Values {
					values = append(values, v.StoredData)
				}
			}
		}
		if err == nil && covers(values, e.Values) {
			found = append(found, next)
		}
	}
	return found
}

// covers reports whether all of want are among have: the same values, stored at the same time, signed with the same signature.
func covers(have, want []wire.StoredData) bool {
	for i := range want {
		if !slices.ContainsFunc(have, func(d wire.StoredData) bool {
			return d.StorageTime == want[i].StorageTime && bytes.Equal(d.Signature.Value, want[i].Signature.Value)
		}) {
			return false
		}
	}
	return true
}

// held is what this peer holds itself.
func (p *Peer) held(op node.OpFetch) ([]wire.StoredData, []wire.Certificate) {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.node.Held(time.Now(), op)
}
