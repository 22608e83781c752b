package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
)

// The last gateway of `dev` offers voice mail, and every other node finds it, with its SIP addresses.
//
// Conformance: I-14
func TestServiceCommands(t *testing.T) {
	d := sharedDev(t)
	var provider gateway.RingReport
	if err := d.get(2, "/api/v1/ring", &provider); err != nil {
		t.Fatal(err)
	}
	eventually(t, "voice-mail to be offered", func() error {
		var r gateway.ServicesReport
		if err := d.get(2, "/api/v1/services", &r); err != nil || len(r.Offered) != 1 || r.Offered[0].Registered == nil {
			return fmt.Errorf("%+v: %w", r, err)
		}
		return nil
	})
	for _, c := range []struct {
		node, exit int
		args       []string
		line       string // a regular expression
		into       any
	}{
		{2, exitOK, []string{"service", "ls"}, `(?m)^voice-mail +[0-9ms]+ ago +3 *$`, new(gateway.ServicesReport)},
		{0, exitOK, []string{"service", "ls"}, `^SERVICE .*\n$`, new(gateway.ServicesReport)},
		{0, exitOK, []string{"service", "find", "voice-mail"}, `(?m)^nearest +` + provider.Self + ` sip:127\.0\.0\.1:`, new(gateway.ServiceReport)},
		{3, exitOK, []string{"service", "find", "voice-mail"}, `(?m)^nearest +` + provider.Self, new(gateway.ServiceReport)},
		{1, exitConfig, []string{"service", "find", "pstn"}, `nobody provides it`, new(gateway.ServiceReport)},
	} {
		if text := cli(t, d, c.node, c.exit, c.args...); !regexp.MustCompile(c.line).MatchString(text) {
			t.Errorf("%s: no match for %s in\n%s", strings.Join(c.args, " "), c.line, text)
		}
		raw := cli(t, d, c.node, c.exit, append(c.args, "--json")...)
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(c.into); err != nil {
			t.Errorf("%s --json: %v\n%s", strings.Join(c.args, " "), err, raw)
		}
	}
	for _, args := range [][]string{{"service"}, {"service", "find"}, {"service", "ls", "x"}, {"service", "x"}, {"service", "ls", "--what"}} {
		cli(t, d, 0, exitUsage, args...)
	}
}

// Conformance: I-04 I-13
func TestInitWithServices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlay")
	if code, text, errs := runCommand(t, "init", "--domain", "example.org", "--dir", dir, "--services"); code != exitOK {
		t.Fatalf("%d\n%s%s", code, text, errs)
	}
	o, warnings, err := identity.LoadDocument(filepath.Join(dir, identity.DocumentFile), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := o.Redir(); !ok || k.BranchingFactor != 10 || len(warnings) > 0 {
		t.Errorf("%+v, warnings %q", k, warnings)
	}
}

// A call to the name of a service rings at the gateway that offers it, and only there, though somebody is registered under the name
// elsewhere too.
func TestACallToAServiceGoesToItsProvider(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	write(t, file, "1001 secret-1001\nvoice-mail secret-voice-mail\n")
	d := startDev(t, "--users-file", file, "--redirects", "0")
	caller, at, elsewhere := newSoftPhone(t, "1001", d.udp(1)), newSoftPhone(t, "voice-mail", d.udp(2)), newSoftPhone(t, "voice-mail", d.udp(0))
	for _, p := range []*softPhone{caller, at, elsewhere} {
		if err := p.register(300); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "voice-mail to be found", func() error {
		var r gateway.ServiceReport
		if err := d.get(1, "/api/v1/service?name=voice-mail", &r); err != nil || !r.Found {
			return fmt.Errorf("%+v: %w", r, err)
		}
		return nil
	})
	if err := caller.call(at.aor()); err != nil {
		t.Fatal(err)
	}
	calls := func(p *softPhone) int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.byes
	}
	eventually(t, "the provider's phone to note the end of the call", func() error {
		if n := calls(at); n != 1 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
	if n := calls(elsewhere); n != 0 {
		t.Errorf("the other phone had %d calls", n)
	}
}
