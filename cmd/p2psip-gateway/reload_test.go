package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notified listens as a service manager does. heard waits for a line.
func notified(t *testing.T) (env string, heard func(line string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return "NOTIFY_SOCKET=" + path, func(line string) {
		t.Helper()
		b := make([]byte, 4096)
		if err := c.SetReadDeadline(time.Now().Add(e2eWait)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			for l := range strings.SplitSeq(string(b[:n]), "\n") {
				if l == line {
					return
				}
			}
		}
	}
}

// A node reads its configuration again on SIGHUP and when `reload` asks it to, says what has changed, and stays as it is when there is a mistake.
//
// Feature: CFG-05
func TestProcessesReload(t *testing.T) {
	r := newRing(t, program(t, ""), 1, []string{"2001"})
	m := r.members[0]
	r.start(t, m)
	good, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, m.file, string(good)+"log: {level: debug}\ndrain_timeout: 5s\n")
	if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	logged := func(words string) {
		t.Helper()
		eventually(t, words, func() error {
			if !strings.Contains(m.stderr.String(), words) {
				return errors.New(m.stderr.String())
			}
			return nil
		})
	}
	logged(`the configuration was read again changed=["drain_timeout","log.level"]`)
	logged("the configuration document is not newer")

	write(t, m.file, string(good)+"log: {level: debug}\nregistrer: {}\n")
	code, out, errs := runCommand(t, "reload", "--admin", m.admin)
	if code != exitConfig || !strings.Contains(errs, `:17:1 E0102 unknown key "registrer"`) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	logged("E0207")

	write(t, filepath.Join(r.dir, "users.txt"), "2001 secret-2001\n2002 secret-2002\n")
	write(t, m.file, string(good)+"log: {level: error, format: json}\n")
	code, out, errs = runCommand(t, "reload", "--admin", m.admin)
	if words := strings.Join(strings.Fields(out), " "); code != exitOK || !strings.Contains(words, "changed log.level debug -> error") ||
		!strings.Contains(words, "needs a restart log.format text -> json") || !strings.Contains(words, "users 1 added, 0 removed, 0 changed") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if err := newSoftPhone(t, "2001", m.sip).register(600); err != nil {
		t.Error(err)
	}
}

// SIGTERM drains: the node is up, but not ready, and takes nothing new. A second one ends it at once.
//
// Feature: CFG-06
func TestProcessesDrain(t *testing.T) {
	env, heard := notified(t)
	r := newRing(t, program(t, ""), 1, []string{"2001"}, env)
	m := r.members[0]
	r.start(t, m)
	heard("READY=1")
	heard("STATUS=serving")
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	p := newSoftPhone(t, "2001", m.sip)
	to := "sip:x@" + silent.LocalAddr().String()
	if _, err := p.conn.Write([]byte(p.request("INVITE", to, to).String())); err != nil {
		t.Fatal(err)
	}
	if err := silent.SetReadDeadline(time.Now().Add(e2eWait)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := silent.ReadFrom(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	heard("STOPPING=1")
	for path, want := range map[string]int{"/readyz": 503, "/livez": 200} {
		res, err := http.Get("http://" + m.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, err := p.exchange(p.request("OPTIONS", "sip:p2psip.test", "sip:p2psip.test")); err != nil || res.status() != 503 || res.get("Retry-After") == "" {
		t.Errorf("%v, %v", res, err)
	}
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := m.code(t, 5*time.Second); code != exitForced {
		t.Errorf("exit %d", code)
	}
	r.start(t, m)
	if code, out, errs := runCommand(t, "drain", "--admin", m.admin); code != exitOK || out != fmt.Sprintln("draining: 0 transactions under way") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code := m.code(t, e2eWait); code != exitOK {
		t.Errorf("exit %d", code)
	}
}
