package gateway

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

func (fakeNode) services() ServicesReport {
	return ServicesReport{Offered: []OfferReport{{Name: "voice-mail", Records: 3}}}
}

func (fakeNode) service(_ context.Context, name string) (ServiceReport, error) {
	if name == "slow" {
		return ServiceReport{}, location.ErrUnavailable
	}
	return ServiceReport{Name: name, Found: true, Nearest: "11"}, nil
}

// records is a locator with one record.
type records struct{ location.Locator }

func (records) Known(location.AOR) bool { return false }
func (records) Remote(context.Context, location.AOR) ([]location.Remote, error) {
	return []location.Remote{{Node: "registered"}}, nil
}
func (records) RemoteCached(location.AOR) ([]location.Remote, bool) { return nil, true }

// A call to a service goes to its nearest provider; without one, to who is registered under the name, as any other call does.
func TestCallsToServices(t *testing.T) {
	nearest := true
	s := &services{Locator: records{}, named: map[location.AOR]string{"voice-mail@d": "voice-mail"}, find: func(_ context.Context, ns string) (string, bool) {
		return "provider of " + ns, nearest
	}}
	first := func(aor location.AOR) string {
		r, err := s.Remote(t.Context(), aor)
		if err != nil || len(r) != 1 {
			t.Fatalf("%v, %v", r, err)
		}
		return r[0].Node
	}
	if got := first("voice-mail@d"); got != "provider of voice-mail" {
		t.Errorf("a service: %s", got)
	}
	if got := first("alice@d"); got != "registered" {
		t.Errorf("a user: %s", got)
	}
	if _, ok := s.RemoteCached("voice-mail@d"); ok || !s.Known("voice-mail@d") {
		t.Error("a service is not looked for each time, or not known")
	}
	if _, ok := s.RemoteCached("alice@d"); !ok || s.Known("alice@d") {
		t.Error("a user is not what he was")
	}
	nearest = false
	if got := first("voice-mail@d"); got != "registered" {
		t.Errorf("a service without provider: %s", got)
	}
}

func TestServiceNames(t *testing.T) {
	for want, c := range map[string]ServicesConfig{
		"":                        {Offer: List{"voice-mail"}, Call: List{"voice-mail", "pstn"}},
		"overlay.services.offer:": {Offer: List{strings.Repeat("x", 65)}},
		"overlay.services.call:":  {Call: List{""}},
		"overlay.services.offer":  {Offer: List{"turn-server"}},
		"overlay.services.call":   {Call: slices.Repeat(List{"x"}, 17)},
	} {
		var errs []string
		c.check(func(key, _ string, _ ...any) { errs = append(errs, key) })
		if want = strings.TrimSuffix(want, ":"); want == "" && errs != nil || want != "" && !slices.Equal(errs, []string{want}) {
			t.Errorf("%v: %v, want %q", c, errs, want)
		}
	}
}
