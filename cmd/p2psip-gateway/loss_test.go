package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lossVariable is set in the test program that runs in a network of its own; it names the gateway program.
const lossVariable = "P2PSIP_LOSS_TEST_PROGRAM"

// inOwnNetwork runs the test t again, in a network namespace with nothing but a loopback interface. It reports whether this is that run.
func inOwnNetwork(t *testing.T) (program string, inside bool) {
	t.Helper()
	if p := os.Getenv(lossVariable); p != "" {
		return p, true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace: it must run as root")
	}
	file, err := build("")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), lossVariable+"="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a network of its own: %v", err)
	}
	return "", false
}

// lossy has the loopback interface lose one UDP datagram in twenty, those of phones excepted. lost tells how many were lost so far.
func lossy(t *testing.T, sipPorts []string) (lost func() string) {
	t.Helper()
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s(the test needs ip and nft: run .ci/deps)", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// The MTU of an Ethernet: what is longer is cut, and lost as a whole with any of its fragments.
	run("ip", "link", "set", "lo", "mtu", "1500", "up")
	ports := "{ " + strings.Join(sipPorts, ", ") + " }"
	run("nft", "add table inet loss; add counter inet loss lost; add chain inet loss in { type filter hook input priority 0; }; "+
		"add rule inet loss in udp dport "+ports+" accept; add rule inet loss in udp sport "+ports+" accept; "+
		"add rule inet loss in meta l4proto udp numgen random mod 100 < 5 counter name lost drop")
	return func() string {
		_, text, _ := strings.Cut(run("nft", "list", "counter", "inet", "loss", "lost"), "packets ")
		n, _, _ := strings.Cut(text, " ")
		return n
	}
}

// Five nodes whose links and whose SIP connections are DTLS, on a network that loses one datagram in twenty. Two are killed, one after the
// other: no registration that was acknowledged is lost, neither those before nor those made while a node is dead, and calls go through.
//
// Conformance: A-14 A-20 F-24
func TestProcessesSurviveKillsOverDTLSThatLosesDatagrams(t *testing.T) {
	t.Parallel() // they have networks of their own
	if file, inside := inOwnNetwork(t); inside {
		surviveKills(t, ringPlan{scheme: "dtls", program: file, nodes: 5})
	}
}

// The same with ICE on all links.
//
// Conformance: A-01 A-26
func TestProcessesSurviveKillsOverICEThatLosesDatagrams(t *testing.T) {
	t.Parallel() // they have networks of their own
	if file, inside := inOwnNetwork(t); inside {
		surviveKills(t, ringPlan{scheme: "dtls", program: file, nodes: 5, init: []string{"--ice"}})
	}
}

func surviveKills(t *testing.T, plan ringPlan) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	users := []string{"2001", "2002", "2003", "2004", "2005", "3001", "3002"}
	plan.users = users
	r := plan.make(t)
	var ports []string
	for _, m := range r.members {
		_, port, _ := strings.Cut(m.sip, ":")
		ports = append(ports, port)
	}
	lost := lossy(t, ports)
	var phones []*softPhone
	for k, m := range r.members {
		r.start(t, m)
		p := newSoftPhone(t, users[k], m.sip)
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
		phones = append(phones, p)
	}
	homes := users[:5]
	eventually(t, "everybody to be found", func() error { return r.everyoneFound(-1, homes) })
	r.callAround(t, -1, phones)
	for i, k := range []int{1, 3} {
		killed := time.Now()
		r.members[k].kill()
		late := newSoftPhone(t, users[5+i], r.members[0].sip)
		if err := late.register(600); err != nil {
			t.Errorf("while node %d is dead: %v", k, err)
		}
		found := func() error {
			err := r.everyoneFound(k, homes)
			for j, m := range r.members {
				if j != k {
					err = errors.Join(err, homedAt(m, r.members[0], late.user))
				}
			}
			return err
		}
		within(t, lossLimit, fmt.Sprintf("everybody to be found without node %d", k), found)
		t.Logf("node %d killed: everybody found after %v", k, time.Since(killed).Round(time.Millisecond))
		r.callAround(t, k, phones)
		r.start(t, r.members[k])
		within(t, lossLimit, fmt.Sprintf("everybody to be found with node %d back", k), func() error { return r.everyoneFound(-1, homes) })
	}
	n := lost()
	t.Logf("%s datagrams were lost", n)
	if n == "" || n == "0" {
		t.Error("nothing was lost")
	}
}

// lossLimit is how long after a kill everybody must be found over links that lose datagrams. Where the kernel of the dead node's
// host says that nobody listens, a link ends at once; else it is routed around when three copies of a message stay unacknowledged.
const lossLimit = 45 * time.Second
