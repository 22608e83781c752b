package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startKamailio runs Kamailio as a proxy before gateway 0, with Path for the phones that register through it. It returns its address.
func startKamailio(t *testing.T, d *devRun) string {
	t.Helper()
	address, _ := runKamailio(t, "testdata/kamailio.cfg", "GATEWAY", fmt.Sprint(d.sip))
	return address
}

// runKamailio runs Kamailio with a configuration in which PORT, and each of the words, is replaced. It returns its address and what it writes.
func runKamailio(t *testing.T, file string, words ...string) (string, *buffer) {
	t.Helper()
	return runKamailioAt(t, freePort(t), file, words...)
}

func runKamailioAt(t *testing.T, port int, file string, words ...string) (string, *buffer) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	write(t, config, strings.NewReplacer(append(words, "PORT", fmt.Sprint(port))...).Replace(string(text)))
	_, out := kamailioProcess(t, config, dir)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, "kamailio to listen", func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return address, out
}

// kamailioProcess runs Kamailio with a configuration, until end is called or the test is over.
func kamailioProcess(t *testing.T, config, dir string) (end func(), out *buffer) {
	t.Helper()
	out = &buffer{}
	cmd := exec.Command("kamailio", "-f", config, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-w", dir)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	end = func() {
		_ = cmd.Process.Signal(os.Interrupt) // it ends its children
		select {
		case <-ended:
		case <-time.After(e2eWait):
			t.Error("kamailio does not end")
			_ = cmd.Process.Kill()
		}
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("kamailio:\n%.6000s", out)
		}
	})
	return end, out
}

// A phone that registers through Kamailio calls and is called, within its gateway and from another: Kamailio is before the gateway for what the phone
// sends, and behind it for what the phone gets.
func TestKamailioBeforeAndBehindAGateway(t *testing.T) {
	d := phonesDev(t)
	proxy := startKamailio(t, d)
	for i, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			at := func(n int, server string) *station {
				c := handsetConfig{user: fmt.Sprint(1001 + 10*i + n), transport: transport, server: server, expires: 300}
				return &station{handset: baresip.start(t, c), handsetConfig: c}
			}
			far := at(0, proxy)
			eventually(t, far.user+" to be registered", func() error { return registered(d, 0, far.user) })
			for k := range 2 {
				near := at(1+k, d.udp(k))
				eventually(t, near.user+" to be registered", func() error { return registered(d, k, near.user) })
				talk(t, far, near)
				end(t, near, far)
				talk(t, near, far)
				end(t, near, far)
				letRing(t, near, far)
				near.do(t, "cancel", "")
				near.sees(t, statusOf("487", "INVITE"))
			}
		})
	}
}
