package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// adminTrust is what a command shows to an admin server, and what it believes.
type adminTrust struct{ token, ca, cert, key string }

func newAdminTrust(fs *flag.FlagSet) *adminTrust {
	t := &adminTrust{}
	fs.StringVar(&t.token, "token-file", "", "`file` with the token that the admin server wants")
	fs.StringVar(&t.ca, "ca", "", "PEM `file` with the roots of its certificate; without it those of the system")
	fs.StringVar(&t.cert, "cert", "", "PEM `file` with a client certificate to show")
	fs.StringVar(&t.key, "key", "", "PEM `file` with its key")
	return t
}

// client is what sends req, with the token in it.
func (t *adminTrust) client(req *http.Request) (*http.Client, error) {
	if t.token != "" {
		b, err := os.ReadFile(t.token)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		if req.URL.Scheme != "https" && !loopbackHost(req.URL.Hostname()) {
			return nil, fmt.Errorf("--token-file: the token would be readable on the way to %s\n      try: --admin https://%s", req.URL.Host, req.URL.Host)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(b)))
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.ca != "" {
		b, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--ca: %s holds no PEM certificate", t.ca)
		}
	}
	if t.cert != "" || t.key != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf}}, nil
}
