package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// publicSite is a network with a gateway's address on the Internet, which the phones here share, and three hosts of strangers.
const publicSite = `
ip link set lo up
ip link add wan type bridge
ip address add 203.0.113.1/24 dev wan
ip link set wan up
for host in 66 67 68; do
	ip netns add $P-$host
	ip link add out netns $P-$host type veth peer name host$host
	ip link set host$host master wan up
	ip -n $P-$host address add 203.0.113.$host/24 dev out
	ip -n $P-$host link set lo up
	ip -n $P-$host link set out up
done
`

const (
	publicAddress = "203.0.113.1"
	scannerDir    = "/usr/share/sipvicious"
	scannerName   = "friendly-scanner" // what the tools call themselves
	guesses       = 60                 // wrong passwords before the right one: more than an address has, 40 over UDP
)

// scan is a run of one of the programs of sipvicious.
type scan struct {
	home string // where the package is
	from string // the host of the stranger
	port int
	args []string // program first
}

// run returns what the program prints. It says "found nothing" in the end, or what it found.
func (s scan) run(t *testing.T, prefix string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append([]string{"netns", "exec", prefix + s.from, "python3", "-m", "sipvicious." + s.args[0], "-v", "-x", "203.0.113." + s.from,
		"-P", fmt.Sprint(s.port)}, s.args[1:]...)
	cmd := exec.CommandContext(ctx, "ip", append(args, publicAddress)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+s.home, "PYTHONDONTWRITEBYTECODE=1", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v (the test needs sipvicious: run .ci/deps)", s.args, err)
	}
	return string(out)
}

// disguised is a copy of sipvicious that does not say what it is.
func disguised(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(scannerDir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sipvicious", "libs", "svhelper.py")
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(scannerName)) {
		t.Fatalf("%s does not say %s: %v", path, scannerName, err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(scannerName), []byte("Phone 1.0")), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sipvicious, as it comes and without the name that gives it away, looks for devices, users and passwords on a public listener where a phone is
// registered. It finds nothing; and what a stranger is told is the same for a phone that is off and for a user who does not exist.
//
// Feature: SEC-02 SEC-03 SEC-09
func TestSipviciousFindsNothingOnAPublicListener(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	prefix := fmt.Sprintf("p2psip-%d-", os.Getpid())
	t.Cleanup(func() {
		for _, host := range []string{"66", "67", "68"} {
			_ = exec.Command("ip", "netns", "del", prefix+host).Run()
		}
	})
	shell(t, publicSite, "P="+strings.TrimSuffix(prefix, "-"))
	g := ringOf(t, 1, 4, func(_ int, o *Options) {
		o.Config.SIP.Listen, o.OpenCalls = List{"udp://" + publicAddress + ":5060"}, false
		o.Config.SIP.QueueDelay = 0 // a guess that is answered 503 does not count
	})[0]
	for _, user := range []string{"1001", "1002"} {
		if res := newPhone(t, user, g).register(300); res.StatusCode != 200 {
			t.Fatalf("REGISTER: %d", res.StatusCode)
		}
	}
	strangersLearnNothing(t, prefix+"68")
	words := filepath.Join(t.TempDir(), "words")
	var list strings.Builder
	for i := range guesses {
		fmt.Fprintf(&list, "wrong%d\n", i)
	}
	if err := os.WriteFile(words, []byte(list.String()+"secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var scans []scan
	add := func(home, from string, args ...string) {
		scans = append(scans, scan{home: home, from: from, port: 5100 + 10*len(scans), args: args})
	}
	quiet := disguised(t)
	for _, home := range []string{scannerDir, quiet} {
		for _, method := range []string{"OPTIONS", "REGISTER", "INVITE"} {
			add(home, "66", "svmap", "--fromname", "100", "-m", method)
			add(home, "66", "svwar", "--force", "-m", method, "-e", "1000-1006")
		}
	}
	add(quiet, "66", "svwar", "--force", "-m", "REGISTER", "-e", "1000-1006", "--domain", testDomain)
	add(scannerDir, "66", "svcrack", "--maximumtime", "5", "-u", "1001", "-d", words)
	// It gives up when nothing was heard for so long: on a machine that has much to do before it is banned.
	add(quiet, "67", "svcrack", "--maximumtime", "12", "-u", "1001", "-d", words)
	add(quiet, "68", "svcrack", "--maximumtime", "12", "-u", "1001", "-d", words, "--domain", testDomain)
	var all sync.WaitGroup
	for _, s := range scans {
		all.Go(func() {
			if out := s.run(t, prefix); !strings.Contains(out, "found nothing") {
				t.Errorf("%q finds something:\n%s", s.args, out)
			}
		})
	}
	all.Wait()
	if n := g.guard.bans.Load(); n != 2 {
		t.Errorf("%d addresses are banned, want those of the two disguised svcrack", n)
	}
	for code, n := range g.guard.Dropped() {
		if n == 0 && code != "sec_rate" {
			t.Errorf("nothing was dropped as %s", code)
		}
	}
}

// strangersLearnNothing asks for users that are registered, off and not there, and compares what it is told.
func strangersLearnNothing(t *testing.T, netns string) {
	t.Helper()
	var p *phone
	inside(t, netns, func() { p = newPhoneOn(t, "stranger", "UDP", netip.MustParseAddrPort(publicAddress+":5060")) })
	ask := func(user, method, from, event string) string {
		p.cseq++
		aor := "sip:" + user + "@" + testDomain
		uri := aor
		if method == "REGISTER" {
			uri, from = "sip:"+testDomain, aor
		}
		p.send(method+" "+uri+" SIP/2.0", p.via(), "From: <"+from+">;tag=s", "To: <"+aor+">", fmt.Sprintf("Call-ID: s%d", p.cseq),
			fmt.Sprintf("CSeq: %d %s", p.cseq, method), "Event: "+event, "Contact: "+p.contact(), "Max-Forwards: 70", "Content-Length: 0")
		res := p.receive(func(m *message.Message) bool { return final(m) && m.Get(message.CallID) == fmt.Sprintf("s%d", p.cseq) })
		out := fmt.Sprintf("%d %s %q", res.StatusCode, res.Reason, res.Get(message.Warning))
		for _, f := range res.Fields {
			out += " " + f.Name.String()
		}
		return out
	}
	type question struct{ method, from, event string }
	const foreign, ours = "sip:x@elsewhere.example", "sip:1004@" + testDomain
	for q, users := range map[question][]string{
		{"REGISTER", "", "x"}:            {"1001", "1003", "nobody"},
		{"SUBSCRIBE", foreign, "reg"}:    {"1001", "1003", "nobody"},
		{"SUBSCRIBE", ours, "reg"}:       {"1001", "1003", "nobody"},
		{"INVITE", ours, "x"}:            {"1001", "1003", "nobody"},
		{"MESSAGE", ours, "x"}:           {"1001", "1003", "nobody"},
		{"INVITE", foreign, "x"}:         {"1003", "nobody"}, // a phone that is on may ring
		{"MESSAGE", foreign, "x"}:        {"1003", "nobody"},
		{"SUBSCRIBE", foreign, "dialog"}: {"1003", "nobody"},
	} {
		first := ask(users[0], q.method, q.from, q.event)
		for _, user := range users[1:] {
			if got := ask(user, q.method, q.from, q.event); got != first {
				t.Errorf("%v of %s: %s\n%s: %s", q, users[0], first, user, got)
			}
		}
	}
}
