package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/overlay/lan"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

const joinAbout = `Makes the identity directory of a gateway over the network: it fetches the configuration document of the overlay,
makes a key, and has the enrollment server certify it. DOMAIN is the name of the overlay; a DNS record
_reload-config._tcp.DOMAIN leads to the server. URL is that of the document, https://HOST[:PORT][/PATH].
Run again with the same --out it keeps the key and the Node-ID and renews all; then only --out is needed.`

type joinOptions struct {
	at, account, passwordFile, code, out, ca, usersFile string
	users                                               values
	wait                                                time.Duration
	discover                                            string
}

// runJoin is `p2psip-gateway join`.
func runJoin(ctx context.Context, std stdio, args []string) int {
	var o joinOptions
	fs := newFlags(std, "join", "URL|DOMAIN --account NAME --password-file FILE --out OUTDIR [flags]", joinAbout)
	fs.StringVar(&o.account, "account", "", "`name` of the account at the enrollment server")
	fs.StringVar(&o.passwordFile, "password-file", "", "`file` with its password in the first line; - is standard input")
	fs.StringVar(&o.code, "code", "", "`code` that `p2psip-gateway enroll code` made, in the place of a password")
	fs.StringVar(&o.out, "out", "", "identity `directory` to make or to bring up to date")
	fs.StringVar(&o.ca, "ca", "", "`file` with the authorities that vouch for the HTTPS servers, PEM; without it the system's")
	fs.Var(&o.users, "user", "`name` of a user to get a certificate for now, with or without @domain; may be given more than once")
	fs.StringVar(&o.usersFile, "users", "", "`file` with lines \"user password\" of users to get certificates for now; the passwords are not read")
	fs.StringVar(&o.discover, "discover", "", "`lan`: look for the server of DOMAIN on the local network instead of in the DNS; lan:INTERFACE on that one")
	fs.DurationVar(&o.wait, "wait", time.Minute, "how long to try")
	var code int
	var ok bool
	if o.at, code, ok = parseNamed(std, fs, args); !ok {
		return code
	}
	e, err := o.enrollment(std)
	if err != nil {
		var file *identity.Error
		if errors.As(err, &file) {
			return failed(std, fs, err)
		}
		return usageError(std, fs, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	j := joiner{o: &o, e: e}
	if err := j.run(ctx); err != nil {
		return failed(std, fs, err)
	}
	id := j.node.Identity()
	fmt.Fprintf(std.out, "identity %s of overlay %s in %s\n", id.User, j.doc.Overlay.InstanceName, o.out)
	fmt.Fprintf(std.out, "  node      %s, certificate valid until %s\n", id.Nodes[0], id.Cert.NotAfter.Format(time.DateOnly))
	fmt.Fprintf(std.out, "  users     %d certificates; a gateway gets those of others when they register\n", j.users)
	fmt.Fprintf(std.out, "  next      set overlay.identity to %s in the gateway's configuration\n", o.out)
	return exitOK
}

// enrollment is the account that the flags name, or the one that the identity was made with.
func (o *joinOptions) enrollment(std stdio) (e identity.Enrollment, err error) {
	if o.out == "" {
		return e, errors.New("--out is needed")
	}
	kept, again, err := identity.LoadEnrollment(o.out)
	if err != nil {
		return e, err
	}
	if o.at == "" && o.account == "" && o.passwordFile == "" && o.code == "" && again {
		e = kept
	} else if e, err = o.newEnrollment(std); err != nil {
		return e, err
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return e, &identity.Error{Code: identity.CodeUnreadable, What: "cannot read the authorities", Path: o.ca, Err: err}
		}
		e.CA = string(pem)
	}
	return e, nil
}

func (o *joinOptions) newEnrollment(std stdio) (e identity.Enrollment, err error) {
	if o.at == "" || o.account == "" || (o.passwordFile == "") == (o.code == "") {
		return e, errors.New("URL or DOMAIN, --account, and --password-file or --code are needed")
	}
	if o.discover != "" && !discoverable(o.discover) {
		return e, fmt.Errorf("--discover %s: it must be lan, or lan:INTERFACE", o.discover)
	}
	e = identity.Enrollment{Account: o.account, Password: o.code, Discover: o.discover}
	if o.passwordFile != "" {
		if e.Password, err = readPassword(std, o.passwordFile); err != nil {
			return e, err
		}
	}
	if !strings.Contains(o.at, "://") {
		e.Overlay = strings.ToLower(strings.TrimSuffix(o.at, "."))
		return e, nil
	}
	u, err := url.Parse(o.at)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return e, fmt.Errorf("%q is not an https URL", o.at)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = enroll.WellKnownPath
	}
	e.URL = u.String()
	return e, nil
}

// enrollClient is the client for an account.
func enrollClient(e identity.Enrollment) (*enroll.Client, error) {
	c := &enroll.Client{Overlay: e.Overlay, URL: e.URL, Account: e.Account, Password: e.Password}
	if e.Discover != "" {
		interfaces, _ := gateway.Discover(e.Discover)
		c.Resolver = &lan.Resolver{Interfaces: interfaces}
	}
	if e.CA != "" {
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM([]byte(e.CA)) {
			return nil, &identity.Error{Code: identity.CodeMalformed, What: "no certificates of authorities", Path: "--ca",
				Err: errors.New(`no PEM block "CERTIFICATE"`)}
		}
	}
	return c, nil
}

type joiner struct {
	o      *joinOptions
	e      identity.Enrollment
	client *enroll.Client
	doc    *enroll.Document
	node   *trust.Signer
	users  int
}

func (j *joiner) run(ctx context.Context) (err error) {
	if j.client, err = enrollClient(j.e); err != nil {
		return err
	}
	// A document that is there already says who may sign the next one; one that has expired says nothing any more.
	if old, _, err := identity.LoadDocument(filepath.Join(j.o.out, identity.DocumentFile), time.Now()); err == nil {
		j.client.Previous, j.client.Overlay = old, orElse(j.client.Overlay, old.InstanceName)
	}
	if j.doc, err = j.client.Document(ctx); err != nil {
		return fetchFailed(orElse(j.e.URL, j.e.Overlay), err)
	}
	o := j.doc.Overlay
	key := trust.P256
	if len(o.RootCerts) > 0 {
		if key, err = trust.KeyTypeOf(o.RootCerts[0].PublicKey); err != nil {
			return fetchFailed(j.e.URL, fmt.Errorf("%w: %w", enroll.ErrDocument, err))
		}
	}
	private, err := identity.NodeKey(j.o.out, key)
	if err != nil {
		return err
	}
	if j.node, err = j.client.Enroll(ctx, o, enroll.Request{Key: private}); err != nil {
		return enrollFailed(o.EnrollmentServers, j.e.Account, err)
	}
	// The certificate comes first: it tells whether the directory is another node's.
	if err := identity.SaveNode(j.o.out, j.node, o.InstanceName); err != nil {
		return err
	}
	j.e.Overlay = o.InstanceName
	if err := errors.Join(identity.SaveDocument(j.o.out, j.doc.Raw), identity.SaveEnrollment(j.o.out, j.e)); err != nil {
		return err
	}
	return j.enrollUsers(ctx)
}

// enrollUsers gets the certificates of the users that are named, and renews those that are there.
func (j *joiner) enrollUsers(ctx context.Context) error {
	users, err := usersToCertify(j.o.out, j.doc.Overlay.InstanceName, j.o.users, j.o.usersFile)
	if err != nil {
		return err
	}
	for _, aor := range users {
		s, err := j.client.Enroll(ctx, j.doc.Overlay, enroll.Request{Key: j.node.Key(), User: aor, Node: j.node.Identity().Nodes[0]})
		if err != nil {
			return enrollFailed(j.doc.Overlay.EnrollmentServers, j.e.Account+" for "+aor, err)
		}
		if err := identity.SaveUser(j.o.out, s); err != nil {
			return err
		}
		j.users++
	}
	return nil
}

// fetchFailed is the error for a document that did not come.
func fetchFailed(where string, err error) error {
	e := &identity.Error{Code: codeUnreachable, What: "cannot get the configuration document", Path: where, Err: err,
		Try: "the URL of the document, and whether the server is up"}
	switch {
	case errors.Is(err, enroll.ErrServerCertificate):
		e.Code, e.Try = codeServerCert, "--ca with the ca.crt of the overlay when its authority certified the server"
	case errors.Is(err, enroll.ErrDocument):
		e.Code, e.Try = codeFetched, "asking who runs the overlay; a clock that is wrong does that too: check NTP"
	}
	return e
}

// enrollFailed is the error for a certificate that did not come.
func enrollFailed(servers []string, who string, err error) error {
	e := &identity.Error{Code: codeUnreachable, What: "cannot enroll " + who, Path: strings.Join(servers, " "), Err: err,
		Try: "whether the server is up; trying again later"}
	var refused *enroll.RefusedError
	switch {
	case errors.As(err, &refused):
		e.Code, e.Try = codeRefused, tryToken[refused.Token]
	case errors.Is(err, enroll.ErrNoServer):
		e.Code, e.Path, e.Try = codeNoServer, "overlay.xml", "asking who runs the overlay: `p2psip-gateway enroll publish --enrollment-server URL` names one"
	case errors.Is(err, enroll.ErrServerCertificate):
		e.Code, e.Try = codeServerCert, "--ca with the authority of the server's certificate"
	case errors.Is(err, enroll.ErrCertificate):
		e.Code, e.Try = codeEnrolled, "asking who runs the overlay; a clock that is wrong does that too: check NTP"
	}
	return e
}

// tryToken says what to do about a refusal (RFC 6940 §11.3).
var tryToken = map[enroll.Token]string{
	enroll.FailedAuthentication: "the name and password of the account; a code is good for one key, and for a day until it is used",
	enroll.UsernameNotAvailable: "`p2psip-gateway enroll account ls` at the server: the account may act for the users that it names",
	enroll.NodeIDsNotAvailable:  "`p2psip-gateway enroll ls` at the server: the account has as many certificates as it may have",
	enroll.BadCSR:               "a new key in another --out: the server does not take this one",
}
