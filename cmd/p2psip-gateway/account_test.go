package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// accountRing is three gateways that have one account at a provider, which is Kamailio.
type accountRing struct {
	*ring
	itsp *buffer // what the provider writes
	addr string
}

// newAccountRing makes them, with more lines of configuration. phone is the port of the provider's own phone.
func newAccountRing(t *testing.T, phone int, more string) *accountRing {
	t.Helper()
	a := &accountRing{ring: newRing(t, program(t, ""), 3, []string{"2001", "itsp"})}
	a.addr, a.itsp = runKamailio(t, "testdata/kamailio-itsp.cfg", "PHONE", fmt.Sprint(phone))
	for _, m := range a.members {
		b, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, m.file, string(b)+fmt.Sprintf(`
trunks:
  itsp:
    register: {server: "sip:%s", user: "49301234", secret: s3cret, realm: itsp.test}
    domain: itsp.test
%s`, a.addr, more))
	}
	for _, m := range a.members {
		a.start(t, m)
	}
	return a
}

// registrations are the Contacts that were registered at the provider, by port of the gateway, in their order; below zero: taken out.
func (a *accountRing) registrations() (ports []int) {
	for _, m := range regexp.MustCompile(`ITSP <sip:t[0-9a-f]{20}@127\.0\.0\.1:(\d+)(?:;[^>]*)?>;expires=(\d+)`).FindAllStringSubmatch(a.itsp.String(), -1) {
		var port int
		_, _ = fmt.Sscan(m[1], &port)
		if m[2] == "0" {
			port = -port
		}
		ports = append(ports, port)
	}
	return ports
}

// owner waits until another node than not is registered, and returns it.
func (a *accountRing) owner(t *testing.T, limit time.Duration, not *ringNode) (owner *ringNode) {
	t.Helper()
	within(t, limit, "another gateway to register", func() error {
		ports := a.registrations()
		if len(ports) == 0 {
			return fmt.Errorf("nobody is registered")
		}
		for _, m := range a.members {
			if strings.HasSuffix(m.sip, fmt.Sprint(":", ports[len(ports)-1])) && m != not {
				owner = m
				return nil
			}
		}
		return fmt.Errorf("registered so far: %v", ports)
	})
	return owner
}

// Of three gateways with one account one registers. It is killed: another registers within 30 s. That one is stopped: it takes its contact out, and
// the third registers. By the log of the provider no two ever took turns.
//
// Feature: TRK-05
func TestOneGatewayOwnsAnAccount(t *testing.T) {
	t.Parallel()
	a := newAccountRing(t, freePort(t), "")
	first := a.owner(t, e2eWait, nil)
	// Refreshed every 8 s: who would register beside it would be seen.
	within(t, e2eWait, "the registration to be refreshed", func() error {
		if n := len(a.registrations()); n < 3 {
			return fmt.Errorf("%d registrations", n)
		}
		return nil
	})
	killed := time.Now()
	first.kill()
	second := a.owner(t, 30*time.Second, first)
	t.Logf("registered %v after a kill", time.Since(killed).Round(time.Millisecond))

	stopped := time.Now()
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var third *ringNode
	for _, m := range a.members {
		if m != first && m != second {
			third = m
		}
	}
	within(t, 15*time.Second, "the third gateway to register", func() error {
		if ports := a.registrations(); !strings.HasSuffix(third.sip, fmt.Sprint(":", ports[len(ports)-1])) {
			return fmt.Errorf("%v", ports)
		}
		return nil
	})
	t.Logf("registered %v after a stop", time.Since(stopped).Round(time.Millisecond))
	a.checkTurns(t, first, second, third)
}

// checkTurns holds that the gateways registered one after the other: each has all of its turns in a row, and the second took its contact out
// before the third began. What the killed one left behind may be taken out by others.
func (a *accountRing) checkTurns(t *testing.T, order ...*ringNode) {
	t.Helper()
	var turns []string
	for _, port := range a.registrations() {
		for i, m := range order {
			what := fmt.Sprint(i + 1)
			if port < 0 {
				what = "-" + what
			}
			if strings.HasSuffix(m.sip, fmt.Sprint(":", max(port, -port))) && (len(turns) == 0 || turns[len(turns)-1] != what) {
				turns = append(turns, what)
			}
		}
	}
	got := strings.ReplaceAll(strings.Join(turns, " "), "2 -1 2", "2")
	if got = strings.ReplaceAll(got, "2 -1", "2"); got != "1 2 -2 3" {
		t.Errorf("turns at the provider: %q", turns)
	}
}
