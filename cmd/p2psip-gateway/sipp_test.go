package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sipp is one SIPp process.
type sipp struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *buffer
	dir  string
	done chan error
}

// phone says who a SIPp process plays.
type phone struct {
	user      string
	transport string // "udp", "tcp" or "tls"
	port      int
	at        place
}

// place is where a process runs: in a network namespace, with an address there. The zero value is this one.
type place struct{ namespace, address string }

// ip is the phone's address.
func (p phone) ip() string { return cmp.Or(p.at.address, "127.0.0.1") }

// command runs a program at the place.
func (p place) command(program string, args ...string) *exec.Cmd {
	if p.namespace == "" {
		return exec.Command(program, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", p.namespace, program}, args...)...)
}

func newPhone(t *testing.T, user, transport string) phone {
	t.Helper()
	return phone{user: user, transport: transport, port: freePort(t)}
}

// startSIPp runs a scenario of testdata/sipp once against server.
func startSIPp(t *testing.T, p phone, scenario, server string, args ...string) *sipp {
	t.Helper()
	dir := t.TempDir()
	mode := map[string]string{"udp": "u1", "tcp": "t1", "tls": "t1"}[p.transport]
	if p.transport == "tls" {
		server = tlsRelay(t, server)
	}
	contact := fmt.Sprintf("%s:%d;transport=%s", p.ip(), p.port, p.transport)
	all := []string{server, "-sf", mustAbs(t, "testdata/sipp/"+scenario), "-t", mode, "-i", p.ip(), "-p", fmt.Sprint(p.port),
		"-m", "1", "-l", "1", "-nostdin", "-timeout", "60", "-timeout_error", "-recv_timeout", "30000",
		"-trace_err", "-error_file", filepath.Join(dir, "errors"), "-trace_msg", "-message_file", filepath.Join(dir, "messages"),
		"-au", p.user, "-ap", "secret-" + p.user}
	all = append(all, args...)
	// Of two values of a key the first is taken.
	all = append(all, "-key", "user", p.user, "-key", "domain", "p2psip.test", "-key", "contact", contact, "-key", "expires", "300",
		"-key", "via", strings.ToUpper(p.transport))
	s := &sipp{t: t, cmd: p.at.command("sipp", all...), out: &buffer{}, dir: dir, done: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.Env = append(os.Environ(), "TERM=dumb")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%s of %s\n%s%.2000s", scenario, p.user, s.trace(), s.out)
		}
	})
	return s
}

// scenario is the file that a SIPp process plays.
func scenario(c *exec.Cmd) string { return c.Args[slices.Index(c.Args, "-sf")+1] }

// wait waits for the end of the scenario, which must have passed.
func (s *sipp) wait() {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			s.t.Fatalf("sipp %s: %v", scenario(s.cmd), err)
		}
	case <-time.After(2 * e2eWait):
		s.t.Fatalf("sipp %s does not end", scenario(s.cmd))
	}
}

// trace is what the process has received and sent.
func (s *sipp) trace() string {
	var b strings.Builder
	for _, f := range []string{"errors", "messages"} {
		text, err := os.ReadFile(filepath.Join(s.dir, f))
		if err == nil {
			fmt.Fprintf(&b, "--- %s\n%.8000s\n", f, text)
		}
	}
	return b.String()
}

// saw reports whether the process has received or sent a message with that text.
func (s *sipp) saw(text string) bool {
	b, err := os.ReadFile(filepath.Join(s.dir, "messages"))
	return err == nil && bytes.Contains(b, []byte(text))
}

// find returns the first received or sent line that begins with prefix.
func (s *sipp) find(prefix string) string {
	b, err := os.ReadFile(filepath.Join(s.dir, "messages"))
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, prefix) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// kill ends the process, which is ours.
func (s *sipp) kill() {
	_ = s.cmd.Process.Kill()
	err := <-s.done
	s.done <- err
}

// listening waits until SIPp has bound its UDP port: it is then ready for calls.
func listening(t *testing.T, s *sipp, p phone) {
	t.Helper()
	eventually(t, "SIPp to listen", func() error {
		ip := netip.MustParseAddr(p.ip()).As4()
		table, line := "udp", fmt.Sprintf("%08X:%04X ", binary.LittleEndian.Uint32(ip[:]), p.port)
		if p.transport != "udp" {
			table, line = "tcp", line+"00000000:0000 0A "
		}
		b, err := p.at.command("cat", "/proc/net/"+table).Output()
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), line) {
			return fmt.Errorf("port %d is not bound\n%s", p.port, s.trace())
		}
		return nil
	})
}

// register registers a phone and waits for the 200.
func register(t *testing.T, p phone, server string, args ...string) {
	t.Helper()
	startSIPp(t, p, "register.xml", server, args...).wait()
}

// call lets from, at server, call a URI, which somebody must answer.
func call(t *testing.T, from phone, server, callee string) {
	t.Helper()
	startSIPp(t, from, "call.xml", server, "-key", "callee", callee).wait()
}

// tlsRelay does the TLS for SIPp, which Debian builds without: it takes TCP connections and carries their octets to server and back over TLS.
func tlsRelay(t *testing.T, server string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			plain, err := l.Accept()
			if err != nil {
				return
			}
			// The certificate of `dev` is signed by nobody.
			secure, err := tls.Dial("tcp", server, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				_ = plain.Close()
				continue
			}
			running.Go(func() { pipe(plain, secure) })
			running.Go(func() { pipe(secure, plain) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// pipe copies until either side ends, and then ends both.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
