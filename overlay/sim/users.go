package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

type txid = wire.TransactionID

// user is somebody who is registered at a gateway, and what the overlay has acknowledged of it.
type user struct {
	*Record
	life  int32 // of the home in which the last Store was sent
	still bool  // no more Stores
	name  string
	gone  time.Duration // when the last copy died; 0: there is one
}

// lookup is a lookup that is under way.
type lookup struct {
	timeouts int // copies of it, or of its answer, that met a dead peer
}

// enlist makes the users, has them registered and waits until they are.
func (r *run) enlist() {
	for i := range r.s.Users {
		h := r.hosts[r.rand.IntN(len(r.hosts))]
		name := fmt.Sprintf("user%d", i)
		u := &user{Record: r.NewRecord(name, h), name: name}
		r.users = append(r.users, u)
		r.homes[h] = append(r.homes[h], u)
		r.After(time.Duration(i)*time.Second/storesPerS, func() { r.register(u) })
		if r.s.Refresh > 0 {
			r.After(r.delay(0, r.s.Refresh)+time.Minute/2, func() { r.refresh(u) })
		}
		if r.s.Roam > 0 {
			r.poisson(1/r.s.Roam.Seconds(), maxRun, func() { r.roam(u) })
		}
	}
	r.pass(time.Duration(len(r.users)) * time.Second / storesPerS)
}

// serves reports whether a host can be asked for something.
func (h *Host) serves() bool { return h.Up && !h.paused && h.Node.State() == node.Joined }

// register stores the registration of a user, until it is acknowledged. A gateway that has started again knows nobody until
// their phones register again: see returned.
func (r *run) register(u *user) {
	home := u.Home
	if u.still || u.Pending && u.life == home.life || !home.Up {
		return
	}
	if !home.serves() {
		r.After(storeRetry, func() { r.register(u) })
		return
	}
	record, version := u.Record, u.version+1
	u.Pending, u.life = true, home.life
	r.m.Stores++
	home.Do(u.OpStore(r.Next(record)), func(d node.Done) {
		record.Pending = false
		if _, ok := d.Body.(*wire.StoreAns); ok {
			record.acked = max(record.acked, version)
			if u.Record == record {
				r.storedAgain(u)
			}
			return
		}
		r.m.StoresFailed++
		if u.Record == record {
			r.After(storeRetry, func() { r.register(u) })
		}
	})
}

// refresh stores again, now and then.
func (r *run) refresh(u *user) {
	r.register(u)
	r.After(r.s.Refresh*9/10+r.delay(0, r.s.Refresh/5), func() { r.refresh(u) })
}

// returned has phones register again at a gateway that has started again.
func (r *run) returned(h *Host) {
	for _, u := range r.homes[h] {
		if u.Home == h {
			r.After(r.delay(0, time.Minute), func() { r.register(u) })
		}
	}
}

// event takes what a node reports. Publishers store again what is theirs when it may be lost, one after the other.
func (r *run) event(at time.Duration, h *Host, e node.Event) {
	if r.o.Event != nil {
		r.o.Event(at, h, e)
	}
	if e.Type == node.EventUncertain {
		for _, u := range r.homes[h] {
			if u.Home == h {
				r.After(r.delay(0, publishAgain), func() { r.register(u) })
			}
		}
	}
}

// bereave notes of which registrations the last copies have died with some hosts.
func (r *run) bereave(dead []*Host) {
	for _, u := range r.users {
		held := slices.ContainsFunc(dead, func(h *Host) bool { return h.Node.Holds(u.Resource) })
		if !held || u.acked == 0 || u.gone > 0 || !r.gone(u.Resource) {
			continue
		}
		u.gone = r.Elapsed()
		r.m.AllCopiesDied++
		if !u.Home.Up {
			r.m.HomeDiedToo++
		}
	}
}

// storedAgain ends that.
func (r *run) storedAgain(u *user) {
	if u.gone > 0 {
		r.m.Away = append(r.m.Away, r.Elapsed()-u.gone)
		u.gone = 0
	}
}

// roam moves a user to another gateway. The one before takes its registration back.
func (r *run) roam(u *user) {
	to := r.hosts[r.rand.IntN(len(r.hosts))]
	if u.still || u.Pending || to == u.Home || !to.serves() || !u.Home.serves() || !r.SameSide(to, u.Home) {
		return
	}
	old := u.Record
	old.acked = 0
	old.Home.Do(old.OpStore(r.Remove(old)), func(node.Done) {})
	u.Record = r.NewRecord(u.name, to)
	r.homes[to] = append(r.homes[to], u)
	r.register(u)
}

// lookUpAny has any peer look any user up.
func (r *run) lookUpAny() {
	if len(r.users) == 0 {
		return
	}
	for range 8 { // draws of somebody who can be found by somebody who can ask
		u, from := r.users[r.rand.IntN(len(r.users))], r.hosts[r.rand.IntN(len(r.hosts))]
		if u.acked > 0 && from.serves() && (len(r.walls) == 0 || u.Home.Up && r.SameSide(from, u.Home)) {
			r.lookUp(u, from, r.counted())
			return
		}
	}
}

// NoCopyLeft is in Result.FailedWhy for lookups of a registration that no living peer holds any more, or none on this side of a
// partition, when it was asked for.
const NoCopyLeft = "no copy left"

// OtherHalf is in Result.FailedWhy, and counted in Result.Failed, for lookups that found nothing, or what was there before a partition,
// within a minute of its end, by peers that were on the other side of it than the gateway of the user: until the rings are one, there is
// no way to what has been stored there meanwhile.
const OtherHalf = "not found, from the other half"

// found is how a lookup ended.
type found struct {
	ok       bool
	why      string // it is not
	hops     int
	took     time.Duration
	timeouts int
}

// lookUp has a host look a user up. done is not called when the host dies meanwhile.
func (r *run) lookUp(u *user, from *Host, done func(found)) {
	record, acked, begun, l, away := u.Record, u.acked, r.now, &lookup{}, u.gone > 0 || len(r.walls) > 0 && r.goneFor(from, u.Resource)
	var tx txid
	tx = from.do(record.OpFetch(), func(d node.Done) {
		delete(r.lookups, tx)
		f := found{hops: d.Hops, took: r.now.Sub(begun), timeouts: l.timeouts}
		switch {
		case d.Err != nil:
			f.why = d.Err.Error()
		case d.Refused != nil:
			f.why = d.Refused.ErrorCode.String()
		case record.holds(d.Values, acked) || record.acked == 0: // who has moved meanwhile is nobody's mistake
			f.ok = true
		case away || r.goneFor(from, record.Resource):
			f.why = NoCopyLeft
		case r.justMet(from, record.Home):
			f.why = OtherHalf
		default:
			f.why = "not found"
		}
		done(f)
	})
	if tx != 0 {
		r.lookups[tx] = l
	}
}

// audit looks every acknowledged registration up, from some peers, or from all. What can not be found again and again is lost.
func (r *run) audit() {
	pending := 0
	var try func(u *user, from *Host, left int)
	try = func(u *user, from *Host, left int) {
		if !from.serves() {
			pending--
			return
		}
		r.lookUp(u, from, func(f found) {
			switch {
			case f.ok:
				pending--
			case left > 1:
				r.After(auditWait, func() { try(u, from, left-1) })
			default:
				pending--
				r.m.lost(u.User)
			}
		})
	}
	hosts, at := r.Living(), time.Duration(0)
	ask := func(u *user, from *Host) {
		pending++
		at += time.Second / auditsPerS
		r.After(at, func() { try(u, from, auditTries) })
	}
	for _, u := range r.users {
		switch {
		case u.acked == 0:
		case r.s.Audit < 0:
			for _, h := range hosts {
				ask(u, h)
			}
		default:
			for range r.s.Audit {
				ask(u, hosts[r.rand.IntN(len(hosts))])
			}
		}
	}
	r.RunUntil(at+auditTries*(requestLifetime+auditWait), 100*time.Millisecond, func() bool { return pending == 0 })
}
