package location

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var (
	epoch    = time.UnixMilli(1_700_000_000_000)
	addrport = cmpopts.EquateComparable(netip.AddrPort{})
)

func binding(contact string, expires time.Time) Binding {
	return Binding{
		Contact: contact, Params: `;+sip.instance="<urn:uuid:1>"`, Q: 1000, Expires: expires, CallID: "c1", CSeq: 7,
		Path: []string{"<sip:edge;lr>"}, UserAgent: "phone", Registered: epoch, Updated: epoch,
		Hop: Hop{Transport: "TLS", Remote: netip.MustParseAddrPort("[2001:db8::1]:5061"), Local: netip.MustParseAddrPort("127.0.0.1:5061"), Flow: 9},
	}
}

// update waits until a change is durable.
func update(t *testing.T, b *Bindings, aor AOR, edit Edit) ([]Binding, error) {
	t.Helper()
	type result struct {
		set []Binding
		err error
	}
	c := make(chan result, 2)
	b.Update(aor, edit, func(set []Binding, err error) { c <- result{set, err} })
	r := <-c
	select {
	case <-c:
		t.Error("done was called twice")
	default:
	}
	return r.set, r.err
}

func set(bs ...Binding) Edit {
	return func([]Binding) ([]Binding, error) { return bs, nil }
}

func open(t *testing.T, path string) *Bindings {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Feature: REG-26
func TestBindingsSurviveRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bindings.db")
	b := open(t, path)
	want := []Binding{binding("sip:a@h:5060", epoch.Add(time.Hour)), binding("sip:b@h", epoch.Add(2*time.Hour))}
	if _, err := update(t, b, "alice@example.org", set(want...)); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, b, "bob@example.org", set(binding("sip:gone@h", epoch.Add(time.Minute)))); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	if diff := cmp.Diff(want, b.Get("alice@example.org", epoch.Add(10*time.Minute)), addrport); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
	if got := b.Get("bob@example.org", epoch.Add(10*time.Minute)); len(got) != 0 {
		t.Errorf("an expired binding came back: %v", got)
	}
	if got := b.Sweep(epoch.Add(10 * time.Minute)); len(got) != 1 || len(got["bob@example.org"]) != 0 {
		t.Errorf("what lapsed while it was closed: %v", got)
	}
	if b.Count() != 2 {
		t.Errorf("count is %d, want 2", b.Count())
	}
}

func TestOpenOfAFileInUseSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bindings.db")
	open(t, path)
	if _, err := Open(path); err == nil || err.Error() != "location: "+path+" is in use by another process" {
		t.Errorf("second Open: %v", err)
	}
}

// Feature: REG-02
func TestUpdateIsAllOrNothing(t *testing.T) {
	b := NewBindings()
	first := binding("sip:a@h", epoch.Add(time.Hour))
	if _, err := update(t, b, "a@d", set(first)); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if _, err := update(t, b, "a@d", func([]Binding) ([]Binding, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("error is %v, want the edit's", err)
	}
	if got := b.Get("a@d", epoch); len(got) != 1 {
		t.Errorf("bindings after a refused edit: %v", got)
	}
}

func TestUpdateAfterCloseIsUnavailable(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "b.db"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, b, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour)))); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
	}
	if got := b.Get("a@d", epoch); got != nil {
		t.Errorf("a change that is not durable is visible: %v", got)
	}
}

func TestAFailedWriteIsTakenBack(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "b.db"))
	if _, err := update(t, b, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour)))); err != nil {
		t.Fatal(err)
	}
	if err := b.journal.db.Close(); err != nil { // every commit fails from here on
		t.Fatal(err)
	}
	for _, edit := range []Edit{set(), set(binding("sip:b@h", epoch.Add(time.Hour)))} {
		if _, err := update(t, b, "a@d", edit); !errors.Is(err, ErrUnavailable) {
			t.Errorf("error is %v, want ErrUnavailable", err)
		}
		if got := b.Get("a@d", epoch); len(got) != 1 || got[0].Contact != "sip:a@h" {
			t.Errorf("bindings after a failed write: %v", got)
		}
	}
}

func TestSweepRemovesWhatExpired(t *testing.T) {
	b := NewBindings()
	short, long := binding("sip:s@h", epoch.Add(time.Minute)), binding("sip:l@h", epoch.Add(time.Hour))
	if _, err := update(t, b, "a@d", set(short, long)); err != nil {
		t.Fatal(err)
	}
	if got := b.NextExpiry(); !got.Equal(short.Expires) {
		t.Errorf("NextExpiry is %v, want %v", got, short.Expires)
	}
	if got := b.Sweep(epoch); len(got) != 0 {
		t.Errorf("Sweep before anything expired: %v", got)
	}
	if got := b.Get("a@d", short.Expires); len(got) != 1 {
		t.Errorf("Get shows an expired binding before the sweep: %v", got)
	}
	if got := b.Sweep(short.Expires); len(got["a@d"]) != 1 || len(got) != 1 {
		t.Errorf("first Sweep: %v", got)
	}
	if got, ok := b.Sweep(long.Expires)["a@d"]; !ok || len(got) != 0 {
		t.Errorf("second Sweep: %v, %v", got, ok)
	}
	if b.Count() != 0 || !b.NextExpiry().IsZero() {
		t.Errorf("left over: %d bindings, next expiry %v", b.Count(), b.NextExpiry())
	}
}

func TestRefreshingDoesNotGrowTheHeap(t *testing.T) {
	b := NewBindings()
	for i := range 1000 {
		if _, err := update(t, b, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour+time.Duration(i)*time.Second)))); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.due) != 1 {
		t.Errorf("%d scheduled expiries for one AOR", len(b.due))
	}
}

func TestChangesOfOneAORAreDurableInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	b := open(t, path)
	const n = 200
	var wg sync.WaitGroup
	for range n {
		wg.Add(1)
		go b.Update("a@d", func(old []Binding) ([]Binding, error) {
			c := binding("sip:a@h", epoch.Add(time.Hour))
			if len(old) > 0 {
				c.CSeq = old[0].CSeq + 1
			} else {
				c.CSeq = 1
			}
			return []Binding{c}, nil
		}, func([]Binding, error) { wg.Done() })
	}
	wg.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	if got := b.Get("a@d", epoch); len(got) != 1 || got[0].CSeq != n {
		t.Errorf("after the restart: %v, want CSeq %d", got, n)
	}
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := []Binding{}
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			b := binding(rapid.String().Draw(t, "contact"), time.UnixMilli(rapid.Int64Range(1, 1<<45).Draw(t, "expires")))
			b.Params, b.CSeq, b.Hop.Node = rapid.String().Draw(t, "params"), rapid.Uint32().Draw(t, "cseq"), rapid.String().Draw(t, "node")
			b.Instance, b.RegID, b.Since = rapid.String().Draw(t, "instance"), rapid.Uint32().Draw(t, "reg-id"), b.Expires
			b.Bulk = rapid.Bool().Draw(t, "bulk")
			b.Path = rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "path")
			want = append(want, b)
		}
		enc := appendSet(nil, want)
		got, err := parseSet(enc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, addrport); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		for i := range enc {
			if _, err := parseSet(enc[:i]); err == nil {
				t.Fatalf("a record cut at %d of %d is accepted", i, len(enc))
			}
		}
	})
}

// A table that was written before devices, or numbers, had fields of their own is read.
func TestCodecReadsOlderVersions(t *testing.T) {
	want := binding("sip:a@h", epoch)
	enc := appendSet(nil, []Binding{want})
	for version, without := range map[byte]int{codecVersionOld: 4, codecVersionDevices: 1} { // Instance, RegID, Since and Bulk, which are empty
		old := append([]byte{version}, enc[1:len(enc)-without]...)
		got, err := parseSet(old)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Binding{want}, got, addrport); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(appendSet(nil, []Binding{binding("sip:a@h", epoch)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseSet(b); err != nil && !errors.Is(err, errCorrupt) {
			t.Error(err)
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	for _, durable := range []bool{false, true} {
		b.Run(fmt.Sprintf("durable=%v", durable), func(b *testing.B) {
			t := NewBindings()
			if durable {
				var err error
				if t, err = Open(filepath.Join(b.TempDir(), "b.db")); err != nil {
					b.Fatal(err)
				}
				defer t.Close()
			}
			edit := set(binding("sip:a@h", epoch.Add(time.Hour)))
			var bound sync.WaitGroup
			aors := make([]AOR, 10000)
			for i := range aors {
				if i%5000 == 0 {
					bound.Wait() // the journal's queue has a limit
				}
				aors[i] = AOR(fmt.Sprintf("u%07d@bench.test", i))
				bound.Add(1)
				t.Update(aors[i], edit, func([]Binding, error) { bound.Done() })
			}
			bound.Wait()
			b.ReportAllocs()
			var i int
			for b.Loop() {
				i++
				t.Update(aors[i%len(aors)], edit, func([]Binding, error) {})
			}
		})
	}
}

func TestWhatComesOfOneCommitIsToldTogether(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "b.db"))
	var mu sync.Mutex
	together, told, groups := false, 0, 0
	b.Together(func(tell func()) {
		mu.Lock()
		defer mu.Unlock()
		together = true
		groups++
		tell()
		together = false
	})
	const n = 100
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		b.Update(AOR("a"+strconv.Itoa(i)), set(binding("sip:a@h", epoch.Add(time.Hour))), func(_ []Binding, err error) {
			if err != nil || !together {
				t.Errorf("%v, together %v", err, together)
			}
			told++
			wg.Done()
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if told != n || groups > n/2 {
		t.Errorf("%d told in %d groups", told, groups)
	}
}

// Phones that come and go leave nothing behind in the list of what expires, and one that was only refreshed is not written again.
func TestPhonesThatComeAndGoLeaveNothing(t *testing.T) {
	b := NewBindings()
	now := time.Now()
	set := func(n int, until time.Time) {
		b.Update(AOR(fmt.Sprintf("u%d@example.org", n)), func([]Binding) ([]Binding, error) {
			if until.IsZero() {
				return nil, nil
			}
			return []Binding{{Contact: "sip:u@192.0.2.1", Expires: until}}, nil
		}, func([]Binding, error) {})
	}
	for range 1000 {
		for n := range 3 {
			set(n, now.Add(time.Duration(n+1)*time.Hour))
		}
		for n := range 3 {
			set(n, time.Time{})
		}
	}
	if len(b.due) != 0 {
		t.Errorf("%d entries wait for their time", len(b.due))
	}
	set(1, now.Add(time.Hour))
	set(2, now.Add(time.Minute))
	set(2, time.Time{})
	set(3, now.Add(2*time.Hour))
	if got := b.NextExpiry(); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("next %v", got.Sub(now))
	}
	if got := b.Sweep(now.Add(time.Hour)); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
