package link

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// openssl is a running OpenSSL tool, an implementation of DTLS that is not ours.
type openssl struct {
	stdin io.Writer
	lines chan string // of its output
}

// runOpenSSL runs a tool with the certificate of d until the test ends.
func runOpenSSL(t *testing.T, w *world, d *DTLS, args ...string) *openssl {
	t.Helper()
	dir := t.TempDir()
	file := func(name, kind string, der ...[]byte) string {
		var b bytes.Buffer
		for _, x := range der {
			if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: x}); err != nil {
				t.Fatal(err)
			}
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	args = append(args, "-dtls1_2", "-CAfile", file("ca.pem", "CERTIFICATE", w.ca.Certificate().Raw))
	if d != nil {
		key, err := x509.MarshalPKCS8PrivateKey(d.certificate.Load().PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-cert", file("cert.pem", "CERTIFICATE", d.certificate.Load().Certificate...),
			"-key", file("key.pem", "PRIVATE KEY", key))
	}
	cmd := exec.Command("openssl", args...)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &openssl{stdin, make(chan string, 10_000)}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			o.lines <- s.Text()
		}
		close(o.lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
		for range o.lines {
		}
	})
	return o
}

// line waits for a line of output that has the prefix.
func (o *openssl) line(t *testing.T, prefix string) string {
	t.Helper()
	var all []string
	for end := time.After(time.Minute); ; {
		select {
		case l, ok := <-o.lines:
			if strings.HasPrefix(l, prefix) {
				return l
			}
			if all = append(all, l); ok {
				continue
			}
		case <-end:
		}
		t.Fatalf("openssl did not say %q:\n%s", prefix, strings.Join(all, "\n"))
	}
}

// talk sends a line each way.
func (o *openssl) talk(t *testing.T, a *Association) {
	t.Helper()
	if _, err := io.WriteString(o.stdin, "to the association\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, maxRecord)
	_ = a.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := a.Read(b); err != nil || string(b[:n]) != "to the association\n" {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	if _, err := a.Write([]byte("to openssl\n")); err != nil {
		t.Fatal(err)
	}
	o.line(t, "to openssl")
}

func TestOpenSSLClient(t *testing.T) {
	for _, c := range []struct {
		key            trust.KeyType
		ciphers, suite string
	}{
		{trust.P256, "DEFAULT", "AES-GCM"}, // its own order decides
		{trust.P256, "ECDHE+CHACHA20:ECDHE+AESGCM", "ChaCha20-Poly1305"},
		{trust.RSA2048, "ECDHE+CHACHA20", "ChaCha20-Poly1305"},
		{trust.RSA2048, "ECDHE-RSA-AES128-GCM-SHA256", "AES-GCM"},
	} {
		t.Run(string(c.key)+" "+c.ciphers, func(t *testing.T) {
			w := newWorldWith(t, trust.RSA2048)
			server, err := w.dtlsWith(c.key)
			if err != nil {
				t.Fatal(err)
			}
			client, err := w.dtlsWith(c.key)
			if err != nil {
				t.Fatal(err)
			}
			p := servePackets(t, server)
			o := runOpenSSL(t, w, client, "s_client", "-connect", p.address, "-cipher", c.ciphers, "-verify_return_error", "-quiet")
			s := receive(t, p.accepted, "association")
			defer func() { _ = s.Close() }()
			if s.Suite() != c.suite || s.peer.Node != client.node() {
				t.Errorf("suite %s with %s", s.Suite(), s.peer.Node)
			}
			o.talk(t, s.Association)
		})
	}
}

func TestOpenSSLClientIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		client  *DTLS
		ciphers string
	}{
		"no certificate": {nil, "DEFAULT"},
		"wrong CA":       {newWorld(t).dtls(), "DEFAULT"},
		"CBC and CCM":    {w.dtls(), "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-CCM"},
	} {
		t.Run(name, func(t *testing.T) {
			p := servePackets(t, w.dtls())
			o := runOpenSSL(t, w, c.client, "s_client", "-connect", p.address, "-cipher", c.ciphers)
			if r := receive(t, p.refusals, "refusal"); r.why != HandshakeFailed {
				t.Errorf("%+v", r)
			}
			for l := range o.lines {
				if strings.Contains(l, "alert") {
					return
				}
			}
			t.Error("openssl got no alert")
		})
	}
}

// The doorman's cookie and its request to start over, seen by another client.
func TestOpenSSLClientUnderLoad(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	p.unproven.Add(maxUnproven)
	first := runOpenSSL(t, w, w.dtls(), "s_client", "-connect", p.address)
	for l := range first.lines {
		if strings.Contains(l, "alert internal error") {
			break
		}
	}
	client := w.dtls()
	o := runOpenSSL(t, w, client, "s_client", "-connect", p.address, "-quiet")
	s := receive(t, p.accepted, "association")
	defer func() { _ = s.Close() }()
	o.talk(t, s.Association)
	p.unproven.Add(-maxUnproven)
}

func TestOpenSSLServer(t *testing.T) {
	for _, c := range []struct {
		key            trust.KeyType
		ciphers, suite string
	}{
		{trust.P256, "DEFAULT", "ChaCha20-Poly1305"}, // our order decides
		{trust.P256, "ECDHE-ECDSA-AES256-GCM-SHA384", "AES-GCM"},
		{trust.RSA2048, "DEFAULT", "ChaCha20-Poly1305"},
	} {
		t.Run(string(c.key)+" "+c.ciphers, func(t *testing.T) {
			w := newWorldWith(t, trust.RSA2048)
			server, err := w.dtlsWith(c.key)
			if err != nil {
				t.Fatal(err)
			}
			client, err := w.dtlsWith(c.key)
			if err != nil {
				t.Fatal(err)
			}
			o := runOpenSSL(t, w, server, "s_server", "-accept", "127.0.0.1:0", "-listen", "-cipher", c.ciphers,
				"-Verify", "1", "-verify_return_error")
			address := strings.TrimPrefix(o.line(t, "ACCEPT 127"), "ACCEPT ")
			a, peer, err := client.Dial(t.Context(), address, wire.NodeID{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = a.Close() }()
			if a.Suite() != c.suite || peer.Node != server.node() {
				t.Errorf("suite %s with %s", a.Suite(), peer.Node)
			}
			o.line(t, "CIPHER is")
			o.talk(t, a)
		})
	}
}

func TestOpenSSLServerThatDoesNotAsk(t *testing.T) {
	w := newWorld(t)
	o := runOpenSSL(t, w, w.dtls(), "s_server", "-accept", "127.0.0.1:0")
	address := strings.TrimPrefix(o.line(t, "ACCEPT 127"), "ACCEPT ")
	if _, _, err := w.dtls().Dial(t.Context(), address, wire.NodeID{}); !errors.Is(err, ErrNotAsked) {
		t.Errorf("got %v, want ErrNotAsked", err)
	}
}
