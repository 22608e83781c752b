package gateway

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/p2psip/p2psip-gateway/location"
)

// natSites makes, in a network of its own, a public side with the gateways' address, and two sites with a phone behind a NAT each. A NAT
// draws a new port for each destination (RFC 4787 §4.1: address and port-dependent mapping), lets in answers only, and forgets a UDP
// mapping after $FORGETS seconds.
const natSites = `
ip link set lo up
ip link add wan type bridge
ip address add 203.0.113.1/24 dev wan
ip link set wan up
for i in 1 2; do
	for n in nat phone; do
		ip netns add $P-$n$i
		ip -n $P-$n$i link set lo up
	done
	ip link add out netns $P-nat$i type veth peer name site$i
	ip link set site$i master wan up
	ip -n $P-nat$i address add 203.0.113.1$i/24 dev out
	ip -n $P-nat$i link set out up
	ip link add lan netns $P-nat$i type veth peer name eth0 netns $P-phone$i
	ip -n $P-nat$i address add 10.$i.0.1/24 dev lan
	ip -n $P-nat$i link set lan up
	ip -n $P-phone$i address add 10.$i.0.2/24 dev eth0
	ip -n $P-phone$i link set eth0 up
	ip -n $P-phone$i route add default via 10.$i.0.1
	ip netns exec $P-nat$i sh -e -c '
		echo 1 >/proc/sys/net/ipv4/ip_forward
		nft "table ip nat {
			chain post { type nat hook postrouting priority 100; oifname out masquerade random,fully-random; }
			chain unasked { type filter hook input priority 0; iifname out drop; }
			chain closed { type filter hook forward priority 0; iifname out ct state new drop; }
		}"
		echo $FORGETS >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
		echo $FORGETS >/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream'
done
`

// In the world a NAT forgets after 30 s to minutes, and phones are idle for hours: make soak-nat takes 60 s and ten minutes.
var (
	natForgets = flag.Duration("nat-forgets", 2*time.Second, "after what time NATs forget a UDP mapping")
	natIdle    = flag.Duration("nat-idle", 5*time.Second, "how long phones behind NATs are silent before they are called")
)

// natFlags has a test that runs itself do so with the same flags. A test may not last longer than ten minutes unless it is told so.
func natFlags() []string {
	return []string{"-nat-forgets=" + natForgets.String(), "-nat-idle=" + natIdle.String(), "-test.timeout=" + (10*time.Minute + 4**natIdle).String()}
}

const networkVariable = "P2PSIP_NETWORK_TEST"

// inOwnNetwork reports whether the test runs in a network namespace of its own. When it does not, it has been run in one by the time
// that inOwnNetwork returns.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(networkVariable) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: it must run as root")
	}
	cmd := exec.Command(os.Args[0], append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1"}, natFlags()...)...)
	cmd.Env = append(os.Environ(), networkVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// shell runs commands, with environment variables.
func shell(t *testing.T, script string, env ...string) {
	t.Helper()
	sh := exec.Command("sh", "-e")
	sh.Stdin, sh.Env = strings.NewReader(script), append(os.Environ(), env...)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s(the test needs ip and nft: run .ci/deps)", err, out)
	}
}

// inside has f run in the network namespace of a name.
func inside(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and nobody else gets it
		ns, err := os.Open("/run/netns/" + name)
		if err == nil {
			defer func() { _ = ns.Close() }()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
				f()
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Phones behind two NATs register at two gateways and call each other, in both directions, after having been silent for longer than
// their NATs remember anything. Unless flags say otherwise the time-outs are shortened: NATs forget in 2 s, keep-alives go out every second, and
// the silence lasts 5 s.
//
// Feature: NAT-01 NAT-03 NAT-04
func TestPhonesBehindNATsAreReachedAfterIdleTime(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	prefix := fmt.Sprintf("p2psip-nat-%d", os.Getpid())
	t.Cleanup(func() {
		for _, n := range []string{"nat1", "nat2", "phone1", "phone2"} {
			_ = exec.Command("ip", "netns", "del", prefix+"-"+n).Run()
		}
	})
	shell(t, natSites, "P="+prefix, fmt.Sprintf("FORGETS=%d", int(natForgets.Seconds())))
	for _, method := range []string{"options", "crlf"} {
		t.Run(method, func(t *testing.T) { afterIdleTime(t, prefix, method) })
	}
}

func afterIdleTime(t *testing.T, prefix, method string) {
	keepalive := min(*natForgets/2, DefaultConfig().NAT.Keepalive.UDP)
	gs := ringWith(t, 2, 4, func(_ int, c *Config) {
		c.SIP.Listen = List{"udp://203.0.113.1:0", "tcp://203.0.113.1:0"}
		c.NAT.Keepalive.UDP, c.NAT.Keepalive.Stream, c.NAT.Keepalive.Method = keepalive, keepalive, method
	})
	var phones []*phone
	for i, g := range gs {
		for k, l := range g.flows.Listeners() {
			inside(t, fmt.Sprintf("%s-phone%d", prefix, i+1), func() {
				phones = append(phones, newPhoneOn(t, userName(2*i+k), l.Transport, l.Local))
			})
		}
	}
	for i, p := range phones {
		if res := p.register(3600); res.StatusCode != 200 {
			t.Fatalf("REGISTER: %d", res.StatusCode)
		}
		eventually(t, "the record of "+p.user, func() error { return found(gs[0], p.user, gs[i/2]) })
	}
	// What comes meanwhile comes from the gateway: the phones say nothing.
	for end := time.Now().Add(*natIdle); time.Now().Before(end); {
		for _, p := range []*phone{phones[0], phones[2]} {
			keptAlive(t, p, method, keepalive)
		}
	}
	for i, caller := range phones {
		for k, callee := range phones {
			if i != k && i/2 != k/2 {
				callee.call(caller) // rings after idle time first
				caller.call(callee)
			}
		}
	}
}

// keptAlive waits until a keep-alive has come to a phone over UDP.
func keptAlive(t *testing.T, p *phone, method string, interval time.Duration) {
	t.Helper()
	d := p.conn.(*datagrams)
	if err := d.SetReadDeadline(time.Now().Add(interval + phoneWait)); err != nil {
		t.Fatal(err)
	}
	n, err := d.Read(d.buf)
	if got := string(d.buf[:n]); err != nil || method == "crlf" && got != "\r\n\r\n" || method == "options" && !strings.HasPrefix(got, "OPTIONS ") {
		t.Fatalf("%q instead of a keep-alive, %v", got, err)
	}
}

// Feature: NAT-02
func TestHowANATIsFound(t *testing.T) {
	lan := []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}
	hop := func(transport, at string) location.Hop {
		return location.Hop{Transport: transport, Remote: netip.MustParseAddrPort(at)}
	}
	for name, c := range map[string]struct {
		b    location.Binding
		want string
	}{
		"its own address":                {location.Binding{Contact: "sip:a@192.0.2.1:5060", Hop: hop("UDP", "192.0.2.1:5060")}, natNone},
		"another port, as some send":     {location.Binding{Contact: "sip:a@192.0.2.1:5060", Hop: hop("UDP", "192.0.2.1:50321")}, natNone},
		"its own IPv6 address":           {location.Binding{Contact: "sip:a@[2001:db8::1]:5060", Hop: hop("UDP", "[2001:db8::1]:5060")}, natNone},
		"a private address":              {location.Binding{Contact: "sip:a@10.0.0.1:5060", Hop: hop("UDP", "192.0.2.1:5060")}, natAddress},
		"another public address":         {location.Binding{Contact: "sip:a@198.51.100.1", Hop: hop("TCP", "192.0.2.1:5060")}, natAddress},
		"a name":                         {location.Binding{Contact: "sip:a@pc.example.org", Hop: hop("TLS", "192.0.2.1:5060")}, natName},
		"a page":                         {location.Binding{Contact: "sip:a@x.invalid;transport=ws", Hop: hop("WSS", "192.0.2.1:5060")}, natWebSocket},
		"an address, but in our LAN":     {location.Binding{Contact: "sip:a@10.0.0.1", Hop: hop("UDP", "192.168.1.1:5060")}, natNone},
		"an address behind an own proxy": {location.Binding{Contact: "sip:a@10.0.0.1", Path: []string{"<sip:p;lr>"}, Hop: hop("UDP", "192.0.2.1:5060")}, natNone},
	} {
		if have := natOf(c.b, lan); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}
