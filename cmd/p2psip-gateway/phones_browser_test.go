package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// browser is Chromium with one page, testdata/jssip/page.html, in which phones are made with JsSIP as npm has it. The page asks this server what to do and tells
// it what the phones send and receive.
type browser struct {
	server *httptest.Server
	next   chan pageCommand
	count  atomic.Int64
	mu     sync.Mutex
	traces map[string]*buffer
}

// pageCommand is a key of one of the page's phones.
type pageCommand struct {
	Phone    string `json:"phone"`
	Action   string `json:"action"`
	Argument string `json:"argument"`
}

// startBrowser starts Chromium on the page. It has a microphone of its own making, and trusts the certificates of `dev`.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{next: make(chan pageCommand, 64), traces: map[string]*buffer{}}
	modules := commonJS(t, "testdata/jssip/node_modules", "jssip", "debug", "ms", "events", "sdp-transform")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/jssip/page.html") })
	mux.HandleFunc("GET /modules.js", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(modules) })
	mux.HandleFunc("GET /next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case c := <-b.next:
			_ = json.NewEncoder(w).Encode(c)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /said/{phone}", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		_, _ = b.said(r.PathValue("phone")).Write(append(text, "\n\n"...))
	})
	b.server = httptest.NewServer(mux)
	out := &buffer{}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--ignore-certificate-errors", "--use-fake-device-for-media-stream",
		"--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required", b.server.URL+"/")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.server.CloseClientConnections()
		b.server.Close()
		if t.Failed() {
			t.Logf("chromium:\n%.3000s", out)
		}
	})
	return b
}

// said is the trace of a phone.
func (b *browser) said(phone string) *buffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.traces[phone] == nil {
		b.traces[phone] = &buffer{}
	}
	return b.traces[phone]
}

// commonJS makes one script of the modules of packages, each a call of define, and an entry of mains for each package.
func commonJS(t *testing.T, root string, packages ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, name := range packages {
		dir := filepath.Join(root, name)
		text, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			t.Fatalf("%v: .ci/deps puts it there", err)
		}
		var about struct{ Main, Browser any }
		if err := json.Unmarshal(text, &about); err != nil {
			t.Fatal(err)
		}
		main, ok := about.Browser.(string)
		if !ok {
			main, _ = about.Main.(string)
		}
		fmt.Fprintf(&out, "mains[%q] = %q;\n", name, filepath.ToSlash(filepath.Join(name, main)))
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".js") && d.Name() != "package.json" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if strings.HasSuffix(path, ".json") {
				text = append([]byte("module.exports = "), text...)
			}
			if bytes.HasPrefix(text, []byte("#!")) {
				return err // a program
			}
			fmt.Fprintf(&out, "define(%q, function(require, module, exports) {\n%s\n});\n", filepath.ToSlash(rel), text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// pagePhone is a phone in the page.
type pagePhone struct {
	b  *browser
	id string
}

// newJsSIP is the program of the page's phones.
func newJsSIP(b *browser) phoneProgram { return phoneProgram{name: "JsSIP 3.13.8", start: b.launch} }

// launch makes a phone in the page.
func (b *browser) launch(t *testing.T, c handsetConfig) handset {
	t.Helper()
	p := &pagePhone{b, fmt.Sprint(b.count.Add(1))}
	o := map[string]any{"url": "wss://" + c.server, "uri": aorURI(c.user), "password": c.secret(), "expires": c.expires, "single": c.single, "rings": 60}
	if c.single {
		o["rings"] = singleRings
	}
	if c.watches {
		o["watches"] = aorURI(c.peer)
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p.do(t, "start", string(text))
	return p
}

func (p *pagePhone) do(_ *testing.T, action, argument string) {
	p.b.next <- pageCommand{p.id, action, argument}
}
func (p *pagePhone) trace() string { return p.b.said(p.id).String() }
func (p *pagePhone) off()          { p.b.next <- pageCommand{p.id, "off", ""} }
