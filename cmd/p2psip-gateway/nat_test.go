package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// internet makes the namespaces of the test: a public host, and two sites behind NATs, with a gateway and a phone each. The NATs let in
// what answers, and nothing else. That of site 1 keeps the port of the sender; that of site 2 draws one for each destination (RFC
// 4787 §4.1: address and port-dependent mapping).
const internet = `
for n in public nat1 gw1 phone1 nat2 gw2 phone2; do
	ip netns add $P-$n
	ip -n $P-$n link set lo up
done
ip -n $P-public link add wan type bridge
ip -n $P-public address add 203.0.113.1/24 dev wan
ip -n $P-public link set wan up
site() {
	nat=$P-nat$1
	ip link add out netns $nat type veth peer name nat$1 netns $P-public
	ip -n $P-public link set nat$1 master wan up
	ip -n $nat address add 203.0.113.${1}0/24 dev out
	ip -n $nat link set out up
	ip -n $nat link add lan type bridge
	ip -n $nat address add 10.$1.0.1/24 dev lan
	ip -n $nat link set lan up
	for h in gw:2 phone:3; do
		ip link add eth0 netns $P-${h%:*}$1 type veth peer name ${h%:*} netns $nat
		ip -n $nat link set ${h%:*} master lan up
		ip -n $P-${h%:*}$1 address add 10.$1.0.${h#*:}/24 dev eth0
		ip -n $P-${h%:*}$1 link set eth0 up
		ip -n $P-${h%:*}$1 route add default via 10.$1.0.1
	done
	ip netns exec $nat sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	ip netns exec $nat nft "table ip nat {
		chain post { type nat hook postrouting priority 100; oifname out $2; }
		chain unasked { type filter hook input priority 0; iifname out drop; }
		chain closed { type filter hook forward priority 0; iifname out ct state new drop; }
	}"
}
site 1 masquerade
site 2 "masquerade random,fully-random"
`

// site is one host of a test network and the gateway on it.
type site struct {
	place
	file string
	*process
}

// natted is an overlay with ICE in a test network.
type natted struct {
	t            *testing.T
	program, dir string
	prefix       string
}

func newNatted(t *testing.T) *natted {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: it must run as root")
	}
	n := &natted{t, program(t, ""), t.TempDir(), fmt.Sprintf("p2psip-e2e-%d", os.Getpid())}
	t.Cleanup(func() {
		for _, name := range []string{"public", "nat1", "gw1", "phone1", "nat2", "gw2", "phone2"} {
			_ = exec.Command("ip", "netns", "del", n.prefix+"-"+name).Run()
		}
	})
	sh := exec.Command("sh", "-e")
	sh.Stdin, sh.Env = strings.NewReader(internet), append(os.Environ(), "P="+n.prefix)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.run("init", "--domain", "p2psip.test", "--dir", filepath.Join(n.dir, "overlay"), "--ice", "--bootstrap", "203.0.113.1:6084")
	write(t, filepath.Join(n.dir, "users.txt"), "1001 secret-1001\n1002 secret-1002\n1003 secret-1003\n")
	return n
}

func (n *natted) run(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(n.program, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs a gateway with what its overlay section has besides.
func (n *natted) start(name, address, more string) *site {
	n.t.Helper()
	s := &site{place: place{n.prefix + "-" + name, address}, file: filepath.Join(n.dir, name+".yaml")}
	n.run("identity", "issue", "--dir", filepath.Join(n.dir, "overlay"), "--name", name, "--out", filepath.Join(n.dir, name),
		"--users", filepath.Join(n.dir, "users.txt"))
	write(n.t, s.file, fmt.Sprintf(`
domain: p2psip.test
data: data-%[1]s
sip: {listen: "udp://%[2]s:5060"}
overlay:
  identity: %[1]s
%[3]s
registrar: {users: users.txt}
security: {trusted: [10.0.0.0/8]}
`, name, address, more))
	c := s.command(n.program, "run", "-c", s.file)
	s.process = start(n.t, c.Args[0], nil, c.Args[1:]...)
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("%s:\n%s", name, s.stderr)
		}
	})
	eventually(n.t, name+" to be ready", func() error {
		var r gateway.StatusReport
		if err := n.ask(s, &r, "status"); err != nil {
			return err
		}
		if !r.Ready {
			return fmt.Errorf("not ready: %v", r.NotReady)
		}
		return nil
	})
	return s
}

// ask runs a subcommand at a site and decodes what it prints.
func (n *natted) ask(s *site, v any, args ...string) error {
	out, err := s.command(n.program, append(args, "--json")...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(out) == 0 {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return json.Unmarshal(out, v)
}

// pair waits until a site prints the candidate pair of a link with another one.
func (n *natted) pair(s *site, of string) (pair string) {
	n.t.Helper()
	eventually(n.t, "a link with ICE to "+of, func() error {
		var r gateway.PeersReport
		if err := n.ask(s, &r, "peer", "ls"); err != nil {
			return err
		}
		for _, p := range r.Peers {
			if p.Peer == of && p.Pair != "" {
				pair = p.Pair
				return nil
			}
		}
		return fmt.Errorf("%+v", r.Peers)
	})
	return pair
}

// Two gateways behind two different NATs, of which one is symmetric, and a public one with TURN: a phone behind each calls the
// other one, in both directions, with no port forwarded.
//
// Feature: NAT-07
func TestE2ECallsThroughTwoNATs(t *testing.T) {
	n := newNatted(t)
	n.start("public", "203.0.113.1", `
  first: true
  turn: {listen: "udp://203.0.113.1:3478", ports: 40000-40100}`)
	gw1, gw2 := n.start("gw1", "10.1.0.2", ""), n.start("gw2", "10.2.0.2", "")

	for i, s := range []*site{gw1, gw2} {
		other := []*site{gw2, gw1}[i]
		var r gateway.PeersReport
		if err := n.ask(other, &r, "peer", "ls"); err != nil {
			t.Fatal(err)
		}
		pair := n.pair(s, r.Self)
		t.Logf("%s: %s", s.namespace, pair)
		if !strings.Contains(pair, "relay 203.0.113.1:4") { // a symmetric NAT and one that filters by port need a relay
			t.Errorf("pair %q", pair)
		}
		var ring gateway.RingReport
		if err := n.ask(s, &ring, "ring"); err != nil || !slices.ContainsFunc(ring.Links, func(l gateway.LinkReport) bool { return l.Pair == pair }) {
			t.Errorf("ring prints %+v, %v", ring.Links, err)
		}
		table, err := s.command(n.program, "peer", "ls").Output()
		if err != nil || !strings.Contains(string(table), pair) {
			t.Errorf("peer ls prints %s, %v", table, err)
		}
	}

	phones := []phone{{user: "1001", transport: "udp", port: 5070, at: place{n.prefix + "-phone1", "10.1.0.3"}},
		{user: "1002", transport: "udp", port: 5070, at: place{n.prefix + "-phone2", "10.2.0.3"}}}
	homes := []string{"10.1.0.2:5060", "10.2.0.2:5060"}
	for i, p := range phones {
		register(t, p, homes[i])
		eventually(t, "its record to be stored", func() error {
			var r gateway.LookupReport
			if err := n.ask([]*site{gw2, gw1}[i], &r, "lookup", p.user+"@p2psip.test"); err != nil {
				return err
			}
			if len(r.Records) != 1 {
				return fmt.Errorf("%+v", r.Records)
			}
			return nil
		})
	}
	for i, caller := range phones {
		callee, at := phones[1-i], homes[1-i]
		answer := startSIPp(t, callee, "answer.xml", at)
		listening(t, answer, callee)
		caller.port++
		call(t, caller, homes[i], aorURI(callee.user))
		answer.wait()
	}
}
