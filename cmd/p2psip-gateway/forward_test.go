package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// says runs the program in this process and returns what it says; it must exit with code.
func says(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if got := dispatch(t.Context(), stdio{strings.NewReader(""), &out, &errs}, args); got != code {
		t.Fatalf("%v: exit %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// forwardRing is a ring of three gateways and a redirect peer.
type forwardRing struct {
	*ring
	t *testing.T
}

// forward sets or ends a forwarding at node k.
func (r forwardRing) forward(k int, args ...string) string {
	r.t.Helper()
	return says(r.t, exitOK, append([]string{"user", "forward", "--admin", r.members[k].admin}, args...)...)
}

// refused is the answer that a call gets.
func (p *softPhone) refused(t *testing.T, uri string) sipText {
	t.Helper()
	invite := p.request("INVITE", uri, uri)
	res, err := p.exchange(invite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.conn.Write([]byte(p.ack(invite, res).String())); err != nil {
		t.Fatal(err)
	}
	return res
}

func (p *softPhone) hungUp() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byes
}

// reaches waits until a call to user is taken by the phone callee, and by no other of the phones.
func (r forwardRing) reaches(caller *softPhone, user string, callee *softPhone) {
	r.t.Helper()
	eventually(r.t, user+" to lead to "+callee.user, func() error {
		before := callee.hungUp()
		if err := caller.call(aorURI(user)); err != nil {
			return err
		}
		if callee.hungUp() != before+1 {
			return fmt.Errorf("another phone took it")
		}
		return nil
	})
}

// Forwardings over three gateways: to a user of another one, set where the user has no phone, in a chain of five, in one that is too long, in a
// circle, and to another domain; they outlive the gateway, and end.
//
// Conformance: H-15
// Feature: PRX-32 RDR-03
func TestE2EForwarding(t *testing.T) {
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprint(2001+i))
	}
	r := forwardRing{newRing(t, program(t, ""), 4, users), t}
	for k, m := range r.members {
		text, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		more := "proxy: {history_info: true}\n"
		if k == 3 {
			more = "role: redirect\n"
		}
		write(t, m.file, string(text)+more)
		r.start(t, m)
	}
	alice, carol := newSoftPhone(t, "2001", r.members[0].sip), newSoftPhone(t, "2003", r.members[2].sip)
	dave := newSoftPhone(t, "2002", r.members[1].sip)
	for _, p := range []*softPhone{alice, carol, dave} {
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
	}
	r.reaches(dave, "2001", alice)

	if out := r.forward(0, "2001", "2003"); !strings.Contains(out, "forwarded to sip:2003@p2psip.test, record stored") {
		t.Error(out)
	}
	r.reaches(dave, "2001", carol)
	if err := alice.register(600); err != nil { // a refresh changes nothing
		t.Fatal(err)
	}
	r.reaches(carol, "2001", carol)

	r.forward(1, "2004", "2003@p2psip.test") // nobody ever registered there
	r.reaches(alice, "2004", carol)

	r.chain(dave, carol)
	r.circle(dave, alice)

	outside := newSoftPhone(t, "x", r.members[1].sip) // knows nothing of the domain
	r.forward(2, "2005", fmt.Sprintf("sip:x@%s", outside.conn.LocalAddr()))
	r.reaches(dave, "2005", outside)

	r.redirected(t)
	r.members[0].kill()
	r.start(t, r.members[0])
	if out := r.forward(0); !strings.Contains(out, "2001@p2psip.test  sip:2003@p2psip.test") {
		t.Errorf("after a restart:\n%s", out)
	}
	r.reaches(dave, "2001", carol)

	r.forward(0, "2001", "--off")
	r.reaches(dave, "2001", alice)
	r.forward(1, "2004", "--off")
	eventually(t, "2004 to be nowhere", func() error {
		if res := alice.refused(t, aorURI("2004")); res.status() != 480 {
			return fmt.Errorf("%s", res)
		}
		return nil
	})
	if out := says(t, exitConfig, "user", "forward", "--admin", r.members[0].admin, "2001", "tel:1"); !strings.Contains(out, "E0220") {
		t.Error(out)
	}
}

// chain sets five forwardings in a row, each at another gateway, and then a sixth in front.
func (r forwardRing) chain(caller, callee *softPhone) {
	r.t.Helper()
	for i := range 5 {
		to := fmt.Sprint(2011 + i)
		if i == 4 {
			to = callee.user
		}
		r.forward(i%3, fmt.Sprint(2010+i), to)
	}
	r.reaches(caller, "2010", callee)
	r.forward(2, "2009", "2010")
	if res := caller.refused(r.t, aorURI("2009")); res.status() != 480 || !strings.Contains(res.get("Warning"), "PRX480D") {
		r.t.Errorf("six in a row: %s", res)
	}
	out := says(r.t, exitOK, "lookup", "2009", "--explain", "--admin", r.members[0].admin)
	for _, want := range []string{"2009@p2psip.test forwards to sip:2010@p2psip.test: followed", "2014@p2psip.test forwards to sip:2003@p2psip.test: too deep"} {
		if !strings.Contains(out, want) {
			r.t.Errorf("lookup --explain lacks %q:\n%s", want, out)
		}
	}
}

// circle sets two forwardings that lead to each other.
func (r forwardRing) circle(callers ...*softPhone) {
	r.t.Helper()
	r.forward(0, "2018", "2019")
	r.forward(2, "2019", "2018")
	for _, c := range callers {
		if res := c.refused(r.t, aorURI("2018")); res.status() != 482 || !strings.Contains(res.get("Warning"), "PRX482F") {
			r.t.Errorf("a circle, from %s: %s", c.user, res)
		}
	}
	var report gateway.LookupReport
	if err := getJSON(r.members[1].admin, "/api/v1/lookup?aor=2019&explain=1", &report); err != nil {
		r.t.Fatal(err)
	}
	if n := len(report.Steps); n != 2 || report.Steps[1].Result != "loop" {
		r.t.Errorf("%+v", report.Steps)
	}
}

// redirected asks the redirect peer.
func (r forwardRing) redirected(t *testing.T) {
	t.Helper()
	p := newSoftPhone(t, "2006", r.members[3].sip)
	for user, want := range map[string]string{"2001": "301 <sip:2003@p2psip.test>", "2010": "301 <sip:2003@p2psip.test>", "2018": "482 ", "2009": "480 ", "2020": "480 "} {
		eventually(t, "the redirect peer to answer for "+user, func() error {
			res := p.refused(t, aorURI(user))
			if got := fmt.Sprint(res.status(), " ", res.get("Contact")); got != want {
				return fmt.Errorf("%s, want %s", got, want)
			}
			return nil
		})
	}
}
