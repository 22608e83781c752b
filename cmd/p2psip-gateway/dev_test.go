package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

func TestDevNumbersItsPorts(t *testing.T) {
	d := sharedDev(t)
	for k := range 4 {
		var s gateway.StatusReport
		if err := d.get(k, "/api/v1/status", &s); err != nil {
			t.Fatal(err)
		}
		udp, tls := d.udp(k), d.tls(k)
		var have []string
		for _, l := range s.SIP {
			have = append(have, l.Transport+" "+l.Address)
		}
		slices.Sort(have)
		if want := []string{"tcp " + udp, "tls " + tls, "udp " + udp, "wss " + d.wss(k)}; !slices.Equal(have, want) {
			t.Errorf("node %d: SIP %q, want %q", k, have, want)
		}
		if want := fmt.Sprintf("127.0.0.1:%d", d.overlay+k); s.Overlay.Address != want {
			t.Errorf("node %d: overlay at %s, want %s", k, s.Overlay.Address, want)
		}
		role := gateway.RoleProxy
		if k == 3 {
			role = gateway.RoleRedirect
		}
		if s.Role != role || !s.Ready || s.State != "joined" || s.Domain != "p2psip.test" || len(s.NodeID) != 32 {
			t.Errorf("node %d: %+v", k, s)
		}
		for _, address := range []string{udp, tls, s.Overlay.Address} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Errorf("node %d: %v", k, err)
				continue
			}
			_ = c.Close()
		}
	}
}

func TestDevPrintsWhatToTypeAndThenReady(t *testing.T) {
	d := sharedDev(t)
	out := d.out.String()
	for _, s := range []string{
		fmt.Sprintf("user 1001   password secret-1001   domain p2psip.test   outbound proxy %s", d.udp(0)),
		fmt.Sprintf("user 1002   password secret-1002   domain p2psip.test   outbound proxy %s", d.udp(1)),
		fmt.Sprintf("--admin %s", d.adminAddr(3)),
		"3 gateways, 1 redirect peer, ", "p2psip-gateway lookup 1001 --admin",
		"\nready: 4 peers joined",
	} {
		if !strings.Contains(out, s) {
			t.Errorf("no %q in\n%s", s, out)
		}
	}
	if lines := strings.Split(strings.TrimSpace(out), "\n"); !strings.HasPrefix(lines[len(lines)-1], "ready") {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
}

func TestDevNamesTheProgramAsItWasCalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for arg0, want := range map[string]string{"bin/p2psip-gateway": "bin/p2psip-gateway", "./p2psip-gateway": "./p2psip-gateway",
		"/tmp/go-build1/b001/exe/p2psip-gateway": "go run ./cmd/p2psip-gateway"} {
		if got := invoked(arg0); got != want {
			t.Errorf("%s: %s, want %s", arg0, got, want)
		}
	}
}

func TestDevAdminPages(t *testing.T) {
	d := sharedDev(t)
	p := newSoftPhone(t, "1031", d.udp(2))
	if err := p.register(300); err != nil {
		t.Fatal(err)
	}
	for k := range 4 {
		for path, want := range map[string]string{
			"/livez": "ok\n", "/readyz": "ready\n", "/metrics": "\np2psip_", "/api/v1/status": `"node_id"`,
			"/api/v1/registrations": `"registrations"`, "/api/v1/ring": `"successors"`, "/api/v1/lookup?aor=1031": `"records"`,
		} {
			res, err := http.Get("http://" + d.adminAddr(k) + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), want) {
				t.Errorf("node %d%s: %s, no %q in %.300s", k, path, res.Status, want, body)
			}
		}
		var r gateway.RingReport
		if err := d.get(k, "/api/v1/ring", &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Successors) != 3 || len(r.Predecessors) != 3 {
			t.Errorf("node %d: a ring of four has three others on each side: %+v", k, r)
		}
	}
	if err := registered(d, 2, "1031"); err != nil {
		t.Error(err)
	}
}

// cli runs a command of ours against the admin server of node k.
func cli(t *testing.T, d *devRun, k, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := dispatch(t.Context(), stdio{strings.NewReader(""), &out, &errs}, append(args, "--admin", d.adminAddr(k)))
	if code != want {
		t.Errorf("%s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String()
}

func TestDevIsAskedByTheCommandLine(t *testing.T) {
	d := sharedDev(t)
	p := newSoftPhone(t, "1032", d.udp(1))
	if err := p.register(300); err != nil {
		t.Fatal(err)
	}
	eventually(t, "1032 to be stored", func() error { return registered(d, 1, "1032") })
	contact := bracketed(p.contact())
	for _, c := range []struct {
		args  []string
		node  int
		words []string // in both forms
		into  any
	}{
		{[]string{"status"}, 1, []string{"proxy", d.udp(1), "joined"}, new(gateway.StatusReport)},
		{[]string{"reg", "ls"}, 1, []string{"1032@p2psip.test", contact, "stored"}, new(gateway.RegistrationsReport)},
		{[]string{"lookup", "1032"}, 1, []string{"1032@p2psip.test", contact}, new(gateway.LookupReport)},
		{[]string{"lookup", "1032@p2psip.test"}, 3, []string{"1032@p2psip.test", "sip:" + d.udp(1)}, new(gateway.LookupReport)},
		{[]string{"ring"}, 3, []string{"successor"}, new(gateway.RingReport)},
	} {
		text := cli(t, d, c.node, exitOK, c.args...)
		raw := cli(t, d, c.node, exitOK, append(c.args, "--json")...)
		for _, w := range c.words {
			if !strings.Contains(text, w) || !strings.Contains(raw, w) {
				t.Errorf("%s: no %q in\n%s\n%s", strings.Join(c.args, " "), w, text, raw)
			}
		}
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(c.into); err != nil {
			t.Errorf("%s --json: %v\n%s", strings.Join(c.args, " "), err, raw)
		}
	}
	cli(t, d, 0, exitOK, "status", "--ready")
	cli(t, d, 0, exitConfig, "lookup", "1033") // nowhere
	nobody := &devRun{admin: freePort(t)}
	cli(t, nobody, 0, exitConfig, "status")
	cli(t, d, 0, exitUsage, "lookup")
}

func TestDevTakesAUsersFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	write(t, file, "# us\nalice wonderland\n\nbob  builder\n")
	d := startDev(t, "--users-file", file, "--gateways", "1", "--redirects", "0")
	alice, stranger := newSoftPhone(t, "alice", d.udp(0)), newSoftPhone(t, "1001", d.udp(0))
	alice.password = "wonderland"
	if err := alice.register(300); err != nil {
		t.Error(err)
	}
	if err := stranger.register(300); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("1001 is no user: %v", err)
	}
	if out := d.out.String(); strings.Contains(out, "wonderland") || !strings.Contains(out, "user alice") {
		t.Errorf("output:\n%s", out)
	}
}

func TestDevOnPortsInUseNamesThePort(t *testing.T) {
	d := sharedDev(t)
	for name, c := range map[string]struct {
		sip, overlay, admin int
		port                int
	}{
		"everything": {d.sip, d.overlay, d.admin, d.admin},
		"SIP":        {d.sip, freePorts(t), freePorts(t) + 50, d.sip},
		"overlay":    {freePorts(t), d.overlay, freePorts(t) + 50, d.overlay},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := dispatch(t.Context(), stdio{strings.NewReader(""), &out, &errs}, []string{"dev", "--sip-port", fmt.Sprint(c.sip),
				"--overlay-port", fmt.Sprint(c.overlay), "--admin-port", fmt.Sprint(c.admin), "--data", t.TempDir()})
			if code != exitConfig {
				t.Errorf("exit %d, want %d\n%s", code, exitConfig, &out)
			}
			oneLine(t, errs.String(), fmt.Sprintf("127.0.0.1:%d", c.port), "in use", "try:")
		})
	}
}

func TestDevWantsAnAddressThatOthersCanUse(t *testing.T) {
	var out, errs bytes.Buffer
	if code := dispatch(t.Context(), stdio{strings.NewReader(""), &out, &errs}, []string{"dev", "--host", "0.0.0.0"}); code != exitConfig {
		t.Errorf("exit %d, want %d", code, exitConfig)
	}
	oneLine(t, errs.String(), "--host 0.0.0.0", "try:")
}

func TestDevLeavesNoGoroutine(t *testing.T) {
	sharedDev(t)
	before := goleak.IgnoreCurrent()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	d := launchDev(ctx, freePorts(t), t.TempDir())
	d.waitReady(t)
	t.Run("a call", func(t *testing.T) {
		callee, caller := newSoftPhone(t, "1001", d.udp(0)), newSoftPhone(t, "1002", d.udp(1))
		if err := callee.register(300); err != nil {
			t.Fatal(err)
		}
		if err := caller.call(callee.aor()); err != nil {
			t.Error(err)
		}
	})
	if err := d.end(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the goroutines to end", func() error { return goleak.Find(before) })
}
