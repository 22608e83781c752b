package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/sip/digest"
)

// devOptions are the flags of `dev`.
type devOptions struct {
	gateways, redirects             int
	host, domain                    string
	sipPort, overlayPort, adminPort int
	users                           int
	usersFile, data                 string
	verbose                         bool

	change func(*gateway.Config) // what a test wants otherwise
}

const devAbout = `A throw-away overlay of complete gateways in one process, each with sockets, keys and a peer of its own. Redirect peers
follow the gateways in the same numbering. It prints what to type into a phone, and a line that begins with "ready".`

func devFlags(std stdio, args []string) (o devOptions, code int, ok bool) {
	fs := newFlags(std, "dev", "[flags]", devAbout)
	fs.IntVar(&o.gateways, "gateways", 3, "`number` of gateways")
	fs.IntVar(&o.redirects, "redirects", 1, "`number` of redirect peers")
	fs.StringVar(&o.host, "host", "127.0.0.1", "`address` to listen on; phones and gateways must reach it")
	fs.IntVar(&o.sipPort, "sip-port", 5060, "SIP `port` of gateway 0, UDP and TCP; TLS is one higher, WebSockets (wss://) two; gateway k is 10k higher")
	fs.IntVar(&o.overlayPort, "overlay-port", 6084, "overlay `port` of gateway 0; gateway k is k higher")
	fs.IntVar(&o.adminPort, "admin-port", 8060, "admin HTTP `port` of gateway 0, on loopback; gateway k is k higher")
	fs.StringVar(&o.domain, "domain", "p2psip.test", "SIP `domain`, and name of the overlay")
	fs.IntVar(&o.users, "users", 10, "`number` of users, from 1001")
	fs.StringVar(&o.usersFile, "users-file", "", "`file` of users instead: lines \"user password\"")
	fs.StringVar(&o.data, "data", "", "`directory` for durable state; without it a temporary one that is removed at the end")
	fs.BoolVar(&o.verbose, "v", false, "log what happens to standard error")
	if code, ok := parseFlags(std, fs, args); !ok {
		return o, code, false
	}
	if err := o.check(); err != nil {
		return o, usageError(std, fs, err), false
	}
	return o, exitOK, true
}

// check looks at what no file or socket has to be asked for.
func (o *devOptions) check() error {
	nodes := o.gateways + o.redirects
	if o.domain = strings.ToLower(o.domain); !config.IsDNSName(o.domain) {
		return domainError(o.domain)
	}
	switch {
	case o.gateways < 1:
		return fmt.Errorf("--gateways %d: it must be at least 1", o.gateways)
	case o.redirects < 0:
		return fmt.Errorf("--redirects %d: it must not be negative", o.redirects)
	case o.users < 0:
		return fmt.Errorf("--users %d: it must not be negative", o.users)
	}
	for _, p := range []struct {
		flag        string
		first, last int
	}{
		{"--sip-port", o.sipPort, o.sipPort + 10*(nodes-1) + 2},
		{"--overlay-port", o.overlayPort, o.overlayPort + nodes - 1},
		{"--admin-port", o.adminPort, o.adminPort + nodes - 1},
	} {
		if p.first < 1 || p.last > math.MaxUint16 {
			return fmt.Errorf("%s %d: %d nodes would need the ports up to %d, of 1 to %d", p.flag, p.first, nodes, p.last, math.MaxUint16)
		}
	}
	return nil
}

// runDev starts gateways and redirect peers, prints what to type into a phone, and serves until ctx ends.
func runDev(ctx context.Context, std stdio, args []string) int {
	o, code, ok := devFlags(std, args)
	if !ok {
		return code
	}
	if a, err := netip.ParseAddr(o.host); err == nil && a.IsUnspecified() {
		return devFailed(std, fmt.Errorf("E0202 --host %s: phones and gateways can not be told that address\n      try: --host ADDRESS, the one at which they reach this machine", o.host))
	}
	begin := time.Now()
	if o.data == "" {
		dir, err := os.MkdirTemp("", "p2psip-gateway-dev-")
		if err != nil {
			return devFailed(std, err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.data = dir
	}
	d, err := openDev(o, std)
	if err != nil {
		return devFailed(std, err)
	}
	fmt.Fprintf(std.out, "p2psip-gateway %s: throw-away overlay %q, %s, %s, state in %s\n", version, o.domain, count(o.gateways, "gateway"), count(o.redirects, "redirect peer"), o.data)
	d.describe(std)
	go paceGC(ctx)
	return d.run(ctx, std, begin)
}

func devFailed(std stdio, err error) int {
	fmt.Fprintln(std.err, "p2psip-gateway dev:", err)
	return exitConfig
}

// dev is an overlay in one process.
type dev struct {
	o     devOptions
	nodes []*gateway.Gateway
	users []devUser
}

type devUser struct{ name, password string }

func openDev(o devOptions, std stdio) (*dev, error) {
	d := &dev{o: o}
	users, shown, err := o.readUsers()
	if err != nil {
		return nil, err
	}
	d.users = shown
	now := time.Now()
	made := identity.Template(o.domain)
	identity.WithServices(made)
	ov, err := identity.New(made, trust.P256, now)
	if err != nil {
		return nil, err
	}
	level := "error"
	if o.verbose {
		level = "info"
	}
	log := newLog(gateway.LogConfig{Level: level, Format: "text"}, std.err)
	for k := range o.gateways + o.redirects {
		self, err := identity.NewNode(ov.Authority, fmt.Sprintf("gw%d@%s", k, o.domain), now)
		if err != nil {
			return nil, d.closed(err)
		}
		g, err := gateway.Open(gateway.Options{
			Config: o.config(k), Version: version, Log: log.With().Int("node", k).Logger(), Overlay: ov.Config,
			Document: ov.Document, Self: self, Users: users,
			Keyring: identity.IssuingKeyring(ov.Authority, self), OpenCalls: o.loopback(),
		})
		if err != nil {
			return nil, d.closed(err)
		}
		d.nodes = append(d.nodes, g)
	}
	return d, nil
}

// closed closes what was opened and returns err.
func (d *dev) closed(err error) error {
	for _, g := range d.nodes {
		g.Close()
	}
	return err
}

// config is that of node k: gateways first, then redirect peers.
func (o devOptions) config(k int) gateway.Config {
	at := func(port int) string { return net.JoinHostPort(o.host, strconv.Itoa(port)) }
	c := gateway.DefaultConfig()
	c.Domain, c.DrainTimeout = o.domain, devDrain
	c.Data = filepath.Join(o.data, "node-"+strconv.Itoa(k))
	sip := o.sipPort + 10*k
	// Pages of this machine may open a WebSocket.
	c.SIP.Origins = gateway.List{o.host, net.JoinHostPort(o.host, "*")}
	c.SIP.Listen = gateway.List{"udp://" + at(sip), "tcp://" + at(sip), "tls://" + at(sip+1), "wss://" + at(sip+2)}
	c.Overlay.Listen = gateway.List{"tls://" + at(o.overlayPort+k)}
	c.Overlay.First = k == 0
	if k > 0 {
		c.Overlay.Bootstrap = gateway.List{at(o.overlayPort)}
	}
	c.Overlay.Services.Call = gateway.List{overlay.ServiceVoiceMail}
	if k == o.gateways-1 {
		c.Overlay.Services.Offer = c.Overlay.Services.Call
	}
	if k >= o.gateways {
		c.Role = gateway.RoleRedirect
	}
	c.Admin.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(o.adminPort+k))
	if o.change != nil {
		o.change(&c)
	}
	return c
}

// devDrain: who tries things does not wait for calls to end.
const devDrain = 2 * time.Second

func (o devOptions) loopback() bool { return loopbackHost(o.host) }

// loopbackHost reports whether a host is this machine, whoever asks.
func loopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.IsLoopback())
}

// readUsers are the users of the file, or made ones: with known passwords while only this machine can reach us.
func (o devOptions) readUsers() (*digest.Users, []devUser, error) {
	var shown []devUser
	if o.usersFile != "" {
		users, err := loadUsers("--users-file", o.usersFile, o.domain)
		if err != nil {
			return nil, nil, err
		}
		names, err := identity.ReadUsers(o.usersFile)
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("E0203 --users-file: %s names no user", o.usersFile)
		}
		for _, name := range names {
			shown = append(shown, devUser{name, "as in " + o.usersFile})
		}
		return users, shown, err
	}
	var file strings.Builder
	for i := range o.users {
		u := devUser{strconv.Itoa(1001 + i), "secret-" + strconv.Itoa(1001+i)}
		if !o.loopback() {
			u.password = strings.ToLower(rand.Text()[:12])
		}
		shown = append(shown, u)
		fmt.Fprintln(&file, u.name, u.password)
	}
	users, err := digest.ReadUsers(strings.NewReader(file.String()), o.domain)
	return users, shown, err
}

// run serves until ctx ends, or a node fails.
func (d *dev) run(ctx context.Context, std stdio, begin time.Time) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(d.nodes))
	var running sync.WaitGroup
	for i, g := range d.nodes {
		running.Go(func() {
			defer stop() // one node's end is the end of all
			errs[i] = g.Run(ctx)
		})
	}
	d.announce(ctx, std, begin)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(std.err, "p2psip-gateway dev:", err)
		return exitFatal
	}
	return exitOK
}

// announce prints the line that starts with "ready" when every peer has joined.
func (d *dev) announce(ctx context.Context, std stdio, begin time.Time) {
	for _, g := range d.nodes {
		select {
		case <-g.Joined():
		case <-ctx.Done():
			return
		}
	}
	fmt.Fprintf(std.out, "ready: %d peers joined in %.1f s; stop with Ctrl-C\n", len(d.nodes), time.Since(begin).Seconds())
}

// shownUsers is how many users are printed.
const shownUsers = 4

func (d *dev) describe(std stdio) {
	o := d.o
	for k := range d.nodes {
		what := "gateway"
		if k >= o.gateways {
			what = "redirect"
		}
		sip := o.sipPort + 10*k
		fmt.Fprintf(std.out, "  %-8s %d  sip udp+tcp %s:%d  tls %d  wss %d   overlay %d   admin http://127.0.0.1:%d\n", what, k, o.host, sip, sip+1, sip+2, o.overlayPort+k, o.adminPort+k)
	}
	fmt.Fprint(std.out, "\nType into a phone:\n")
	for i, u := range d.users[:min(shownUsers, len(d.users))] {
		port := o.sipPort + 10*(i%o.gateways)
		fmt.Fprintf(std.out, "  user %s   password %s   domain %s   outbound proxy %s:%d\n", u.name, u.password, o.domain, o.host, port)
	}
	if n := len(d.users) - shownUsers; n > 0 {
		fmt.Fprintf(std.out, "  and %d more, at any gateway\n", n)
	}
	fmt.Fprint(std.out, "  over TLS and WSS the certificates are self-signed: have the phone take them\n")
	if len(d.users) == 0 {
		return
	}
	fmt.Fprintf(std.out, "Then ask any node where somebody is, and what is registered at it:\n  %[1]s lookup %[2]s --admin 127.0.0.1:%[3]d\n  %[1]s reg ls --admin 127.0.0.1:%[4]d\n\n",
		invoked(os.Args[0]), d.users[0].name, o.adminPort+len(d.nodes)-1, o.adminPort)
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// invoked is what starts this program again: `go run` builds it where nobody would look for it.
func invoked(arg0 string) string {
	const name = "p2psip-gateway"
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	if filepath.Base(arg0) == name && !filepath.IsAbs(arg0) {
		return arg0
	}
	return "go run ./cmd/" + name
}
