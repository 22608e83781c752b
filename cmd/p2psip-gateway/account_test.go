package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// accountRing is three gateways that have one account at a provider, which is Kamailio.
type accountRing struct {
	*ring
	itsp  *buffer    // what the provider writes
	phone *softPhone // of the provider
}

// newAccountRing makes them, with more lines of configuration.
func newAccountRing(t *testing.T, more string) *accountRing {
	t.Helper()
	port := freePort(t)
	address := fmt.Sprint("127.0.0.1:", port)
	a := &accountRing{ring: newRing(t, program(t, ""), 3, []string{"2001", "itsp"}), phone: newSoftPhone(t, "provider", address)}
	_, phone, _ := net.SplitHostPort(a.phone.conn.LocalAddr().String())
	_, a.itsp = runKamailioAt(t, port, "testdata/kamailio-itsp.cfg", "PHONE", phone)
	for _, m := range a.members {
		b, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, m.file, string(b)+fmt.Sprintf(`
trunks:
  itsp:
    register: {server: "sip:%s", user: "49301234", secret: s3cret, realm: itsp.test}
    accept_from: [192.0.2.1] # phones and provider are at one address here: it is known by our contact
    domain: itsp.test
%s`, address, more))
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
	a := newAccountRing(t, "")
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

// Calls to and from the account, with credentials: of a user at the gateway that owns it, and of one at a gateway that does not, from where the owner
// takes them over.
//
// Feature: TRK-05 TRK-06
func TestCallsOverAnAccount(t *testing.T) {
	t.Parallel()
	a := newAccountRing(t, `    inbound: [{match: "49301234", to: "2001"}]
routes:
  - {match: "0*", to: itsp}
`)
	owner := a.owner(t, e2eWait, nil)
	for _, m := range a.members {
		p := newSoftPhone(t, "2001", m.sip)
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
		// A gateway that does not own the account may not know yet who does, and the owner not yet who else may use it.
		before := a.phone.hungUp()
		eventually(t, "a call to the provider", func() error { return p.call("sip:0301234@p2psip.test") })
		a.phone.hasEnded(t, before+1)
		before++
		if err := p.call("sip:0301234@p2psip.test"); err != nil {
			t.Errorf("from %s, owner %s: %v", m.sip, owner.sip, err)
		}
		a.phone.hasEnded(t, before+1)
		// Where 2001 was before is remembered for seconds.
		eventually(t, "a call from the provider", func() error { return a.phone.call("sip:49301234@itsp.test") })
		p.hasEnded(t, 1)
		before = 1
		if err := a.phone.call("sip:49301234@itsp.test"); err != nil {
			t.Errorf("to %s, owner %s: %v", m.sip, owner.sip, err)
		}
		p.hasEnded(t, before+1)
		if err := p.register(0); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range a.members {
		m.linesFree(t)
	}
}

// linesFree waits until no call is counted for any trunk of a gateway: each has been hung up, by whichever side.
func (m *ringNode) linesFree(t *testing.T) {
	t.Helper()
	eventually(t, "the lines to be free", func() error {
		var report gateway.TrunksReport
		if err := getJSON(m.admin, "/api/v1/trunks", &report); err != nil {
			return err
		}
		for _, tr := range report.Trunks {
			if tr.Calls != 0 {
				return fmt.Errorf("%d calls over %s at %s", tr.Calls, tr.Name, m.sip)
			}
		}
		return nil
	})
}

// hasEnded waits until the phone has had so many calls hung up on it.
func (p *softPhone) hasEnded(t *testing.T, want int) {
	t.Helper()
	eventually(t, "a call to be hung up", func() error {
		if n := p.hungUp(); n != want {
			return fmt.Errorf("%d calls, want %d", n, want)
		}
		return nil
	})
}
