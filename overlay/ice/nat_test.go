package ice

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The public node of the test network, a STUN and TURN server, and the port of the nodes behind NATs.
const (
	roleVariable = "P2PSIP_ICE_TEST_ROLE"
	publicNode   = "203.0.113.1:3478"
	nodePort     = 6084
	natTimeout   = 60 * time.Second
)

// NATs as nftables has them. Both let in only what answers. The first keeps the port of the sender, so that all servers see
// the same one; the second draws one for each destination (RFC 4787 §4.1: address and port-dependent mapping).
const (
	coneNAT      = "masquerade"
	symmetricNAT = "masquerade random,fully-random"
)

// Two nodes behind two NATs connect with the help of a public one: directly when one hole can be found from the other
// side, and else through the TURN server.
func TestTwoNATs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: it must run as root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test needs %s: run .ci/deps", program)
		}
	}
	for _, c := range []struct {
		name, a, b string
		relayed    bool
	}{
		{"both keep ports", coneNAT, coneNAT, false},
		{"one draws ports", coneNAT, symmetricNAT, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newNetwork(t, c.a, c.b)
			a, b := w.meet()
			t.Logf("a: %s", a.Pair)
			t.Logf("b: %s", b.Pair)
			if got := strings.Contains(a.Pair+b.Pair, "relay"); got != c.relayed {
				t.Errorf("relayed: %v, want %v", got, c.relayed)
			}
			if !c.relayed && !strings.Contains(a.Pair, "srflx 203.0.113.10:6084 (10.1.0.2:6084)") {
				t.Errorf("pair of a: %s", a.Pair)
			}
		})
	}
}

// network is five namespaces: the nodes a and b, their NATs, and the Internet with the public node.
type network struct {
	t     *testing.T
	names map[string]string
}

func newNetwork(t *testing.T, natA, natB string) *network {
	t.Helper()
	w := &network{t, make(map[string]string)}
	for _, n := range []string{"inet", "nata", "natb", "a", "b"} {
		w.names[n] = fmt.Sprintf("p2psip-ice-%d-%s", os.Getpid(), n)
		w.run("netns", "add", w.names[n])
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", w.names[n]).Run() })
		w.in(n, "link", "set", "lo", "up")
	}
	w.in("inet", "link", "add", "br0", "type", "bridge")
	w.in("inet", "address", "add", "203.0.113.1/24", "dev", "br0")
	w.in("inet", "link", "set", "br0", "up")
	w.nat("a", "nata", "1", natA)
	w.nat("b", "natb", "2", natB)
	return w
}

// nat puts node behind nat, whose networks have the number i.
func (w *network) nat(node, nat, i, rule string) {
	w.t.Helper()
	w.run("link", "add", "out", "netns", w.names[nat], "type", "veth", "peer", "name", nat, "netns", w.names["inet"])
	w.run("link", "add", "in", "netns", w.names[nat], "type", "veth", "peer", "name", "eth0", "netns", w.names[node])
	w.in("inet", "link", "set", nat, "master", "br0", "up")
	w.in(nat, "address", "add", "203.0.113."+i+"0/24", "dev", "out")
	w.in(nat, "address", "add", "10."+i+".0.1/24", "dev", "in")
	w.in(nat, "link", "set", "out", "up")
	w.in(nat, "link", "set", "in", "up")
	w.in(node, "address", "add", "10."+i+".0.2/24", "dev", "eth0")
	w.in(node, "link", "set", "eth0", "up")
	w.in(node, "route", "add", "default", "via", "10."+i+".0.1")
	w.output(exec.Command("ip", "netns", "exec", w.names[nat], "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"))
	nft := exec.Command("ip", "netns", "exec", w.names[nat], "nft", "-f", "-")
	// What comes unasked is dropped: else it would take the port that a hole needs.
	nft.Stdin = strings.NewReader(`table ip nat {
	chain post {
		type nat hook postrouting priority 100
		oifname "out" ` + rule + `
	}
	chain unasked {
		type filter hook input priority 0
		iifname "out" drop
	}
}
`)
	w.output(nft)
}

func (w *network) run(args ...string) {
	w.t.Helper()
	w.output(exec.Command("ip", args...))
}

func (w *network) in(name string, args ...string) {
	w.t.Helper()
	w.run(append([]string{"-n", w.names[name]}, args...)...)
}

func (w *network) output(c *exec.Cmd) {
	w.t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v: %s", c, err, out)
	}
}

// outcome is what a node says when it is done.
type outcome struct{ Pair string }

// meet runs the nodes and passes their parameters on, as the overlay would with an Attach and its answer.
func (w *network) meet() (a, b outcome) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), natTimeout)
	defer cancel()
	public := w.start(ctx, "public", "inet")
	public.get(new(string))
	x, y := w.start(ctx, "controlling", "a"), w.start(ctx, "controlled", "b")
	var p, q Parameters
	x.get(&p)
	y.get(&q)
	y.put(p)
	x.put(q)
	x.get(&a)
	y.get(&b)
	for _, n := range []*node{x, y, public} {
		n.end()
	}
	return a, b
}

// node is a process in a namespace. Both sides talk JSON.
type node struct {
	t      *testing.T
	c      *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
}

func (w *network) start(ctx context.Context, role, namespace string) *node {
	w.t.Helper()
	n := &node{t: w.t, c: exec.CommandContext(ctx, "ip", "netns", "exec", w.names[namespace], os.Args[0])}
	n.c.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	n.c.Stderr = &n.stderr
	in, err := n.c.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := n.c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	n.in, n.out = in, json.NewDecoder(bufio.NewReader(out))
	if err := n.c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = n.c.Process.Kill()
		_ = n.c.Wait()
	})
	return n
}

func (n *node) get(v any) {
	n.t.Helper()
	if err := n.out.Decode(v); err != nil {
		_ = n.c.Wait()
		n.t.Fatalf("%s: %v: %s", n.c, err, n.stderr.String())
	}
}

func (n *node) put(v any) {
	n.t.Helper()
	if err := json.NewEncoder(n.in).Encode(v); err != nil {
		n.t.Fatal(err)
	}
}

// end closes the node's standard input, at whose end it ends.
func (n *node) end() {
	n.t.Helper()
	_ = n.in.Close()
	if err := n.c.Wait(); err != nil {
		n.t.Errorf("%s: %v: %s", n.c, err, n.stderr.String())
	}
}

// playRole is the program of a node.
func playRole(role string) error {
	ctx, cancel := context.WithTimeout(context.Background(), natTimeout)
	defer cancel()
	if role == "public" {
		return servePublic()
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{Port: nodePort})
	if err != nil {
		return err
	}
	m := NewMux(socket)
	defer func() { _ = m.Close() }()
	at, now := netip.MustParseAddrPort(publicNode), time.Now()
	name, password := secret.Credential(role, now)
	s, err := Gather(ctx, Config{Mux: m, Controlling: role == "controlling", STUN: []netip.AddrPort{at}, TURN: []Server{{at, name, password}}})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Missed(); err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var remote Parameters
	if err := errors.Join(out.Encode(s.Parameters()), in.Decode(&remote)); err != nil {
		return err
	}
	c, pair, err := s.Connect(ctx, remote)
	if err != nil {
		return err
	}
	if err := converse(ctx, c, role == "controlling"); err != nil {
		return err
	}
	return errors.Join(out.Encode(outcome{pair.String()}), waitForEnd())
}

// converse sends records, again when they are lost, until the other side has returned them; or returns them.
func converse(ctx context.Context, c net.Conn, first bool) error {
	b := make([]byte, datagramSize)
	for i := 0; i < 5; {
		want := record(1, fmt.Sprint("datagram ", i))
		if first {
			if _, err := c.Write(want); err != nil {
				return err
			}
			stop := time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
			n, err := c.Read(b)
			stop.Stop()
			_ = c.SetReadDeadline(time.Time{})
			if err == nil && bytes.Equal(b[:n], want) {
				i++
			}
		} else {
			n, err := c.Read(b)
			if err != nil {
				return err
			}
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
			if bytes.Equal(b[:n], want) {
				i++
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func servePublic() error {
	at := netip.MustParseAddrPort(publicNode)
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s, err := ServeTURN(TURNConfig{Socket: socket, Relay: at.Addr(), MinPort: 40000, MaxPort: 40100, Realm: overlayName, Secrets: []Secret{secret}})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return errors.Join(json.NewEncoder(os.Stdout).Encode("ready"), waitForEnd())
}

func waitForEnd() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
