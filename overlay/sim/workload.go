package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// lifetime of stored values, in seconds: longer than any world.
const lifetime = 24 * 3600

// Record is one user's registration at one gateway, and what the overlay was asked to hold of it.
type Record struct {
	User     string
	Resource wire.ResourceID
	Home     *Host

	by      *identity
	time    uint64 // last storage_time used
	version int
	signed  []wire.StoredData // by its owner, oldest first
	acked   int               // the newest version that the overlay acknowledged
	// Pending is a Store that waits for its answer.
	Pending bool
}

// NewRecord names a user of a host. Nothing is stored yet.
func (w *World) NewRecord(user string, home *Host) *Record {
	user += "@" + w.c.Overlay.InstanceName
	return &Record{User: user, Resource: wire.ResourceIDOf(user), Home: home, by: w.trust.issue(user, home.ID)}
}

// Certificate is the user's.
func (r *Record) Certificate() wire.Certificate { return wire.Certificate{Data: r.by.der} }

// value is version v of the record.
func (r *Record) value(v int) []byte {
	route := wire.SipRegistration{Type: wire.SipRegistrationRoute, ContactPrefs: fmt.Sprintf("version %d", v),
		Destinations: wire.NewDestinationList(wire.ToNode(r.Home.ID))}
	return route.AppendTo(nil)
}

// Next signs the next version of the record, as of now.
func (w *World) Next(r *Record) wire.StoredData {
	r.version++
	r.time = max(r.time+1, uint64(r.Home.now().UnixMilli()))
	r.signed = append(r.signed, w.SignVersion(r, r.version, r.time))
	return r.signed[len(r.signed)-1]
}

// SignVersion signs one version of the record with a given storage_time, in ms since 1970.
func (w *World) SignVersion(r *Record, version int, storageTime uint64) wire.StoredData {
	d := wire.StoredData{StorageTime: storageTime, Lifetime: lifetime, Value: wire.StoredValue{Model: wire.Dictionary,
		Key: string(r.Home.ID.Bytes()), Exists: true, Data: r.value(version)}}
	r.by.signValue(r.Resource, wire.KindSIPRegistration, &d)
	return d
}

// SignValue signs d as the owner of the record, for another Kind than SIP-REGISTRATION.
func (r *Record) SignValue(kind wire.KindID, d *wire.StoredData) { r.by.signValue(r.Resource, kind, d) }

// Remove signs a tombstone for the record.
func (w *World) Remove(r *Record) wire.StoredData {
	d := w.Next(r)
	d.Value.Exists, d.Value.Data = false, nil
	r.by.signValue(r.Resource, wire.KindSIPRegistration, &d)
	return d
}

// OpStore is the operation that stores d for the record.
func (r *Record) OpStore(d wire.StoredData) node.OpStore {
	return node.OpStore{By: r.by.signer, Resource: r.Resource, Kind: wire.KindSIPRegistration, Values: []wire.StoredData{d}}
}

// OpFetch fetches what is stored for the user.
func (r *Record) OpFetch() node.OpFetch {
	return node.OpFetch{Resource: r.Resource, Specifier: wire.Specifier{Kind: wire.KindSIPRegistration, Model: wire.Dictionary}}
}

// Store stores the next version of a record from its home.
func (w *World) Store(r *Record) {
	if r.Pending || !r.Home.Up {
		return
	}
	r.Pending = true
	d, version, begun := w.Next(r), r.version, w.now
	r.Home.Do(r.OpStore(d), func(done node.Done) {
		r.Pending = false
		w.lived("store", begun)
		if _, ok := done.Body.(*wire.StoreAns); ok {
			r.acked = max(r.acked, version)
		}
		w.outcome("store", done)
	})
}

// Fetch has a host fetch a record and checks what comes.
func (w *World) Fetch(r *Record, from *Host) {
	begun, acked := w.now, r.acked
	from.Do(r.OpFetch(), func(done node.Done) {
		w.lived("fetch", begun)
		w.outcome("fetch", done)
		if done.Body != nil {
			w.checkFetched(r, acked, from, done)
		}
	})
}

// outcome counts how operations end.
func (w *World) outcome(op string, d node.Done) {
	switch {
	case d.Err != nil:
		w.Counts[op+":"+d.Err.Error()]++
	case d.Refused != nil:
		w.Counts[op+":"+d.Refused.ErrorCode.String()+" "+string(d.Refused.Info)]++
	default:
		w.Counts[op+":ok"]++
		w.Counts[op+":hops"] += d.Hops
	}
}

// holds reports whether the values contain the record in a version that may be there.
func (r *Record) holds(values []node.Value, acked int) bool {
	return slices.ContainsFunc(values, func(v node.Value) bool {
		for version := acked; version <= r.version; version++ {
			if v.Value.Exists && string(v.Value.Data) == string(r.value(version)) {
				return true
			}
		}
		return false
	})
}

// lived holds the request lifetime: no transaction outlives 15 s (RFC 6940 §6.2.1).
func (w *World) lived(op string, begun time.Time) {
	if d := w.now.Sub(begun); d > requestLifetime+maxCrypto {
		w.violate("a %s took %v", op, d)
	}
}
