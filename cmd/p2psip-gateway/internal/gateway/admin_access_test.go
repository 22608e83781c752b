package gateway

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

const testToken = "0123456789abcdef0123456789abcdef"

// Feature: SEC-12
func TestTheAdminServerLetsThroughWhoMayAsk(t *testing.T) {
	for name, c := range map[string]struct {
		token, given, host, method, path, origin string
		status                                   int
	}{
		"loopback":                     {"", "", "127.0.0.1:8060", "GET", "/api/v1/status", "", 200},
		"localhost":                    {"", "", "localhost:8060", "GET", "/api/v1/status", "", 200},
		"IPv6":                         {"", "", "[::1]:8060", "GET", "/api/v1/status", "", 200},
		"a name that leads here":       {"", "", "evil.example:8060", "GET", "/api/v1/status", "", 401},
		"a write":                      {"", "", "127.0.0.1:8060", "POST", "/api/v1/reload", "", 200},
		"a write by a page elsewhere":  {"", "", "127.0.0.1:8060", "POST", "/api/v1/reload", "http://evil.example", 403},
		"token":                        {testToken, "Bearer " + testToken, "gw.example", "GET", "/api/v1/status", "", 200},
		"no token":                     {testToken, "", "gw.example", "GET", "/api/v1/status", "", 401},
		"another":                      {testToken, "Bearer " + testToken + "0", "gw.example", "GET", "/api/v1/status", "", 401},
		"empty":                        {testToken, "Bearer ", "gw.example", "GET", "/api/v1/status", "", 401},
		"another scheme":               {testToken, "Basic " + testToken, "gw.example", "GET", "/api/v1/status", "", 401},
		"metrics without token":        {testToken, "", "gw.example", "GET", "/metrics", "", 401},
		"a write without token":        {testToken, "", "gw.example", "POST", "/api/v1/drain", "", 401},
		"a write of /livez":            {testToken, "", "gw.example", "POST", "/livez", "", 401},
		"livez without token":          {testToken, "", "gw.example", "GET", "/livez", "", 200},
		"readyz without token":         {testToken, "", "gw.example", "GET", "/readyz", "", 200},
		"token, but by another's page": {testToken, "Bearer " + testToken, "gw.example", "POST", "/api/v1/drain", "http://evil.example", 403},
	} {
		t.Run(name, func(t *testing.T) {
			var token []byte
			if c.token != "" {
				token = []byte(c.token)
			}
			a := &adminAccess{ready: func() bool { return true }, token: func() []byte { return token }, refused: zerolog.Nop()}
			a.next = sameOrigin(a, adminHandler(fakeNode{}, http.NotFoundHandler()))
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Host = c.host
			if c.given != "" {
				r.Header.Set("Authorization", c.given)
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != c.status || w.Code/100 == 4 && !strings.Contains(w.Body.String(), codeAdmin) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.status)
			}
		})
	}
}

// Without credentials, readiness is a status and nothing else.
//
// Feature: SEC-12
func TestReadinessOfStrangersHasNoDetails(t *testing.T) {
	a := &adminAccess{ready: func() bool { return false }, token: func() []byte { return []byte(testToken) }, refused: zerolog.Nop()}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 503 || w.Body.Len() > 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestATokenIsOneLongWord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for text, ok := range map[string]bool{testToken + "\n": true, "short\n": false, "": false, "two words of the length\n": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := AdminConfig{TokenFile: file}
		got, err := c.token()
		if (err == nil) != ok || ok && string(got) != testToken || err != nil && text != "" && strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	c := AdminConfig{TokenFile: file + ".none"}
	if _, err := c.token(); err == nil {
		t.Error("no file")
	}
}
