package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
)

func (fakeNode) sortedForwards() []ForwardReport {
	return []ForwardReport{{AOR: "a@d", URI: "sip:b@d", State: "stored"}}
}

func (fakeNode) forward(_ context.Context, aor location.AOR, uri string) (ForwardReport, error) {
	if uri == "nonsense" {
		return ForwardReport{}, errors.New("E0220 no place")
	}
	return ForwardReport{AOR: string(aor), URI: uri, State: "pending"}, nil
}

func (fakeNode) explain(_ context.Context, aor location.AOR) ([]StepReport, error) {
	if aor == "lost@d" {
		return nil, location.ErrUnavailable
	}
	return []StepReport{{AOR: string(aor), URI: "sip:b@d", Result: "loop"}}, nil
}

func TestAdminForwards(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/api/v1/forwards", "", 200, `"uri": "sip:b@d"`},
		{"PUT", "/api/v1/forwards/a@d", `{"uri": "sip:c@d"}`, 200, `"uri": "sip:c@d"`},
		{"PUT", "/api/v1/forwards/a%40d", `{"uri": "sip:c@d"}`, 200, `"aor": "a@d"`},
		{"PUT", "/api/v1/forwards/a@d", `{"uri": "nonsense"}`, 422, "no place"},
		{"PUT", "/api/v1/forwards/a@d", `{}`, 400, "E0220"},
		{"PUT", "/api/v1/forwards/a@d", strings.Repeat(" ", forwardBodyMax) + `{"uri": "sip:c@d"}`, 400, "E0220"},
		{"DELETE", "/api/v1/forwards/a@d", "", 200, `"uri": ""`},
		{"POST", "/api/v1/forwards/a@d", "", 405, ""},
		{"GET", "/api/v1/lookup?aor=a@d&explain=1", "", 200, `"result": "loop"`},
		{"GET", "/api/v1/lookup?aor=lost@d&explain=1", "", 504, "unavailable"},
	} {
		w := httptest.NewRecorder()
		adminHandler(fakeNode{}, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.path, w.Code, w.Body, c.status, c.contains)
		}
	}
}

// toldOverlay is a publisher that writes down what it is told.
type toldOverlay struct{ told []string }

func (o *toldOverlay) Extend(location.AOR, time.Time) bool { return true }

func (o *toldOverlay) Publish(aor location.AOR, until time.Time, done func(error)) {
	o.told = append(o.told, fmt.Sprint("route ", aor, " ", until.Unix()))
	done(nil)
}

func (o *toldOverlay) Withdraw(aor location.AOR, done func(error)) {
	o.told = append(o.told, fmt.Sprint("nothing ", aor))
	done(nil)
}

func (o *toldOverlay) Forward(aor location.AOR, uri string, done func(error)) error {
	o.told = append(o.told, fmt.Sprint("forward ", aor, " ", uri))
	done(nil)
	return nil
}

func (o *toldOverlay) State(location.AOR) sipusage.State { return sipusage.Stored }

func (o *toldOverlay) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(o.told, want) {
		t.Errorf("the overlay was told %q, want %q", o.told, want)
	}
	o.told = nil
}

// What phones do does not undo a forwarding; its end brings back what they have done meanwhile. It survives a restart.
//
// Feature: PRX-32
func TestAForwardingTakesThePlaceOfTheRoute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "forwards.json")
	o, bindings, now := &toldOverlay{}, location.NewBindings(), time.Unix(1000, 0)
	open := func() *forwards {
		f, err := openForwards(path)
		if err != nil {
			t.Fatal(err)
		}
		f.bindings, f.publisher = bindings, o
		return f
	}
	f, nobody := open(), func(error) {}
	f.Publish("a@d", time.Unix(1300, 0), nobody)
	o.want(t, "route a@d 1300")
	if !f.Extend("a@d", time.Unix(1300, 0)) {
		t.Error("the overlay holds the route, and it is not said")
	}
	change := func(uri string) {
		t.Helper()
		told := 0
		if err := f.change("a@d", uri, now, func(error) { told++ }); err != nil || told != 1 {
			t.Fatalf("%v, told %d times", err, told)
		}
	}
	change("sip:b@d")
	f.Publish("a@d", time.Unix(1400, 0), nobody)
	f.Withdraw("a@d", nobody)
	f.Withdraw("c@d", nobody)
	o.want(t, "forward a@d sip:b@d", "forward a@d sip:b@d", "forward a@d sip:b@d", "nothing c@d")
	if f.Extend("a@d", time.Unix(1400, 0)) || !f.Extend("c@d", time.Unix(1400, 0)) {
		t.Error("a route is extended that a forwarding stands in place of, or none is")
	}

	f = open()
	if uri, ok := f.to("a@d"); !ok || uri != "sip:b@d" || !f.all()["a@d"].Since.Equal(now) {
		t.Errorf("after a restart: %v", f.all())
	}
	f.announce()
	o.want(t, "forward a@d sip:b@d")
	change("sip:c@d")
	change("")
	o.want(t, "forward a@d sip:c@d", "nothing a@d")
	change("sip:b@d")
	bindings.Update("a@d", func([]location.Binding) ([]location.Binding, error) {
		return []location.Binding{{Contact: "sip:1@h", Expires: time.Unix(1500, 0)}, {Contact: "sip:2@h", Expires: time.Unix(1600, 0)}}, nil
	}, func([]location.Binding, error) {})
	change("")
	o.want(t, "forward a@d sip:b@d", "route a@d 1600")
	if _, ok := open().to("a@d"); ok {
		t.Error("it came back with the restart")
	}
}

func TestForwardingsThatCanNotBeKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "forwards.json")
	for _, text := range []string{"{", "null", "[]"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openForwards(path); err == nil || !strings.Contains(err.Error(), codeForward) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
	}
	o := &toldOverlay{}
	f := &forwards{path: filepath.Join(dir, "missing", "f.json"), bindings: location.NewBindings(), publisher: o, set: map[location.AOR]forwarding{}}
	if err := f.change("a@d", "sip:b@d", time.Now(), func(error) {}); err == nil || len(f.all()) > 0 || len(o.told) > 0 {
		t.Errorf("not on the disk: %v, %v, %v", err, f.all(), o.told)
	}
	f.path = path
	for i := range maxForwards {
		f.set[location.AOR(fmt.Sprint(i, "@d"))] = forwarding{URI: "sip:b@d"}
	}
	if err := f.change("a@d", "sip:b@d", time.Now(), func(error) {}); !errors.Is(err, errForwardsFull) {
		t.Errorf("one more than the limit: %v", err)
	}
	if err := f.change("1@d", "sip:c@d", time.Now(), func(error) {}); err != nil {
		t.Errorf("another place for one that is set: %v", err)
	}
}

func TestWhereCallsCanBeForwardedTo(t *testing.T) {
	n, err := newNames("example.org", []string{"192.0.2.1:5060"})
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{names: n}
	g.o.Config.Domain = "example.org"
	for s, want := range map[string]string{
		"bob": "sip:bob@example.org", "bob@example.org": "sip:bob@example.org", "sip:b%6fb@EXAMPLE.org:5070;x=y": "sip:bob@example.org",
		"sips:bob@example.org": "sips:bob@example.org", "sip:bob@192.0.2.1": "sip:bob@example.org",
		"bob@other.example": "sip:bob@other.example", "sip:+49@pbx.example:5070;transport=tcp": "sip:+49@pbx.example:5070;transport=tcp",
		"alice": "", "sip:alice@example.org": "", "tel:+49": "", "": "", "sip:other.example": "", "sip:a b@h": "", "sip:a@h?X=y": "", "sip:a:pw@h": "",
		"sip:bob@example.org;gr=urn:uuid:1": "", "sip:b@" + strings.Repeat("h", maxForwardURI): "",
	} {
		got, err := g.destination("alice@example.org", s)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.HasPrefix(err.Error(), codeForward+" ") {
			t.Errorf("%q: %q, %v; want %q", s, got, err, want)
		}
	}
}
