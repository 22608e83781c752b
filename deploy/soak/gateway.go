package main

import (
	"bufio"
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

// gateway is the process under test.
type gateway struct {
	cmd        *exec.Cmd
	log        *os.File
	sip, admin string
}

const (
	domain    = "soak.test"
	startWait = 30 * time.Second
	stopWait  = 15 * time.Second
)

// freePort is one that nobody listens on, for TCP and most likely for UDP.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start makes an overlay of one node, with loopback trusted, and runs it.
func start(o options, dir string) (*gateway, error) {
	var ports [3]int
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	g := &gateway{sip: fmt.Sprint("127.0.0.1:", ports[0]), admin: fmt.Sprint("127.0.0.1:", ports[1])}
	link := fmt.Sprint("127.0.0.1:", ports[2])
	var users strings.Builder
	for i := range o.phones {
		fmt.Fprintf(&users, "%s secret\n", userName(i))
	}
	file := filepath.Join(dir, "gateway.yaml")
	for path, text := range map[string]string{filepath.Join(dir, "users.txt"): users.String(), file: fmt.Sprintf(`domain: %s
data: data
sip: {listen: "udp://%s"}
overlay: {identity: identity, listen: "tls://%s", first: true}
registrar: {users: users.txt, trusted: 127.0.0.0/8}
security: {trusted: 127.0.0.0/8}
admin: {listen: "%s"}
`, domain, g.sip, link, g.admin)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	overlay := filepath.Join(dir, "overlay")
	for _, args := range [][]string{
		{"init", "--domain", domain, "--dir", overlay, "--bootstrap", link},
		{"identity", "issue", "--dir", overlay, "--name", "gw", "--users", filepath.Join(dir, "users.txt"), "--out", filepath.Join(dir, "identity")},
	} {
		if out, err := exec.Command(o.binary, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	var err error
	if g.log, err = os.Create(filepath.Join(os.TempDir(), "soak-gateway.log")); err != nil {
		return nil, err
	}
	g.cmd = exec.Command(o.binary, "run", "-c", file)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(startWait); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		res, err := http.Get("http://" + g.admin + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return g, nil
			}
		}
	}
	g.stop()
	return nil, errors.New("the gateway is not ready: see " + g.log.Name())
}

// stop ends the process in good order, or else at once.
func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopWait, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	_ = g.cmd.Wait()
	_ = g.log.Close()
}

// look reads the memory of the process, and its metrics.
func (g *gateway) look() (s sample, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return s, err
	}
	_, after, _ := strings.Cut(string(b), "\nRssAnon:")
	if _, err := fmt.Sscan(after, &s.rss); err != nil {
		return s, fmt.Errorf("RssAnon: %w", err)
	}
	res, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		return s, err
	}
	defer func() { _ = res.Body.Close() }()
	for sc := bufio.NewScanner(res.Body); sc.Scan(); {
		name, value, _ := strings.Cut(sc.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			s.goroutines = int(n)
		case "p2psip_sip_transactions":
			s.transactions = int(n)
		}
	}
	return s, nil
}
