package journal

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func open(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func loaded(t testing.TB, j *Journal) map[string]string {
	t.Helper()
	out := make(map[string]string)
	if err := j.Load(func(k, v []byte) { out[string(k)] = string(v) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever was committed is there after the file was closed and opened again.
func TestJournalKeeps(t *testing.T) {
	dir, runs := t.TempDir(), 0
	key := rapid.StringN(1, 4, 8)
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(dir, strconv.Itoa(runs))
		j := open(t, path)
		j.db.NoSync = true // the disk is not what is tested
		want := make(map[string]string)
		for range rapid.IntRange(1, 8).Draw(rt, "commits") {
			all := rapid.Bool().Draw(rt, "all")
			changes := rapid.MapOfN(key, rapid.SliceOfN(rapid.Byte(), 0, 3), 0, 5).Draw(rt, "changes")
			if all {
				clear(want)
			}
			for k, v := range changes {
				if want[k] = string(v); len(v) == 0 {
					delete(want, k)
				}
			}
			if err := j.Commit(all, maps.All(changes)); err != nil {
				rt.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, loaded(t, open(t, path))); diff != "" {
			rt.Fatalf("kept (-want +got):\n%s", diff)
		}
	})
}

// A commit that can not be carried out changes nothing.
func TestCommitIsAllOrNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"))
	if err := j.Commit(false, maps.All(map[string][]byte{"a": []byte("1")})); err != nil {
		t.Fatal(err)
	}
	bad := func(yield func(string, []byte) bool) {
		_ = yield("b", []byte("2")) && yield("", []byte("3")) // bbolt has no empty keys
	}
	for _, all := range []bool{false, true} {
		if err := j.Commit(all, bad); err == nil {
			t.Error("an empty key was kept")
		}
		if diff := cmp.Diff(map[string]string{"a": "1"}, loaded(t, j)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestOpenInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	open(t, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("opened a directory: %v", err)
	}
}

// A file whose pages make no sense, or are not there, is put aside: a node must not be kept from starting, or be ended later, by what
// the ring has anyway.
func TestADamagedFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := open(t, path)
	changes := make(map[string][]byte)
	for i := range 500 {
		changes[strconv.Itoa(i)] = bytes.Repeat([]byte{byte(i)}, 1000)
	}
	if err := j.Commit(false, maps.All(changes)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 1))
	aside := 0
	for i := range 60 {
		bad := bytes.Clone(good)
		at := page * random.IntN(len(bad)/page)
		switch i % 3 {
		case 0:
			clear(bad[at : at+page])
		case 1:
			for k := range page {
				bad[at+k] = byte(random.Uint32())
			}
		case 2:
			bad = bad[:at+random.IntN(page)]
		}
		path := filepath.Join(dir, "damaged"+strconv.Itoa(i))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if j.Damage() != nil {
			aside++
			if !errors.Is(j.Damage(), ErrDamaged) || len(loaded(t, j)) > 0 {
				t.Errorf("%v, and %d values", j.Damage(), len(loaded(t, j)))
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
		}
		for _, all := range []bool{false, true} { // what is damaged where nobody looks yet is an error, at most
			if err := j.Commit(all, maps.All(changes)); err != nil && (j.Damage() != nil || !errors.Is(err, ErrDamaged)) {
				t.Error(err)
			}
		}
		_ = j.Close()
	}
	if aside < 5 {
		t.Errorf("%d of 60 files were put aside", aside)
	}
}
