package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
)

func TestUsersWithoutCertificateAreToldOfOnce(t *testing.T) {
	var log strings.Builder
	u := &uncertified{log: zerolog.New(&log)}
	all := func(location.AOR) bool { return true }
	missing := fmt.Errorf("certificate: %w", location.ErrForbidden)
	for range 3 {
		u.stored("alice@example.org", missing)
	}
	u.stored("bob@example.org", errors.New("no answer"))
	if n := strings.Count(log.String(), codeUncertified); n != 1 || u.count(all) != 1 || strings.Contains(log.String(), "bob") {
		t.Errorf("%d users, log:\n%s", u.count(all), log.String())
	}
	u.stored("alice@example.org", nil)
	if u.count(all) != 0 {
		t.Error("who has a certificate now is still counted")
	}
	for i := range maxUncertified + 10 {
		u.stored(location.AOR(fmt.Sprint(i)), missing)
	}
	if n := u.count(all); n != maxUncertified || u.count(func(location.AOR) bool { return false }) != 0 {
		t.Errorf("%d users are remembered", n)
	}
	r := StatusReport{Uncertified: 2}
	if text := strings.Join(r.Remarks(), "\n"); !strings.HasPrefix(text, "E0117 2 of the users registered here have no certificate") {
		t.Error(text)
	}
}
