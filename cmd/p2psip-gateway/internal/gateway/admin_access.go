package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/rs/zerolog"
)

// AdminConfig is the admin HTTP server.
type AdminConfig struct {
	Listen string `yaml:"listen"`
	// TokenFile has what clients must show as "Authorization: Bearer": one line. Empty: there is none.
	TokenFile string         `yaml:"token_file"`
	TLS       AdminTLSConfig `yaml:"tls"`
}

// AdminTLSConfig names PEM files.
type AdminTLSConfig struct {
	Cert     string `yaml:"cert"` // empty: no TLS
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client_ca"` // roots of clients' certificates; empty: none are asked for
}

// tokenMin is the least length of a token: anything shorter can be guessed.
const tokenMin = 16

// codeAdmin is for requests to the admin server from those who may not ask.
const codeAdmin = "E0208"

func (c *AdminConfig) check(bad func(key, format string, args ...any)) {
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		bad("admin.listen", "%q: want address and port, such as 127.0.0.1:8060", c.Listen)
	case isLoopback(host):
	case c.TLS.Cert == "" || c.TokenFile == "" && c.TLS.ClientCA == "":
		bad("admin.listen", "%q is no loopback address: that wants admin.tls.cert and key, and admin.token_file or admin.tls.client_ca", c.Listen)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("admin.tls", "cert and key go together")
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		bad("admin.tls.client_ca", "there is no admin.tls.cert, and so no TLS")
	}
}

// token reads the token; none when there is no file.
func (c *AdminConfig) token() ([]byte, error) {
	if c.TokenFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("E0106 admin.token_file: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) < tokenMin || bytes.ContainsAny(b, " \t\r\n") {
		return nil, fmt.Errorf("E0106 admin.token_file: %s: want one word of %d characters or more\n      try: openssl rand -hex 32 > %s", c.TokenFile, tokenMin, c.TokenFile)
	}
	return b, nil
}

// openAdmin binds the admin server.
func (g *Gateway) openAdmin() (err error) {
	c := g.o.Config.Admin
	if g.admin, err = listen("admin.listen", c.Listen); err != nil || c.TLS.Cert == "" {
		return err
	}
	files := &CertificateFiles{Cert: c.TLS.Cert, Key: c.TLS.Key, Log: g.o.Log}
	if _, err := files.Get(nil); err != nil {
		return fmt.Errorf("E0106 admin.tls: %w", err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.Get, NextProtos: []string{"http/1.1"}}
	if conf.ClientCAs, err = sipRoots("admin.tls.client_ca", c.TLS.ClientCA); err != nil {
		return err
	}
	if conf.ClientCAs != nil {
		conf.ClientAuth = tls.VerifyClientCertIfGiven // whoever has a token instead may have none
	}
	g.admin = tls.NewListener(g.admin, conf)
	return nil
}

// adminAccess lets those through who may ask.
type adminAccess struct {
	next         http.Handler
	ready        func() bool
	token        func() []byte // nil: there is none
	certificates bool          // a verified certificate of the client is as good as a token
	refused      zerolog.Logger
}

// ServeHTTP implements http.Handler. Whether the process lives and the node is ready, anybody may ask: those are questions of machines.
func (a *adminAccess) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.permits(r) || r.Method == http.MethodGet && r.URL.Path == "/livez":
		a.next.ServeHTTP(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/readyz":
		if !a.ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	default:
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 §3
		a.refuse(w, r, http.StatusUnauthorized, "the admin server wants a token or a client certificate")
	}
}

func (a *adminAccess) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	a.refused.Warn().Str("component", "admin").Str("code", codeAdmin).Int("status", status).Str("source", r.RemoteAddr).Str("path", r.URL.Path).Msg("request refused")
	writeJSON(w, status, ErrorReport{codeAdmin + " " + why})
}

func (a *adminAccess) permits(r *http.Request) bool {
	token := a.token()
	if token == nil && !a.certificates {
		return ownHost(r.Host)
	}
	if a.certificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Hashes are of one length, so that the time tells nothing of that of the token.
	x, y := sha256.Sum256([]byte(given)), sha256.Sum256(token)
	return ok && token != nil && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// ownHost reports whether a Host is an address or localhost. A page on the web that has its name lead to 127.0.0.1 has another one.
func ownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// adminServer is the admin server with its gates: writes from pages of others are refused, too.
func (g *Gateway) adminServer() http.Handler {
	a := &adminAccess{
		ready:        func() bool { return g.status().Ready },
		token:        func() []byte { return g.inForce().token },
		certificates: g.o.Config.Admin.TLS.ClientCA != "", refused: g.refusals,
	}
	a.next = sameOrigin(a, adminHandler(g, g.metrics.Handler()))
	return a
}

// sameOrigin refuses what a page of another host has a browser send to change something.
func sameOrigin(a *adminAccess, h http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, http.StatusForbidden, "a page of another host may not do that")
	}))
	return p.Handler(h)
}
