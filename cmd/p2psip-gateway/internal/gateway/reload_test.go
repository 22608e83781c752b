package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// rereads gives g a configuration file and a file of users that it reads again, and returns what writes them.
func rereads(t *testing.T, g *Gateway) (write func(config, users string)) {
	t.Helper()
	dir := t.TempDir()
	file, users := filepath.Join(dir, "gateway.yaml"), filepath.Join(dir, "users.txt")
	was := g.inForce().config
	head := fmt.Sprintf("domain: %s\ndata: %s\nregistrar: {users: users.txt", testDomain, was.Data)
	g.o.Reread = func() (*Loaded, *digest.Users, error) {
		l, err := Load(Source{File: file})
		if err != nil {
			return nil, nil, err
		}
		if l.Origin("sip.listen") == "default" { // the file does not say it
			l.Config.SIP.Listen = was.SIP.Listen
		}
		u, err := digest.LoadUsers(l.Config.Registrar.Users, testDomain)
		return l, u, err
	}
	return func(config, list string) {
		t.Helper()
		for path, text := range map[string]string{file: head + config, users: list} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const twoUsers = "1001 secret\n1002 secret\n"

// Feature: CFG-05
func TestReloadChangesUsersAndLimitsWhileACallStands(t *testing.T) {
	g := ring(t, 1, 2)[0]
	levels := []string{}
	g.o.Level = func(l string) { levels = append(levels, l) }
	write := rereads(t, g)
	alice, bob := newPhone(t, "1001", g), newPhone(t, "1002", g)
	alice.register(300)
	bob.register(300)
	call := alice.start("INVITE", "1002")
	bob.take("INVITE", 200)
	call.response(200)
	call.request("ACK")
	bob.take("ACK", 0)

	write(", expires: {max: 5m, min: 1m, default: 2m, jitter: 0%}}\nsecurity: {deny: [192.0.2.0/24], trusted: [198.51.100.0/24], rate: 3, stealth: false}\n"+
		"nat: {keepalive: {udp: 0}}\nlog: {level: warn}\nsip: {dscp: 46, emergency: '112'}\n", "1001 secret\n1003 secret\n")
	r := g.Reload()
	want := []string{"drain_timeout", "sip.emergency", "registrar.users", "registrar.expires.default", "registrar.expires.max", "registrar.expires.jitter",
		"security.trusted", "security.deny", "security.rate", "security.stealth", "nat.keepalive.udp", "log.level"}
	if d := cmp.Diff(want, keysOf(r.Changed)); d != "" || r.Error != "" {
		t.Errorf("%q\n%s", r.Error, d)
	}
	if !slices.Contains(keysOf(r.Restart), "sip.dscp") || slices.Contains(keysOf(r.Restart), "domain") || r.Users.String() != "1 added, 1 removed, 0 changed" {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff([]string{"warn"}, levels); d != "" {
		t.Error(d)
	}
	guard := g.guard.conf.Load()
	if guard.rate != 3 || guard.stealth || !g.guard.isTrusted(netip.MustParseAddr("198.51.100.1")) {
		t.Errorf("%+v", guard)
	}
	if b := g.load.bounds.Load(); len(b.emergency) != 1 {
		t.Errorf("%+v", b)
	}

	call.ask(bob, "BYE")
	if res := alice.register(3600); res.StatusCode != 200 || !strings.Contains(res.Get(message.Contact), "expires=300") {
		t.Errorf("%d, Contact %q", res.StatusCode, res.Get(message.Contact))
	}
	if res := newPhone(t, "1003", g).register(300); res.StatusCode != 200 {
		t.Errorf("the new user: %d", res.StatusCode)
	}
	if _, ok := g.user("1002"); ok {
		t.Error("1002 is still a user")
	}
	for _, s := range g.configuration().Settings {
		if s.Key == "sip.dscp" && s.Value != "24" || s.Key == "log.level" && s.Value != "warn" || s.Key == "log.level" && !strings.HasSuffix(s.Origin, "gateway.yaml:6:14") {
			t.Errorf("%+v", s)
		}
	}
	if r := g.Reload(); len(r.Changed) != 0 || !slices.Contains(keysOf(r.Restart), "sip.dscp") {
		t.Errorf("a second time: %+v", r)
	}
}

// A file with a mistake changes nothing, and one line says so.
//
// Feature: CFG-05
func TestReloadOfABadFileChangesNothing(t *testing.T) {
	g := ring(t, 1, 2)[0]
	write := rereads(t, g)
	write("}\nlog: {level: warn}\n", twoUsers)
	if r := g.Reload(); r.Error != "" {
		t.Fatal(r.Error)
	}
	var lines bytes.Buffer
	g.o.Log = zerolog.New(&lines)
	for name, c := range map[string]struct{ config, users, want string }{
		"key":   {"}\nlog: {level: debug}\nlgo: 1\n", twoUsers, ":5:1 E0102 unknown key \"lgo\""},
		"value": {", max_contacts: 0}\nlog: {level: debug}\n", twoUsers, ":3:45 E0104 registrar.max_contacts"},
		"users": {"}\nlog: {level: debug}\n", "1001 secret\n1001 secret\n", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			before := g.inForce()
			lines.Reset()
			write(c.config, c.users)
			if r := g.Reload(); !strings.Contains(r.Error, c.want) || len(r.Changed)+len(r.Restart) > 0 {
				t.Errorf("%+v", r)
			}
			if g.inForce() != before || g.inForce().config.Log.Level != "warn" {
				t.Error("something has changed")
			}
			if l := lines.String(); strings.Count(l, "\n") != 1 || !strings.Contains(l, codeNotReloaded) {
				t.Errorf("logged %s", l)
			}
			if s := g.status().LastReload; s == nil || s.Error == "" {
				t.Errorf("%+v", s)
			}
		})
	}
	if res := newPhone(t, "1001", g).register(300); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
}

// Calls and registrations go on, none fails, while the configuration is read again and again.
//
// Feature: CFG-05
func TestReloadsUnderLoad(t *testing.T) {
	g := ring(t, 1, 2)[0]
	write := rereads(t, g)
	write("}\n", twoUsers)
	var reloading sync.WaitGroup
	stop, count := make(chan struct{}), 0
	reloading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			count++
			write(fmt.Sprintf(", max_contacts: %d}\nsecurity: {burst: %d}\nnat: {keepalive: {udp: %ds}}\n", 5+count%2, 100+count%3, 20+count%2), twoUsers)
			if r := g.Reload(); r.Error != "" || len(r.Changed) == 0 {
				t.Errorf("%+v", r)
				return
			}
		}
	})
	alice, bob := newPhone(t, "1001", g), newPhone(t, "1002", g)
	for range 40 {
		if a, b := alice.register(300), bob.register(300); a.StatusCode != 200 || b.StatusCode != 200 {
			t.Errorf("REGISTER: %d, %d", a.StatusCode, b.StatusCode)
		}
		alice.call(bob)
	}
	close(stop)
	reloading.Wait()
	if count < 3 {
		t.Errorf("%d reloads", count)
	}
	t.Logf("%d reloads beside 40 calls", count)
}

// Told to stop, the node takes nothing new and says when to come again, ends what is under way, and is not ready meanwhile.
//
// Feature: CFG-06
func TestDrainEndsWhatIsUnderWay(t *testing.T) {
	g := ringWith(t, 1, 3, func(_ int, c *Config) { c.DrainTimeout = time.Minute })[0]
	alice, bob, carol := newPhone(t, "1001", g), newPhone(t, "1002", g), newPhone(t, "1003", g)
	alice.register(300)
	bob.register(300)
	call := alice.start("INVITE", "1002")
	ringing, _ := bob.take("INVITE", 180)
	call.response(180)
	g.Drain()
	g.Drain()
	if st := g.status(); st.Ready || !slices.Contains(st.NotReady, "draining") {
		t.Errorf("%+v", st.NotReady)
	}
	res, err := http.Get("http://" + g.admin.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 503 {
		t.Errorf("readyz: %d", res.StatusCode)
	}
	if res := carol.register(300); res.StatusCode != 503 || res.Get(message.RetryAfter) == "" {
		t.Errorf("REGISTER: %d", res.StatusCode)
	}
	if res := carol.start("INVITE", "1002").response(503); res.Get(message.RetryAfter) == "" {
		t.Error("INVITE: no Retry-After")
	}
	bob.reply(ringing, 200)
	call.response(200)
	call.request("ACK")
	bob.take("ACK", 0)
	eventually(t, "the admin server to be gone", func() error {
		c, err := http.Get("http://" + g.admin.Addr().String() + "/livez")
		if err != nil {
			return nil
		}
		_ = c.Body.Close()
		return errors.New("still there")
	})
}

// Feature: CFG-06
func TestDrainHasALimit(t *testing.T) {
	g := ringWith(t, 1, 2, func(_ int, c *Config) { c.DrainTimeout = 300 * time.Millisecond })[0]
	alice, bob := newPhone(t, "1001", g), newPhone(t, "1002", g)
	bob.register(300)
	call := alice.start("INVITE", "1002")
	bob.take("INVITE", 180)
	call.response(180)
	begin := time.Now()
	g.Drain()
	eventually(t, "the end", func() error {
		if c, err := http.Get("http://" + g.admin.Addr().String() + "/livez"); err == nil {
			_ = c.Body.Close()
			return errors.New("still there")
		}
		return nil
	})
	if d := time.Since(begin); d < 300*time.Millisecond {
		t.Errorf("ended after %v, with a call under way", d)
	}
}

func TestReloadReportsAreJSON(t *testing.T) {
	b, err := json.Marshal((&Gateway{}).reload())
	if err != nil || !strings.Contains(string(b), `"changed":[]`) {
		t.Errorf("%s, %v", b, err)
	}
}
