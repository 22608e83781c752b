package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	domain      = "endurance.test"
	password    = "secret"
	readyWait   = 60 * time.Second
	lookupWait  = 12 * time.Second // the gateway itself gives up earlier
	maxAnswer   = 1 << 20          // octets of an answer of the admin server
	leaveWait   = 20 * time.Second
	statusEvery = 50 * time.Millisecond
)

// peer is one gateway: a process in a site's namespace.
type peer struct {
	number           int
	site             int
	file, log        string
	sip, admin, node string // addresses and Node-ID
	http             *http.Client
	where            *site

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	state string // "up", "down", "stopped"; those that are not up are neither asked nor registered at
}

func (p *peer) up() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.state == "up" }

func (p *peer) set(state string) { p.mu.Lock(); defer p.mu.Unlock(); p.state = state }

// ring is all peers.
type ring struct {
	program, dir string
	peers        []*peer
	numbers      map[string]int // by Node-ID
}

// newRing makes the overlay, with the identities of all peers, each of which may act for all users.
func newRing(program, dir string, n *network, c config) (*ring, error) {
	r := &ring{program: program, dir: dir, numbers: map[string]int{}}
	var users strings.Builder
	for i := range c.users {
		fmt.Fprintln(&users, userName(i), password)
	}
	if err := os.WriteFile(filepath.Join(dir, "users.txt"), []byte(users.String()), 0o600); err != nil {
		return nil, err
	}
	overlay := filepath.Join(dir, "overlay")
	args := []string{"init", "--domain", domain, "--dir", overlay}
	for k := range min(c.peers, 2*len(n.sites)) { // two bootstrap nodes at each site
		args = append(args, "--bootstrap", n.sites[k%len(n.sites)].overlay(k))
	}
	if err := r.command(args...); err != nil {
		return nil, err
	}
	for k := range c.peers {
		p, err := r.add(k, n.sites[k%len(n.sites)], overlay)
		if err != nil {
			return nil, err
		}
		p.site = k % len(n.sites)
		r.peers = append(r.peers, p)
	}
	return r, nil
}

func (s *site) overlay(k int) string { return fmt.Sprintf("%s:%d", s.address, 6100+k) }

func (r *ring) add(k int, s *site, overlay string) (*peer, error) {
	p := &peer{number: k, where: s, state: "down", sip: fmt.Sprintf("127.0.0.1:%d", 5100+k), admin: fmt.Sprintf("127.0.0.1:%d", 8100+k)}
	name := fmt.Sprintf("gw%d", k)
	p.file, p.log = filepath.Join(r.dir, name+".yaml"), filepath.Join(r.dir, name+".log")
	identity := filepath.Join(r.dir, name)
	if err := r.command("identity", "issue", "--dir", overlay, "--name", name, "--out", identity, "--users", filepath.Join(r.dir, "users.txt")); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`domain: %s
data: data-%s
sip:
  listen: [udp://%s]
overlay:
  identity: %s
  listen: tls://%s
  first: %t
registrar:
  users: users.txt
  publish: required
  publish_wait: 5s
admin:
  listen: %s
`, domain, name, p.sip, identity, s.overlay(k), k == 0, p.admin)
	p.http = &http.Client{Timeout: lookupWait, Transport: &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 4}}
	return p, os.WriteFile(p.file, []byte(text), 0o600)
}

func (r *ring) command(args ...string) error {
	if out, err := exec.Command(r.program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", r.program, strings.Join(args, " "), err, out)
	}
	return nil
}

// start starts a peer and waits until it is ready.
func (r *ring) start(ctx context.Context, p *peer) error {
	if err := r.launch(p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	var s struct {
		NodeID   string   `json:"node_id"`
		Ready    bool     `json:"ready"`
		NotReady []string `json:"not_ready"`
	}
	for {
		err := p.get(ctx, "/api/v1/status", &s)
		if err == nil && s.Ready {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("peer %d is not ready: %w %v; see %s", p.number, errors.Join(err, ctx.Err()), s.NotReady, p.log)
		case <-p.ended:
			return fmt.Errorf("peer %d ended; see %s", p.number, p.log)
		case <-time.After(statusEvery):
		}
	}
	if p.node == "" { // lookups read the table once all have been started
		p.node, r.numbers[s.NodeID] = s.NodeID, p.number
	}
	p.set("up")
	return nil
}

func (r *ring) launch(p *peer) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(r.program, "run", "-c", p.file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.where.inside(cmd.Start); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.ended = cmd, ended
	return nil
}

// stop ends a peer with a signal, and waits for the end.
func (p *peer) stop(sig syscall.Signal) error {
	p.mu.Lock()
	p.state = "down"
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	p.http.CloseIdleConnections()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(leaveWait):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("peer %d did not end in %v", p.number, leaveWait)
	}
}

func (p *peer) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(sig)
}

// get reads JSON from the admin server.
func (p *peer) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswer)).Decode(into)
}

// lookup asks a peer what the overlay holds of a user.
func (r *ring) lookup(ctx context.Context, p *peer, user string) (peers []int, err error) {
	var report struct {
		Records []struct {
			Owner string `json:"owner"`
		} `json:"records"`
	}
	if err := p.get(ctx, "/api/v1/lookup?aor="+url.QueryEscape(user+"@"+domain), &report); err != nil {
		return nil, err
	}
	for _, rec := range report.Records {
		number, ok := r.numbers[rec.Owner]
		if !ok {
			return nil, fmt.Errorf("unknown gateway %s", rec.Owner)
		}
		peers = append(peers, number)
	}
	return peers, nil
}

func (r *ring) stop() {
	var all sync.WaitGroup
	for _, p := range r.peers {
		all.Go(func() {
			p.mu.Lock()
			cmd, ended := p.cmd, p.ended
			p.mu.Unlock()
			if cmd != nil {
				_ = cmd.Process.Kill()
				<-ended
			}
		})
	}
	all.Wait()
}

func userName(i int) string { return fmt.Sprintf("u%04d", i) }
