package message

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever was in the memory of a message before, nothing of it is in the next one; and what was taken from the one before stays as it was.
func TestMemoryThatIsUsedAgainMakesNoDifference(t *testing.T) {
	names, err := filepath.Glob("testdata/torture/*.dat")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	var room, answer Message
	m := &room
	var before string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := Parse(b)
		got, gotErr := ParseInto(m, b)
		if diff := cmp.Diff(want, got); diff != "" || !cmp.Equal(wantErr, gotErr) {
			t.Errorf("%s: %v %v\n%s", name, wantErr, gotErr, diff)
		}
		if got == nil {
			m = nil
			continue
		}
		if from := got.Get(From); got.IsRequest() {
			ResponseInto(&answer, got, 200, "", "tag")
			if diff := cmp.Diff(NewResponse(want, 200, "", "tag"), &answer); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			answer.Reset()
			if before = from; before != want.Get(From) {
				t.Errorf("%s: From is %q", name, before)
			}
		}
		got.Reset()
		if before != "" && want.IsRequest() && before != want.Get(From) {
			t.Errorf("%s: From has become %q", name, before)
		}
		m = got
	}
}
