package lease

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Feature: TRK-05
func TestNeverTwoHoldersAtOnce(t *testing.T) {
	takes := 0
	for seed := range uint64(400) {
		w := newWorld(t, seed, 2+int(seed%4))
		w.faults = true
		w.after(0, w.disturb)
		w.run(10 * time.Minute)
		w.faults = false
		w.run(w.now + 2*time.Minute)
		if w.holder == nil {
			t.Fatalf("seed %d: nobody holds the lease in the end", seed)
		}
		takes += w.takes
	}
	if takes < 2000 {
		t.Errorf("the lease was taken %d times in all: the worlds are too quiet to show anything", takes)
	}
}

// A node that is there keeps the lease, and when it is killed another has it within 30 s.
func TestTakeover(t *testing.T) {
	var worst time.Duration
	for seed := range uint64(300) {
		w := newWorld(t, seed, 3)
		w.run(20*time.Second + w.upTo(20*time.Second))
		first := w.holder
		if first == nil || w.takes != 1 {
			t.Fatalf("seed %d: holder %v after %d takes", seed, first, w.takes)
		}
		first.kill()
		w.check()
		killed := w.now
		for w.holder == nil && w.now < killed+time.Minute {
			w.run(w.now + 10*time.Millisecond)
		}
		worst = max(worst, w.now-killed)
	}
	if worst > 27*time.Second {
		t.Errorf("another held the lease %v after a kill, want 27 s at most", worst)
	}
	t.Logf("worst: %v", worst)
}

// Who gives the lease back has another one take it at its next look.
func TestRelease(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.run(time.Minute)
	first := w.holder
	first.lease.Release(first.clock())
	first.step()
	w.check()
	if first.lease.Held(first.clock()) {
		t.Error("held after Release")
	}
	w.run(w.now + poll + confirm + time.Second)
	if w.holder == nil || w.holder == first {
		t.Errorf("holder %v", w.holder)
	}
	if !first.lease.Left() || !first.lease.Deadline(first.clock()).IsZero() {
		t.Error("something left to do after Release")
	}
}

// A program that starts again under the same Node-ID need not wait for the end of its own record.
func TestRestart(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.run(time.Minute)
	first := w.holder
	first.kill()
	first.start()
	w.check()
	w.run(w.now + confirm + time.Second)
	if w.holder != first {
		t.Errorf("holder %v", w.holder)
	}
}

// Two halves of a ring that know nothing of one another have a holder each. When they are one again, who finds the other's
// record yields at its next renewal.
func TestPartition(t *testing.T) {
	now := time.Unix(1e9, 0)
	a, b := New("a", rand.New(rand.NewPCG(1, 1)), now), New("b", rand.New(rand.NewPCG(2, 2)), now)
	for _, l := range []*Lease{a, b} {
		take(t, l, now)
	}
	at := now.Add(settle + confirm + Renewal)
	op, ok := a.Next(at)
	if !ok || op.Write {
		t.Fatalf("op %+v %v", op, ok)
	}
	a.Read(at, Record{Exists: true, Holder: "b", Mark: 7, Left: Lifetime, Generation: 2})
	if a.Held(at) || a.Holder(at) != "b" {
		t.Errorf("held %v, holder %q", a.Held(at), a.Holder(at))
	}
	if !b.Held(at) {
		t.Error("both yielded")
	}
}

// A write whose answer did not come counts from when it was sent, not from when it was found.
func TestUnknownWrite(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New("a", rand.New(rand.NewPCG(1, 1)), now)
	begin(t, l, now)
	l.Read(now, Record{Exists: true, Generation: 4})
	op := begin(t, l, now)
	if !op.Write || op.Create || op.Generation != 4 {
		t.Fatalf("op %+v", op)
	}
	later := now.Add(5 * time.Second)
	l.Written(later, Unknown)
	if l.Held(later) {
		t.Error("held though nobody said so")
	}
	later = l.Deadline(later)
	begin(t, l, later)
	l.Read(later, Record{Exists: true, Holder: "a", Mark: op.Mark, Left: 12 * time.Second, Generation: 5})
	if end := now.Add(Lifetime - holderMargin); !l.Held(later) || l.Held(end) {
		t.Errorf("held %v at %v, %v at %v", l.Held(later), later.Sub(now), l.Held(end), end.Sub(now))
	}
}

// A write that is not allowed is not tried again at once, and a foreign record in the place of one given back is left alone.
func TestDeniedAndLeft(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New("a", rand.New(rand.NewPCG(1, 1)), now)
	begin(t, l, now)
	l.Read(now, Record{Exists: true, Generation: 4})
	begin(t, l, now)
	l.Written(now, Denied)
	if d := l.Deadline(now).Sub(now); d != deny {
		t.Errorf("again after %v", d)
	}
	l.Release(now)
	begin(t, l, now)
	l.Read(now, Record{Exists: true, Holder: "b", Left: time.Second})
	if !l.Left() {
		t.Error("not left")
	}
}

// begin is the operation that is due.
func begin(t *testing.T, l *Lease, now time.Time) Op {
	t.Helper()
	op, ok := l.Next(now)
	if !ok {
		t.Fatal("nothing to do")
	}
	if _, again := l.Next(now); again {
		t.Fatal("two operations at once")
	}
	return op
}

// take has l take an empty place that it watched for as long as it has to.
func take(t *testing.T, l *Lease, now time.Time) {
	t.Helper()
	op := begin(t, l, now)
	for ; !op.Write; op = begin(t, l, now) {
		l.Read(now, Record{})
		now = l.Deadline(now)
	}
	if !op.Create {
		t.Fatalf("op %+v", op)
	}
	l.Written(now, Accepted)
	begin(t, l, now)
	l.Read(now, Record{Exists: true, Holder: l.self, Mark: op.Mark, Left: Lifetime, Generation: 1})
	if op = begin(t, l, now); !op.Write || op.Create || op.Generation != 1 {
		t.Fatalf("op %+v", op)
	}
	l.Written(now, Accepted)
	if l.Held(now) {
		t.Error("held before it was read again")
	}
	now = l.Deadline(now)
	begin(t, l, now)
	l.Read(now, Record{Exists: true, Holder: l.self, Mark: op.Mark, Left: Lifetime - confirm, Generation: 2})
	if !l.Held(now) {
		t.Fatal("not held")
	}
}
