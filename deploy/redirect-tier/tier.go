package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	domain    = "bench.test" // that of the load bench, whose Kamailio knows no other
	stopWait  = 15 * time.Second
	ask       = 100 * time.Millisecond // between two looks at a node that is to become ready
	clockTick = 100                    // of /proc/PID/stat: USER_HZ
)

func userName(i int) string { return fmt.Sprintf("u%07d", i) }

// node is one process.
type node struct {
	name, sip, link, admin string
	cmd                    *exec.Cmd
	ended                  chan struct{}
}

// kill is SIGKILL.
func (n *node) kill() { _ = n.cmd.Process.Kill() }

// tier is all processes.
type tier struct {
	binary, dir         string
	gateways, redirects []*node
}

// port is one that is free for UDP and TCP at this moment.
func port() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		p := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p})
		_ = l.Close()
		if err == nil {
			return p, u.Close()
		}
	}
	return 0, errors.New("no port is free")
}

func newNode(name string) (*node, error) {
	n := &node{name: name}
	for _, a := range []*string{&n.sip, &n.link, &n.admin} {
		p, err := port()
		if err != nil {
			return nil, err
		}
		*a = fmt.Sprint("127.0.0.1:", p)
	}
	return n, nil
}

// start makes an overlay and its nodes, one after the other.
func start(ctx context.Context, o options, dir string) (*tier, error) {
	t := &tier{binary: o.binary, dir: dir}
	for k := range o.gateways + o.redirects {
		n, err := newNode(fmt.Sprint("gw", k))
		if err != nil {
			return nil, err
		}
		if k < o.gateways {
			t.gateways = append(t.gateways, n)
		} else {
			t.redirects = append(t.redirects, n)
		}
	}
	if err := t.command("init", "--domain", domain, "--dir", filepath.Join(dir, "overlay"), "--bootstrap", t.gateways[0].link); err != nil {
		return nil, err
	}
	for k, n := range append(t.gateways[:len(t.gateways):len(t.gateways)], t.redirects...) {
		if err := t.prepare(o, k, n); err != nil {
			t.stop()
			return nil, err
		}
		if err := t.launch(ctx, o, n); err != nil {
			t.stop()
			return nil, err
		}
	}
	return t, nil
}

func (t *tier) command(args ...string) error {
	if out, err := exec.Command(t.binary, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return nil
}

// prepare makes the identity and the configuration of node k. A gateway has the certificates of its own users only.
func (t *tier) prepare(o options, k int, n *node) error {
	path := func(what string) string { return filepath.Join(t.dir, n.name+what) }
	args := []string{"identity", "issue", "--dir", filepath.Join(t.dir, "overlay"), "--name", n.name, "--out", path(".identity")}
	role := "role: redirect\n"
	if o.cache > 0 {
		role += fmt.Sprintf("redirect: {cache: %v}\n", o.cache)
	}
	if k < o.gateways {
		var users strings.Builder
		for i := k; i < o.phones; i += o.gateways {
			fmt.Fprintf(&users, "%s secret\n", userName(i))
		}
		if err := os.WriteFile(path(".users"), []byte(users.String()), 0o600); err != nil {
			return err
		}
		args = append(args, "--users", path(".users"))
		role = fmt.Sprintf("registrar: {users: %s, trusted: 127.0.0.0/8}\n", path(".users"))
	}
	if err := t.command(args...); err != nil {
		return err
	}
	text := fmt.Sprintf(`domain: %s
%sdata: %s
sip: {listen: "udp://%s"}
overlay: {identity: %s, listen: "tls://%s", first: %t}
security: {trusted: 127.0.0.0/8}
admin: {listen: "%s"}
log: {level: warn}
`, domain, role, path(".data"), n.sip, path(".identity"), n.link, k == 0, n.admin)
	return os.WriteFile(path(".yaml"), []byte(text), 0o600)
}

// launch starts a node and waits until it is ready.
func (t *tier) launch(ctx context.Context, o options, n *node) error {
	log, err := os.Create(filepath.Join(t.dir, n.name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	n.cmd, n.ended = exec.Command(t.binary, "run", "-c", filepath.Join(t.dir, n.name+".yaml")), make(chan struct{})
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.cmd = nil
		return err
	}
	go func() {
		defer close(n.ended)
		_ = n.cmd.Wait()
	}()
	return t.until(ctx, o.most, n.name+" to be ready", func() bool {
		res, err := http.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// until waits for something to become true.
func (t *tier) until(ctx context.Context, most time.Duration, what string, f func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !f() {
		if err := wait(ctx, ask); err != nil {
			logs, _ := filepath.Glob(filepath.Join(t.dir, "*.log"))
			last := ""
			for _, l := range logs {
				b, _ := os.ReadFile(l)
				last += filepath.Base(l) + ": " + string(b[max(0, len(b)-500):]) + "\n"
			}
			return fmt.Errorf("waited for %s: %w\n%s", what, err, last)
		}
	}
	return nil
}

// stop ends every process, in good order or else at once.
func (t *tier) stop() {
	all := append(t.redirects[:len(t.redirects):len(t.redirects)], t.gateways...)
	for _, n := range all {
		if n.cmd != nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
			late := time.AfterFunc(stopWait, n.kill)
			<-n.ended
			late.Stop()
		}
	}
}

// stored is how many phones a gateway has whose record the overlay holds.
func (n *node) stored() (count int) {
	res, err := http.Get("http://" + n.admin + "/api/v1/registrations")
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	var r struct {
		Registrations []struct{ State string }
	}
	if json.NewDecoder(res.Body).Decode(&r) != nil {
		return 0
	}
	for _, reg := range r.Registrations {
		if reg.State == "stored" {
			count++
		}
	}
	return count
}

// cpu is what processes have used so far.
func cpu(pids []int) (used time.Duration) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // killed: what it had used counts from then on as nothing
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		for _, at := range []int{11, 12} { // utime and stime
			n, _ := strconv.Atoi(f[at])
			used += time.Duration(n) * time.Second / clockTick
		}
	}
	return used
}

// memory is the resident one of processes, in MB.
func memory(pids []int) (mb float64) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, after, ok := strings.Cut(string(b), "\nVmRSS:")
		var kb float64
		if _, serr := fmt.Sscan(after, &kb); err == nil && ok && serr == nil {
			mb += kb / 1024
		}
	}
	return mb
}

func pids(nodes []*node) (out []int) {
	for _, n := range nodes {
		out = append(out, n.cmd.Process.Pid)
	}
	return out
}

func addresses(nodes []*node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.sip)
	}
	return out
}
