package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// SIPp plays scripts, one process for each side of a cell.

// sippCell is a cell of SIPp: what the caller plays, and what the phone plays that is called, which has registered and stays on its connection.
type sippCell struct {
	name           string
	caller, callee string
	refusal        string // the status line that takes the place of [status] in the callee's script
	says           string // what the caller sees in the end
}

var sippCells = []sippCell{
	{name: "call", caller: "call.xml", callee: "answer.xml", says: "CSeq: 2 BYE"},
	{name: "busy", caller: "refused.xml", callee: "refuse.xml", refusal: "486 Busy Here", says: "SIP/2.0 486 Busy Here"},
	{name: "decline", caller: "refused.xml", callee: "refuse.xml", refusal: "603 Decline", says: "SIP/2.0 603 Decline"},
	{name: "no answer", caller: "refused.xml", callee: "refuse.xml", refusal: "480 Not Answered", says: "SIP/2.0 480 Not Answered"},
	{name: "hold", caller: "hold.xml", callee: "held.xml", says: "a=recvonly"},
	{name: "MESSAGE", caller: "message.xml", callee: "messaged.xml", says: "SIP/2.0 200"},
	{name: "BLF", caller: "subscribe.xml", callee: "notify.xml", says: "<state>confirmed</state>"},
	{name: "unknown user", caller: "refused.xml", says: "SIP/2.0 404"},
}

// script is the file that the callee plays. SIPp takes no key for a status.
func (c sippCell) script(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/sipp/" + c.callee)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), c.callee)
	write(t, file, strings.ReplaceAll(string(text), "[status]", c.refusal))
	return file
}

// sippLine runs the cells of SIPp over a transport, with the users from first on; across: the phones are at two gateways.
func sippLine(t *testing.T, d *devRun, first int, transport string, across bool) {
	home, away := 0, 0
	if across {
		away = 1
	}
	server := func(k int) string {
		if transport == "tls" {
			return d.tls(k)
		}
		return d.udp(k)
	}
	user := func() string { first++; return fmt.Sprint(first) }
	t.Log("register, refresh, unregister")
	p := newPhone(t, user(), transport)
	register(t, p, server(home))
	register(t, p, server(home))
	eventually(t, "one contact", func() error { return bindings(d, home, p.user, 1) })
	startSIPp(t, p, "register.xml", server(home), "-key", "expires", "0").wait()
	eventually(t, "no contact", func() error { return bindings(d, home, p.user, 0) })

	t.Log("expiry, offline user")
	startSIPp(t, p, "register.xml", server(home), "-key", "expires", "2").wait()
	eventually(t, "no contact", func() error { return bindings(d, home, p.user, 0) })
	caller := newPhone(t, user(), transport)
	offline := startSIPp(t, caller, "refused.xml", server(home), "-key", "callee", aorURI(p.user))
	offline.wait()
	if !offline.saw("SIP/2.0 480") {
		t.Error("a call to a user who is offline: no 480")
	}

	t.Log("wrong password")
	startSIPp(t, newPhone(t, user(), transport), "rejected.xml", server(home), "-ap", "wrong").wait()
	for _, c := range sippCells {
		t.Log(c.name)
		to := aorURI("nobody")
		if c.callee != "" {
			callee := newPhone(t, user(), transport)
			to = aorURI(callee.user)
			stay := startSIPp(t, callee, "register_stay.xml", server(away), "-oocsf", c.script(t), "-key", "watched", to)
			eventually(t, callee.user+" to be registered", func() error { return registered(d, away, callee.user) })
			defer stay.kill()
		}
		from := newPhone(t, caller.user, transport)
		s := startSIPp(t, from, c.caller, server(home), "-key", "callee", to)
		s.wait()
		if !s.saw(c.says) {
			t.Errorf("%s: the caller never saw %q", c.name, c.says)
		}
	}
}

// sipsak 0.9.8 registers, asks, and is refused: over UDP and TCP, for it wants a file of roots for TLS. Its own reading of -s makes "1001@" the user name of
// its credentials, so that -u has to say it.
func TestSipsakRegistersAndIsRefused(t *testing.T) {
	d := sharedDev(t)
	for i, transport := range []string{"udp", "tcp"} {
		user := fmt.Sprint(1056 + i)
		run := func(args ...string) error {
			all := append([]string{"-E", transport, "-n", "-H", "127.0.0.1", "-p", d.udp(i), "-s", aorURI(user), "-u", user}, args...)
			out, err := exec.Command("sipsak", all...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%s, %q: %w\n%s", transport, args, err, out)
			}
			return err
		}
		contact := fmt.Sprintf("sip:%s@127.0.0.1:%d", user, freePort(t))
		if run("-U", "-i", "-x", "300", "-C", contact, "-a", "wrong") == nil {
			t.Error(transport, ": registers with a wrong password")
		}
		if err := run("-U", "-i", "-x", "300", "-C", contact, "-a", "secret-"+user); err != nil {
			t.Error(err)
		}
		eventually(t, user+" to be registered", func() error { return bindings(d, i, user, 1) })
		if err := run("-U", "-i", "-x", "0", "-C", contact, "-a", "secret-"+user); err != nil {
			t.Error(err)
		}
		eventually(t, user+" to be gone", func() error { return bindings(d, i, user, 0) })
	}
}
