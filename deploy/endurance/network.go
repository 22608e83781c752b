package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// network is a namespace with two bridges, and a namespace for each site with a port on one of the bridges. Which bridge a
// site's port is on says which sites it can reach: moving a port is a partition that no peer is told of.
type network struct {
	prefix string
	sites  []*site
}

// site is a network namespace in which peers run.
type site struct {
	name, port, address string // of the namespace; of its port in the middle; what other sites reach it by
	fd                  int
}

func newNetwork(sites int) (n *network, err error) {
	n = &network{prefix: fmt.Sprintf("endurance-%d", os.Getpid())}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := ip("netns", "add", n.prefix); err != nil {
		return nil, fmt.Errorf("%w\n      try: run as root", err)
	}
	for _, bridge := range []string{"br0", "br1"} {
		if err := errors.Join(ip("-n", n.prefix, "link", "add", bridge, "type", "bridge"), ip("-n", n.prefix, "link", "set", bridge, "up")); err != nil {
			return nil, err
		}
	}
	for i := range sites {
		s, err := n.add(i)
		if err != nil {
			return nil, err
		}
		n.sites = append(n.sites, s)
	}
	return n, nil
}

func (n *network) add(i int) (*site, error) {
	s := &site{name: fmt.Sprintf("%s-%d", n.prefix, i), port: fmt.Sprintf("site%d", i), address: fmt.Sprintf("10.91.0.%d", i+1), fd: -1}
	for _, args := range [][]string{
		{"netns", "add", s.name},
		{"-n", s.name, "link", "set", "lo", "up"},
		{"link", "add", s.port, "netns", n.prefix, "type", "veth", "peer", "name", "eth0", "netns", s.name},
		{"-n", s.name, "address", "add", s.address + "/24", "dev", "eth0"},
		{"-n", s.name, "link", "set", "eth0", "up"},
		{"-n", n.prefix, "link", "set", s.port, "master", "br0", "up"},
	} {
		if err := ip(args...); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open("/run/netns/"+s.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", s.name, err)
	}
	s.fd = fd
	return s, nil
}

// side puts each site on the side that is named, 0 or 1.
func (n *network) side(sides []int) error {
	var errs []error
	for i, s := range n.sites {
		errs = append(errs, ip("-n", n.prefix, "link", "set", s.port, "master", fmt.Sprintf("br%d", sides[i])))
	}
	return errors.Join(errs...)
}

func (n *network) close() {
	for _, s := range n.sites {
		_ = unix.Close(s.fd)
		_ = ip("netns", "del", s.name)
	}
	_ = ip("netns", "del", n.prefix)
}

// inside runs f on a thread that is in the site's namespace: the sockets and processes that f makes are there.
func (s *site) inside(f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("own namespace: %w", err)
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("namespace %s: %w", s.name, err)
	}
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// dial is for an http.Transport.
func (s *site) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = s.inside(func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
