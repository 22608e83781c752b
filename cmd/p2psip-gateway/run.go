package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/sip/digest"
)

const runAbout = `Runs one node in the foreground, until SIGTERM or SIGINT. Flags count more than the environment, and that more than the file;
"p2psip-gateway check -c FILE" tells beforehand what is wrong, "p2psip-gateway config show -c FILE" what holds.`

func runRun(ctx context.Context, std stdio, args []string) int {
	fs := newFlags(std, "run", "-c FILE [flags]", runAbout)
	flags := newSourceFlags(fs)
	if code, ok := flags.parse(std, fs, args); !ok {
		return code
	}
	g, renew, document, err := openFromFile(flags.source(), std.err)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return exitConfig
	}
	go paceGC(ctx)
	defer renew.start(ctx)()
	defer document.watch(ctx, g)()
	defer notifyWhenJoined(g)()
	if err := g.Run(ctx); err != nil {
		fmt.Fprintln(std.err, "p2psip-gateway:", err)
		return exitFatal
	}
	return exitOK
}

// openFromFile makes the gateway that a configuration describes, and what keeps its identity fresh.
func openFromFile(src gateway.Source, logTo io.Writer) (*gateway.Gateway, *renewal, *documentFile, error) {
	loaded, err := gateway.Load(src)
	if err != nil {
		return nil, nil, nil, err
	}
	c := loaded.Config
	setLevel(c.Log.Level)
	log := newLog(gateway.LogConfig{Level: "trace", Format: c.Log.Format}, logTo)
	file := &documentFile{path: c.Overlay.Document, log: log, again: make(chan struct{}, 1)}
	now := time.Now()
	doc, octets, err := openDocument(c.Overlay, log, now)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := domainIs(c.Domain, doc); err != nil {
		return nil, nil, nil, errors.New(loaded.Wrong("domain", err).Text)
	}
	self, err := identity.LoadNode(c.Overlay.Identity, doc, now)
	if err != nil {
		return nil, nil, nil, err
	}
	domain := cmp.Or(c.Domain, doc.InstanceName)
	users, err := loadUsers("registrar.users", c.Registrar.Users, domain)
	if err != nil {
		return nil, nil, nil, err
	}
	keyring, renew, err := openIdentity(c.Overlay.Identity, doc, self, log)
	if err != nil {
		return nil, nil, nil, err
	}
	g, err := gateway.Open(gateway.Options{
		Config: c, Loaded: loaded, Version: version, Log: log, Overlay: doc, Document: octets, Changed: file.keep, Self: self, Users: users,
		Keyring: keyring, Verifier: keyring.Verifier(),
		Servers: renew.servers, Reread: rereader(src, domain), Reloaded: file.reread, Level: setLevel, Stopping: notifyStopping,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	file.identity, file.keyring = c.Overlay.Identity, keyring
	renew.follows(g, c.Overlay.Refresh)
	return g, renew, file, nil
}

// rereader reads the configuration and the users of a running node again.
func rereader(src gateway.Source, domain string) func() (*gateway.Loaded, *digest.Users, error) {
	return func() (*gateway.Loaded, *digest.Users, error) {
		l, err := gateway.Load(src)
		if err != nil {
			return nil, nil, err
		}
		users, err := loadUsers("registrar.users", l.Config.Registrar.Users, domain)
		return l, users, err
	}
}

// setLevel sets the level of every log of this process.
func setLevel(level string) {
	if l, err := zerolog.ParseLevel(level); err == nil {
		zerolog.SetGlobalLevel(l)
	}
}

// openDocument reads the configuration document of a node. RFC 6940 §11.1: one that has expired is no longer valid, so that nobody
// joins by it; a node that was enrolled over the network fetches another one.
func openDocument(c gateway.OverlayConfig, log zerolog.Logger, now time.Time) (*config.Overlay, []byte, error) {
	name, err := identity.OverlayName(c.Identity)
	if err != nil {
		return nil, nil, err
	}
	doc, octets, warnings, err := identity.OpenDocument(c.Document, name, now)
	var expired *identity.ExpiredError
	if errors.As(err, &expired) {
		if fetched := fetchDocument(c.Identity, log); fetched != nil {
			doc, octets, warnings, err = fetched.Overlay, fetched.Raw, fetched.Warnings, identity.ReplaceDocument(c.Document, fetched.Raw)
		}
	}
	for _, w := range warnings {
		log.Warn().Str("component", "config").Str("file", c.Document).Msg(w)
	}
	return doc, octets, err
}

// fetchDocument fetches the document of the overlay that the identity in dir is for; nil when that can not be.
func fetchDocument(dir string, log zerolog.Logger) *enroll.Document {
	client, err := openEnrollment(dir)
	if client == nil || err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), enroll.AttemptTimeout)
	defer cancel()
	d, err := client.Document(ctx)
	if err != nil {
		log.Error().Str("component", "enroll").Err(err).Msg("the configuration document has expired, and no other one was fetched")
		return nil
	}
	return d
}

// loadUsers reads a users file; key is the flag or setting that names it.
func loadUsers(key, path, domain string) (*digest.Users, error) {
	if path == "" {
		return digest.ReadUsers(strings.NewReader(""), domain)
	}
	u, err := digest.LoadUsers(path, domain)
	if err != nil {
		return nil, fmt.Errorf("E0203 %s: %w\n      try: a text file with one line \"user password\" for each user", key, err)
	}
	return u, nil
}

// newLog writes to w as the configuration says. Its words have been checked.
func newLog(c gateway.LogConfig, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if c.Format == "text" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: true}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}
