package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// build makes the program once for each set of build tags.
var build = func() func(tags string) (string, error) {
	var mu sync.Mutex
	made := map[string]string{}
	return func(tags string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if file, ok := made[tags]; ok {
			return file, nil
		}
		file := filepath.Join(programs, "p2psip-gateway-"+tags)
		out, err := exec.Command("go", "build", "-tags", tags, "-o", file, ".").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		made[tags] = file
		return file, nil
	}
}()

func program(t *testing.T, tags string) string {
	t.Helper()
	file, err := build(tags)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// process is one p2psip-gateway.
type process struct {
	cmd    *exec.Cmd
	stderr *buffer
	done   chan struct{} // closed when it has ended
}

func start(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), stderr: &buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState says it
	}()
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9, of a process that is ours.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// code waits for the end and returns the exit code.
func (p *process) code(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("%s did not end in %v:\n%s", strings.Join(p.cmd.Args, " "), limit, p.stderr)
		return 0
	}
}

// ringNode is one node of a ring of processes.
type ringNode struct {
	file                string
	sip, overlay, admin string
	id                  string // Node-ID
	ready               time.Duration
	*process
}

// ring is an overlay of processes.
type ring struct {
	program, dir string
	env          []string
	members      []*ringNode
}

// newRing makes an overlay with init, and n identities, all of which have the certificates of all users.
func newRing(t *testing.T, program string, n int, users []string, env ...string) *ring {
	t.Helper()
	return newRingOver(t, "tls", program, n, users, env...)
}

// newRingOver is newRing with tls or dtls for the links of the overlay.
func newRingOver(t *testing.T, scheme, program string, n int, users []string, env ...string) *ring {
	t.Helper()
	return ringPlan{scheme: scheme, program: program, nodes: n, users: users, env: env}.make(t)
}

// ringPlan says how the nodes of a ring get their identities.
type ringPlan struct {
	scheme, program string
	nodes           int
	users, env      []string
	init            []string                         // more arguments of init
	issue           func(k int) []string             // more arguments of identity issue; nil: none
	made            func(r *ring, k int, out string) // makes an identity instead of identity issue; nil: that does
}

func (p ringPlan) make(t *testing.T) *ring {
	t.Helper()
	r := &ring{program: p.program, dir: t.TempDir(), env: p.env}
	base := freePorts(t)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	r.command(t, append([]string{"init", "--domain", "p2psip.test", "--dir", filepath.Join(r.dir, "overlay"),
		"--bootstrap", at(base + 100), "--bootstrap", at(base + 101)}, p.init...)...)
	var lines strings.Builder
	for _, u := range p.users {
		fmt.Fprintln(&lines, u, "secret-"+u)
	}
	write(t, filepath.Join(r.dir, "users.txt"), lines.String())
	for k := range p.nodes {
		m := &ringNode{file: filepath.Join(r.dir, fmt.Sprintf("gw%d.yaml", k)), sip: at(base + 10*k), overlay: at(base + 100 + k), admin: at(base + 120 + k)}
		r.members = append(r.members, m)
		identity := filepath.Join(r.dir, fmt.Sprintf("gw%d", k))
		write(t, m.file, fmt.Sprintf(gatewayFile, k, m.sip, identity, m.overlay, k == 0, m.admin, p.scheme, ""))
		if p.made != nil {
			p.made(r, k, identity)
			continue
		}
		args := []string{"identity", "issue", "--dir", filepath.Join(r.dir, "overlay"), "--name", fmt.Sprintf("gw%d", k), "--out", identity,
			"--users", filepath.Join(r.dir, "users.txt")}
		if p.issue != nil {
			args = append(args, p.issue(k)...)
		}
		r.command(t, args...)
	}
	return r
}

// gatewayFile is the configuration of a ringNode: its number, SIP address, identity, overlay address, whether it is the first, admin
// address, scheme of its links, and more lines for the overlay.
const gatewayFile = `
domain: p2psip.test
data: data%[1]d
sip:
  listen: [udp://%[2]s, tcp://%[2]s]
overlay:
  identity: %[3]s
  listen: %[7]s://%[4]s
  first: %[5]t%[8]s
registrar:
  users: users.txt
security:
  trusted: [127.0.0.0/8]
admin:
  listen: %[6]s
`

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *ring) command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(r.program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start starts a ringNode and waits until it is ready.
func (r *ring) start(t *testing.T, m *ringNode) {
	t.Helper()
	begin := time.Now()
	m.process = start(t, r.program, r.env, "run", "-c", m.file)
	p := m.process
	eventually(t, "a node to be ready", func() error {
		var s gateway.StatusReport
		if err := getJSON(m.admin, "/api/v1/status", &s); err != nil {
			return fmt.Errorf("%w\n%s", err, p.stderr)
		}
		m.id = s.NodeID
		if !s.Ready {
			return fmt.Errorf("not ready: %v\n%s", s.NotReady, p.stderr)
		}
		return nil
	})
	m.ready = time.Since(begin)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", m.file, p.stderr)
		}
	})
}

// lookup is what a node says of an AOR.
func lookup(admin, user string) (gateway.LookupReport, error) {
	var r gateway.LookupReport
	err := getJSON(admin, "/api/v1/lookup?aor="+url.QueryEscape(user), &r)
	return r, err
}

// homedAt tells why the node m does not find user, or not with one record alone that belongs to home.
func homedAt(m, home *ringNode, user string) error {
	r, err := lookup(m.admin, user)
	if err != nil {
		return err
	}
	if len(r.Records) != 1 || r.Records[0].Owner != home.id {
		return fmt.Errorf("%s at %s: records %+v, want one of %s", user, m.admin, r.Records, home.id)
	}
	return nil
}

// everyoneFound tells who of the users of the living is not found by which of the living, with all asked at the same time.
func (r *ring) everyoneFound(dead int, users []string) error {
	errs := make([]error, len(r.members)*len(users))
	var asked sync.WaitGroup
	for i, m := range r.members {
		for j, u := range users {
			if i != dead && j != dead {
				asked.Go(func() { errs[i*len(users)+j] = homedAt(m, r.members[j], u) })
			}
		}
	}
	asked.Wait()
	return errors.Join(errs...)
}

// ringLimit is how long after a kill everybody must be found (issue: "within 5 s").
const ringLimit = 5 * time.Second

// fiveHomes starts five nodes with links over scheme, each the home of one user, and waits until everybody is found from everywhere.
func fiveHomes(t *testing.T, scheme, program string) (r *ring, phones []*softPhone, users []string) {
	t.Helper()
	users = []string{"2001", "2002", "2003", "2004", "2005"}
	r = newRingOver(t, scheme, program, len(users), users)
	return r, r.homes(t, users), users
}

// homes starts the nodes that do not run yet, each the home of one user, and waits until everybody is found from everywhere.
func (r *ring) homes(t *testing.T, users []string) (phones []*softPhone) {
	t.Helper()
	for k, m := range r.members {
		if m.process == nil {
			r.start(t, m)
		}
		p := newSoftPhone(t, users[k], m.sip)
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
		phones = append(phones, p)
	}
	eventually(t, "everybody to be found", func() error { return r.everyoneFound(-1, users) })
	return phones
}

// Five nodes, each the home of one user. One after the other is killed: the users of the others are found and can call each other; and when it is
// back, its user is too.
//
// Conformance: F-24
func TestProcessesSurviveTheKillOfAnyNode(t *testing.T) {
	r, phones, users := fiveHomes(t, "tls", program(t, ""))
	r.callAround(t, -1, phones)
	for k, m := range r.members {
		killed := time.Now()
		m.kill()
		within(t, ringLimit, fmt.Sprintf("everybody to be found without node %d", k), func() error { return r.everyoneFound(k, users) })
		t.Logf("node %d killed: everybody found after %v", k, time.Since(killed).Round(time.Millisecond))
		r.callAround(t, k, phones)

		r.start(t, m) // with the same data: no phone registers again
		t.Logf("node %d back: ready after %v", k, m.ready.Round(time.Millisecond))
		within(t, ringLimit, fmt.Sprintf("everybody to be found with node %d back", k), func() error { return r.everyoneFound(-1, users) })
		if err := phones[(k+1)%len(phones)].call(phones[k].aor()); err != nil {
			t.Errorf("node %d is back: %v", k, err)
		}
	}
	for k, m := range r.members {
		if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := m.code(t, e2eWait); code != exitOK {
			t.Errorf("node %d: exit %d after SIGTERM\n%s", k, code, m.stderr)
		}
	}
}

// callAround lets each of the living call the next.
func (r *ring) callAround(t *testing.T, dead int, phones []*softPhone) {
	t.Helper()
	var living []*softPhone
	for k, p := range phones {
		if k != dead {
			living = append(living, p)
		}
	}
	for i, p := range living {
		if err := p.call(living[(i+1)%len(living)].aor()); err != nil {
			t.Errorf("without node %d: %v", dead, err)
		}
	}
}

// A node that is told to stop leaves: its values are with the others at once, and it ends well within seconds.
//
// Conformance: E-29 H-32
func TestProcessesLeaveOnSIGTERM(t *testing.T) {
	r := newRing(t, program(t, ""), 3, []string{"2001"})
	for _, m := range r.members {
		r.start(t, m)
	}
	p := newSoftPhone(t, "2001", r.members[1].sip)
	if err := p.register(600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "2001 to be found", func() error { return homedAt(r.members[2], r.members[1], "2001") })
	if err := r.members[0].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	const leaves = 10 * time.Second
	if code := r.members[0].code(t, leaves); code != exitOK {
		t.Errorf("exit %d after SIGTERM\n%s", code, r.members[0].stderr)
	}
	if err := homedAt(r.members[2], r.members[1], "2001"); err != nil {
		t.Error(err)
	}
	eventually(t, "the ring to close", func() error {
		var s gateway.RingReport
		if err := getJSON(r.members[2].admin, "/api/v1/ring", &s); err != nil {
			return err
		}
		if len(s.Successors) != 1 || s.Successors[0] != r.members[1].id {
			return fmt.Errorf("successors %v, want %s alone", s.Successors, r.members[1].id)
		}
		return nil
	})
}

// A node whose bootstrap nodes are all down says what it has tried and why that failed, and goes in when one is up.
func TestProcessesTellWhyTheyDoNotGetIn(t *testing.T) {
	r := newRing(t, program(t, ""), 3, []string{"2001"})
	m := r.members[2] // the others are its bootstrap nodes
	m.process = start(t, r.program, r.env, "run", "-c", m.file)
	eventually(t, "a reason", func() error {
		var s gateway.StatusReport
		if err := getJSON(m.admin, "/api/v1/status", &s); err != nil {
			return err
		}
		if s.Ready || !strings.HasSuffix(s.JoinFailed, ": connection refused") || !strings.Contains(strings.Join(s.Remarks(), "\n"), "E0309") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	tried := regexp.MustCompile("WRN join_failed code=E0309 .*(" + r.members[0].overlay + "|" + r.members[1].overlay + "): connection refused") // in any order
	if log := m.stderr.String(); !tried.MatchString(log) {
		t.Errorf("log:\n%s", log)
	}
	r.start(t, r.members[0])
	eventually(t, "the node to get in", func() error {
		var s gateway.StatusReport
		if err := getJSON(m.admin, "/api/v1/status", &s); err != nil {
			return err
		}
		if !s.Ready || s.JoinFailed != "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if log := r.members[0].stderr.String(); strings.Contains(log, "WRN") {
		t.Errorf("the first node is warned:\n%s", log)
	}
}

// Whatever is wrong at the start: exit 1, one line that names it, and an indented one that says what to do.
func TestProcessesNameWhatIsWrongAtTheStart(t *testing.T) {
	r := newRing(t, program(t, ""), 1, []string{"2001"})
	m := r.members[0]
	good, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	taken := func(network, address string) {
		if network == "udp" {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	busy := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	taken("tcp", busy)
	taken("udp", busy)
	missing := filepath.Join(r.dir, "missing")
	cases := map[string]struct {
		config string
		words  []string
	}{
		"SIP port in use":     {replace("udp://"+m.sip, "udp://"+busy), []string{"sip.listen", busy, "in use", "try:"}},
		"TCP port in use":     {replace("tcp://"+m.sip, "tcp://"+busy), []string{"sip.listen", busy, "in use", "try:"}},
		"overlay port in use": {replace("tls://"+m.overlay, "tls://"+busy), []string{"overlay.listen", busy, "in use", "try:"}},
		"admin port in use":   {replace("listen: "+m.admin, "listen: "+busy), []string{"admin.listen", busy, "in use", "try:"}},
		"no identity":         {replace("identity: "+filepath.Join(r.dir, "gw0"), "identity: "+missing), []string{missing, "no such file", "try:"}},
		"no TLS certificate": {replace("sip:\n", "sip:\n  tls: {cert: "+missing+", key: "+missing+"}\n"),
			[]string{"sip.tls", missing, "no such file", "try:"}},
		"other domain":      {replace("domain: p2psip.test", "domain: example.com"), []string{"bad.yaml:2:", "E0116", "example.com", "p2psip.test", "try:"}},
		"no users":          {replace("users: users.txt", "users: "+missing), []string{"registrar.users", missing, "no such file", "try:"}},
		"unknown key":       {replace("  first:", "  bootstap: [127.0.0.1:1]\n  first:"), []string{"bad.yaml:9:3", "bootstap", "bootstrap"}},
		"list for a string": {replace("data: data0", "data: [a, b]"), []string{"bad.yaml:3:7 E0104 data"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.config == string(good) {
				t.Fatal("the case changes nothing")
			}
			file := filepath.Join(r.dir, "bad.yaml")
			write(t, file, c.config)
			p := start(t, r.program, nil, "run", "-c", file)
			if code := p.code(t, e2eWait); code != exitConfig {
				t.Errorf("exit %d, want %d", code, exitConfig)
			}
			oneLine(t, p.stderr.String(), c.words...)
		})
	}
}

// oneLine checks what the program says when it does not start: one line, and indented ones for what to do.
func oneLine(t *testing.T, text string, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, l := range lines[1:] {
		if !strings.HasPrefix(l, "      ") {
			t.Errorf("more than one line:\n%s", text)
		}
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
	if strings.Contains(text, "goroutine ") || len(text) > 1000 {
		t.Errorf("not for people:\n%s", text)
	}
}
