package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What the end-to-end tests share: an overlay of `dev` in this process (so that the race detector sees it), the program as a file, and a way to
// wait for something to become true.

// e2eWait is how long anything may take on a machine that has other things to do.
const e2eWait = 30 * time.Second

// programs is a directory that lives as long as the tests: the programs that they build, and the state of the shared overlay.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "p2psip-gateway-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	err = errors.Join(endShared(), os.RemoveAll(programs))
	http.DefaultClient.CloseIdleConnections()
	if err := errors.Join(err, goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// devRun is a running `dev`.
type devRun struct {
	sip, overlay, admin int // ports of gateway 0
	out, err            *buffer
	code                chan int
	stop                context.CancelFunc
}

// shared is the overlay of the tests that need nothing special of it. Each of them has users of its own.
var shared struct {
	sync.Mutex
	run *devRun
}

// sharedUsers are the users 1001.. of the shared overlay.
const sharedUsers = 62

func sharedDev(t *testing.T) *devRun {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.run == nil {
		dir := filepath.Join(programs, "shared") // lives longer than t
		shared.run = launchDev(context.Background(), freePorts(t), dir, "--users", fmt.Sprint(sharedUsers))
	}
	shared.run.waitReady(t)
	return shared.run
}

func endShared() error {
	if shared.run == nil {
		return nil
	}
	return shared.run.end()
}

// startDev runs `dev` for one test and waits for its ready line.
func startDev(t *testing.T, args ...string) *devRun {
	t.Helper()
	d := launchDev(t.Context(), freePorts(t), t.TempDir(), args...)
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	d.waitReady(t)
	return d
}

// launchDev runs `dev` on ports from base on.
func launchDev(ctx context.Context, base int, dir string, args ...string) *devRun {
	d := &devRun{sip: base, overlay: base + 100, admin: base + 120, out: &buffer{}, err: &buffer{}, code: make(chan int, 1)}
	ctx, d.stop = context.WithCancel(ctx)
	all := append([]string{"dev", "--sip-port", fmt.Sprint(d.sip), "--overlay-port", fmt.Sprint(d.overlay), "--admin-port", fmt.Sprint(d.admin),
		"--data", dir}, args...)
	go func() { d.code <- dispatch(ctx, stdio{strings.NewReader(""), d.out, d.err}, all) }()
	return d
}

func (d *devRun) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "the ready line", func() error {
		if !strings.Contains(d.out.String(), "\nready") {
			return fmt.Errorf("output so far:\n%s%s", d.out, d.err)
		}
		return nil
	})
}

// end stops `dev`, which must then end well. A second call does nothing.
func (d *devRun) end() error {
	d.stop()
	select {
	case code, first := <-d.code:
		if first {
			close(d.code)
		}
		if code != exitOK {
			return fmt.Errorf("dev ended with %d:\n%s%s", code, d.out, d.err)
		}
		return nil
	case <-time.After(e2eWait):
		return fmt.Errorf("dev did not end:\n%s%s", d.out, d.err)
	}
}

func (d *devRun) udp(k int) string       { return fmt.Sprintf("127.0.0.1:%d", d.sip+10*k) }
func (d *devRun) tls(k int) string       { return fmt.Sprintf("127.0.0.1:%d", d.sip+10*k+1) }
func (d *devRun) wss(k int) string       { return fmt.Sprintf("127.0.0.1:%d", d.sip+10*k+2) }
func (d *devRun) adminAddr(k int) string { return fmt.Sprintf("127.0.0.1:%d", d.admin+k) }

// get reads an admin page of node k into v.
func (d *devRun) get(k int, path string, v any) error { return getJSON(d.adminAddr(k), path, v) }

func getJSON(address, path string, v any) error {
	res, err := http.Get("http://" + address + path)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("%s%s: %s: %s", address, path, res.Status, body)
	}
	return json.Unmarshal(body, v)
}

// freePorts finds 200 consecutive ports of which those that a test uses are free for UDP and TCP.
func freePorts(t *testing.T) int {
	t.Helper()
	for base := 20000 + os.Getpid()%40*200; base < 32000; base += 200 {
		// Whoever has the last port has them all, until the test is over: tests beside this one look for ports too.
		reserved, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+199))
		if err != nil {
			continue
		}
		if portsFree(base) {
			t.Cleanup(func() { _ = reserved.Close() })
			return base
		}
		_ = reserved.Close()
	}
	t.Fatal("no free ports")
	return 0
}

func portsFree(base int) bool {
	for off := range 140 {
		if !portFree(base + off) {
			return false
		}
	}
	return true
}

// nextPort is where freePort goes on looking.
var nextPort atomic.Int64

// freePort is a port that is free for UDP and TCP, and so is the one above it: phones take that for TLS without being asked. They are
// below those that the system gives to anybody, and none is given twice.
func freePort(t *testing.T) int {
	t.Helper()
	for range 5000 {
		port := 10000 + int(nextPort.Add(2)+int64(os.Getpid())*100)%9998
		if portFree(port) && portFree(port+1) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func portFree(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	_ = l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// eventually waits until f has no error.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	within(t, e2eWait, what, f)
}

func within(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond) // the poll of a condition in another process
	}
}
