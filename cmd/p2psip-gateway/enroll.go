package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/overlay/lan"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// The codes of what goes wrong with enrollment.
const (
	codeUnreachable = "E0401" // configuration or enrollment server
	codeServerCert  = "E0402"
	codeFetched     = "E0403" // a document from the network that cannot be used
	codeNoServer    = "E0404"
	codeRefused     = "E0405"
	codeEnrolled    = "E0406" // a certificate from the network that cannot be used
	codeAccounts    = "E0407" // files of accounts
	codeAccount     = "E0408"
	codeListen      = "E0409" // of the server: address or TLS certificate
	codePassword    = "E0410" // file
)

const documentPoll = 2 * time.Second // how long a document that was published is not served at most

var enrollCommands = []command{
	{"serve", "the configuration and enrollment server, in the foreground", runEnrollServe},
	{"account", "add, ls, rm: who may enroll, and for which users", runEnrollAccount},
	{"code", "NAME: a code with which an account enrolls without a password", runEnrollCode},
	{"ls", "the certificates that were issued and are valid", runEnrollLs},
	{"ranges", "the number ranges that gateways may serve", runEnrollRanges},
	{"publish", "the configuration document with the next sequence", runEnrollPublish},
}

// runEnroll is `p2psip-gateway enroll`.
func runEnroll(ctx context.Context, std stdio, args []string) int {
	return subcommand(ctx, std, "enroll", enrollCommands, args)
}

const enrollServeAbout = `Serves the configuration document of an overlay and certifies the keys of accounts, over HTTPS. The directory is
the one that init made; accounts are kept in it. Without --tls-cert the overlay's authority certifies the server itself,
for the name of the overlay and the names given with --host; clients then need its ca.crt (join --ca).`

func discoverable(s string) bool { _, ok := gateway.Discover(s); return ok }

type enrollServeOptions struct {
	dir, listen, cert, key, format string
	discover                       string
	hosts                          values
	lifetime                       time.Duration
}

// runEnrollServe is `p2psip-gateway enroll serve`.
func runEnrollServe(ctx context.Context, std stdio, args []string) int {
	var o enrollServeOptions
	fs := newFlags(std, "enroll serve", "--dir DIR [flags]", enrollServeAbout)
	fs.StringVar(&o.dir, "dir", "", "overlay `directory` that `p2psip-gateway init` made")
	fs.StringVar(&o.listen, "listen", ":8443", "`host:port` to listen on")
	fs.StringVar(&o.cert, "tls-cert", "", "`file` with the certificate of the server and its intermediates, PEM")
	fs.StringVar(&o.key, "tls-key", "", "`file` with its key, PEM")
	fs.Var(&o.hosts, "host", "`name` or address of the server for the certificate that it makes itself; may be given more than once")
	fs.DurationVar(&o.lifetime, "lifetime", trust.DefaultLifetime, "how long the certificates of nodes and users are valid")
	fs.StringVar(&o.discover, "discover", "", "`lan`: let gateways find the server on the local network; lan:INTERFACE on that one")
	fs.StringVar(&o.format, "log-format", "text", "`form` of the log: text or json")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	switch {
	case o.dir == "":
		return usageError(std, fs, errors.New("--dir is needed"))
	case (o.cert == "") != (o.key == ""):
		return usageError(std, fs, errors.New("--tls-cert and --tls-key go together"))
	case o.cert != "" && len(o.hosts) > 0:
		return usageError(std, fs, errors.New("--host is for the certificate that the server makes itself"))
	case o.lifetime <= 0:
		return usageError(std, fs, fmt.Errorf("--lifetime %s: it must be positive", o.lifetime))
	case o.discover != "" && !discoverable(o.discover):
		return usageError(std, fs, fmt.Errorf("--discover %s: it must be lan, or lan:INTERFACE", o.discover))
	case o.format != "text" && o.format != "json":
		return usageError(std, fs, fmt.Errorf("--log-format %s: it must be text or json", o.format))
	}
	e, err := o.open(newLog(gateway.LogConfig{Level: "info", Format: o.format}, std.err).With().Str("component", "enroll").Logger())
	if err != nil {
		return failed(std, fs, err)
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return failed(std, fs, &identity.Error{Code: codeListen, What: "cannot listen", Path: "--listen " + o.listen, Err: err})
	}
	stop, err := o.announce(ctx, e.server.Overlay().InstanceName, l.Addr())
	if err != nil {
		_ = l.Close()
		return failed(std, fs, &identity.Error{Code: codeListen, What: "cannot be found on the local network", Path: "--discover " + o.discover, Err: err})
	}
	defer stop()
	fmt.Fprintf(std.out, "enrollment server of overlay %s on %s, document sequence %d\n", e.server.Overlay().InstanceName, l.Addr(),
		e.server.Overlay().Sequence)
	return e.serve(ctx, std, fs, l)
}

// announce lets gateways find the server on the local network, until stop.
func (o *enrollServeOptions) announce(ctx context.Context, name string, at net.Addr) (stop func(), err error) {
	if o.discover == "" {
		return func() {}, nil
	}
	interfaces, _ := gateway.Discover(o.discover)
	ap, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return nil, err
	}
	s := lan.Service{Type: lan.Configuration, Instance: lan.InstanceName([]byte(rand.Text()[:8])), Overlay: name, Port: ap.Port()}
	if a := ap.Addr().Unmap(); !a.IsUnspecified() {
		s.Addresses = []netip.Addr{a}
	}
	a, err := lan.Open(lan.Config{Overlay: name, Offer: []lan.Service{s}, Interfaces: interfaces})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	return func() { cancel(); <-ended }, nil
}

// enrollment is a running `enroll serve`.
type enrollment struct {
	dir         string
	log         zerolog.Logger
	server      *enroll.Server
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

func (o *enrollServeOptions) open(log zerolog.Logger) (*enrollment, error) {
	a, doc, err := identity.LoadAuthority(o.dir, time.Now())
	if err != nil {
		return nil, err
	}
	a.Lifetime = o.lifetime
	accounts, err := openAccounts(o.dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(o.dir, identity.DocumentFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, &identity.Error{Code: identity.CodeUnreadable, What: "cannot read the overlay's configuration document", Path: path, Err: err}
	}
	if len(doc.EnrollmentServers) == 0 {
		return nil, &identity.Error{Code: codeNoServer, What: "the configuration document names no enrollment server", Path: path,
			Err: errors.New("clients would not find this one"),
			Try: "`p2psip-gateway enroll publish --dir " + o.dir + " --enrollment-server https://HOST:PORT/`"}
	}
	e := &enrollment{dir: o.dir, log: log}
	e.server, err = enroll.NewServer(enroll.ServerConfig{Authority: a, Accounts: accounts, Document: raw, Observe: e.observe, HTTPLog: httpLog(log)})
	if err != nil {
		return nil, &identity.Error{Code: identity.CodeDocument, What: "cannot serve the configuration document", Path: path, Err: err}
	}
	if o.cert != "" {
		// RFC 6940 §11.3: "The server certificate MUST match the overlay name": clients that find the server by DNS refuse another one.
		files := &gateway.CertificateFiles{Cert: o.cert, Key: o.key, Log: log, Check: func(c *x509.Certificate) error { return c.VerifyHostname(doc.InstanceName) }}
		e.certificate = files.Get
	} else {
		made, err := enroll.NewServerCertificate(a, o.hosts, nil)
		if err != nil {
			return nil, &identity.Error{Code: codeListen, What: "cannot make the certificate of the server", Path: "--host", Err: err}
		}
		e.certificate = made.Get
	}
	if _, err := e.certificate(nil); err != nil {
		return nil, &identity.Error{Code: codeListen, What: "cannot use the certificate of the server", Path: o.cert, Err: err}
	}
	return e, nil
}

// httpLog has net/http's own words, those on failed handshakes above all, logged.
func httpLog(l zerolog.Logger) *log.Logger {
	return log.New(logWriter{l}, "", 0)
}

type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	w.log.Info().Msg(string(b[:max(0, len(b)-1)])) // without the end of the line
	return len(b), nil
}

func (e *enrollment) serve(ctx context.Context, std stdio, fs *flag.FlagSet, l net.Listener) int {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); e.watch(ctx) }()
	err := e.server.Serve(ctx, l, e.certificate)
	cancel()
	<-watched
	if err != nil {
		fmt.Fprintf(std.err, "p2psip-gateway %s: %v\n", fs.Name(), err)
		return exitFatal
	}
	return exitOK
}

// observe logs one request. Passwords never come here.
func (e *enrollment) observe(v enroll.Event) {
	if v.Err == nil {
		e.log.Info().Str("source", v.Source).Str("account", v.Account).Str("user", v.Issued.User).Strs("node", v.Issued.Nodes).
			Str("serial", v.Issued.Serial).Time("until", v.Issued.Until).Msg("certificate issued")
		return
	}
	level := zerolog.WarnLevel
	if v.Result == enroll.ResultFailed {
		level = zerolog.ErrorLevel
	}
	e.log.WithLevel(level).Str("source", v.Source).Str("account", v.Account).Str("result", string(v.Result)).Err(v.Err).Msg("request refused")
}

// watch publishes the document when its file has changed.
func (e *enrollment) watch(ctx context.Context) {
	path := filepath.Join(e.dir, identity.DocumentFile)
	tick := time.NewTicker(documentPoll)
	defer tick.Stop()
	seen, _ := os.Stat(path) // nil: it is read at the first tick
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := os.Stat(path)
		if err != nil || unchanged(seen, now) {
			continue
		}
		seen = now
		raw, err := os.ReadFile(path)
		if err == nil {
			err = e.server.Publish(raw)
		}
		if err != nil {
			e.log.Error().Err(err).Str("file", path).Msg("the document was not replaced")
			continue
		}
		e.log.Info().Uint16("sequence", e.server.Overlay().Sequence).Msg("document published")
	}
}

func unchanged(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
