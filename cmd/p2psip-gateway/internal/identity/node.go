package identity

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Request asks for a gateway's identity.
type Request struct {
	Dir   string   // overlay directory
	Out   string   // identity directory; made, or brought up to date
	Name  string   // of the gateway: "gw1" or "gw1@example.org"
	Users []string // addresses-of-record; without a domain they get the overlay's
	// AllUsers renews the certificates of every user that Out holds already.
	AllUsers bool
	Lifetime time.Duration // of certificates; 0: trust.DefaultLifetime
	Key      trust.KeyType // of a new identity; empty: as the authority's. An overlay may have both types
}

// Issued is what a Request led to.
type Issued struct {
	Node    trust.Identity
	Renewed bool // Out held this identity already
	Users   []string
}

// Issue makes or brings up to date an identity directory. The key and the Node-ID of an identity stay what they are.
func Issue(r Request, now time.Time) (Issued, error) {
	a, o, err := LoadAuthority(r.Dir, now)
	if err != nil {
		return Issued{}, err
	}
	if r.Lifetime > 0 {
		a.Lifetime = r.Lifetime
	}
	if r.Name == "" {
		return Issued{}, badName("", errors.New("the gateway needs a name"))
	}
	if err := makeDir(filepath.Join(r.Out, usersDir)); err != nil {
		return Issued{}, err
	}
	doc, err := read(filepath.Join(r.Dir, DocumentFile), "the overlay's configuration document", "")
	if err != nil {
		return Issued{}, err
	}
	if err := write(filepath.Join(r.Out, DocumentFile), doc, certMode); err != nil {
		return Issued{}, err
	}
	if err := copySecret(r.Dir, r.Out); err != nil {
		return Issued{}, err
	}
	i := issuer{r: r, now: now, a: a, o: o}
	if err := i.node(); err != nil {
		return Issued{}, err
	}
	return i.done, i.users()
}

// copySecret gives a gateway what it needs for the TURN servers of the overlay, if there are any (docs/decisions/0006).
func copySecret(from, to string) error {
	path := filepath.Join(from, turnSecretFile)
	if !exists(path) {
		return nil
	}
	b, err := read(path, "the secret of TURN servers and their users", "")
	if err != nil {
		return err
	}
	return write(filepath.Join(to, turnSecretFile), b, keyMode)
}

type issuer struct {
	r    Request
	now  time.Time
	a    *trust.Authority
	o    *config.Overlay
	key  crypto.Signer
	done Issued
}

// node makes the gateway's key and certificate, or renews the certificate.
func (i *issuer) node() error {
	keyPath, certPath := filepath.Join(i.r.Out, nodeKeyFile), filepath.Join(i.r.Out, nodeCertFile)
	user, err := AOR(i.r.Name, i.o.InstanceName)
	if err != nil {
		return badName(i.r.Name, err)
	}
	if exists(keyPath) {
		i.key, err = readKey(keyPath, "the gateway's key", "another --out")
	} else if i.key, err = i.newKey(); err == nil {
		err = writeKey(keyPath, i.key)
	}
	if err != nil {
		return err
	}
	var cert *x509.Certificate
	if exists(certPath) {
		cert, err = i.renew(certPath, user)
	} else if cert, err = i.a.IssueNode(i.now, user, i.key.Public()); err != nil {
		err = badName(user, err)
	}
	if err != nil {
		return err
	}
	if i.done.Node, err = trust.ParseIdentity(i.o.InstanceName, cert); err != nil {
		return err
	}
	return writeCert(certPath, cert.Raw)
}

// newKey makes a key of the type that is wanted, or else of the one that the authority has.
func (i *issuer) newKey() (crypto.Signer, error) {
	if i.r.Key != "" {
		return trust.GenerateKey(i.r.Key)
	}
	t, err := trust.KeyTypeOf(i.a.Certificate().PublicKey)
	if err != nil {
		return nil, err
	}
	return trust.GenerateKey(t)
}

// renew issues the certificate at path again, with the same Node-ID (RFC 6940 §11.3: "should return the same Node-IDs").
func (i *issuer) renew(path, user string) (*x509.Certificate, error) {
	certs, err := readCerts(path, "the gateway's certificate", "another --out")
	if err != nil {
		return nil, err
	}
	old, err := trust.ParseIdentity(i.o.InstanceName, certs[0])
	if err == nil && old.User != user {
		err = fmt.Errorf("it holds the identity of %s", old.User)
	}
	if err != nil {
		return nil, &Error{Code: CodeExists, What: "the directory belongs to another identity", Path: path,
			Err: err, Try: "another --out"}
	}
	i.done.Renewed = true
	return i.a.IssueUser(i.now, user, old.Nodes[0], i.key.Public())
}

// users issues the certificates with which the gateway acts for its users: its own key and Node-ID, the user's name.
func (i *issuer) users() error {
	for _, u := range i.r.Users {
		aor, err := AOR(u, i.o.InstanceName)
		if err != nil {
			return badName(u, err)
		}
		i.done.Users = append(i.done.Users, aor)
	}
	if i.r.AllUsers {
		have, err := UsersIn(i.r.Out)
		if err != nil {
			return err
		}
		i.done.Users = append(i.done.Users, have...)
	}
	slices.Sort(i.done.Users)
	i.done.Users = slices.Compact(i.done.Users)
	for _, aor := range i.done.Users {
		cert, err := i.a.IssueUser(i.now, aor, i.done.Node.Nodes[0], i.key.Public())
		if err != nil {
			return badName(aor, err)
		}
		if err := writeCert(userFile(i.r.Out, aor), cert.Raw); err != nil {
			return err
		}
	}
	return nil
}

func badName(name string, err error) error {
	return &Error{Code: CodeUserName, What: "cannot certify the name", Path: fmt.Sprintf("%q", name), Err: err}
}

// AOR is the canonical form of a name: user@domain with the domain in lower case; without one it gets the overlay's.
func AOR(name, overlay string) (string, error) {
	user, domain, ok := strings.Cut(name, "@")
	if !ok {
		domain = overlay
	}
	if user == "" || domain == "" || strings.HasPrefix(user, "sip:") || strings.HasPrefix(user, "sips:") {
		return "", errors.New("it must be of the form user or user@domain")
	}
	return user + "@" + strings.ToLower(domain), nil
}

// userFile is where the certificate for aor is. Characters that a file name cannot hold are escaped as in a URL.
func userFile(dir, aor string) string {
	return filepath.Join(dir, usersDir, url.PathEscape(aor)+certSuffix)
}

// UsersIn is the addresses-of-record that the identity directory dir holds certificates for.
func UsersIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, usersDir))
	if err != nil {
		return nil, &Error{Code: CodeUnreadable, What: "cannot list the users", Path: filepath.Join(dir, usersDir), Err: err}
	}
	var users []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), certSuffix)
		aor, err := url.PathUnescape(name)
		if ok && err == nil && !strings.HasPrefix(name, ".") {
			users = append(users, aor)
		}
	}
	return users, nil
}

const tryIssue = "`p2psip-gateway identity issue` or `p2psip-gateway join`, which make and renew identities"

// LoadNode reads the identity of a gateway from dir and checks that the overlay o accepts it at now.
func LoadNode(dir string, o *config.Overlay, now time.Time) (*trust.Signer, error) {
	key, err := readKey(filepath.Join(dir, nodeKeyFile), "the gateway's key", tryIssue)
	if err != nil {
		return nil, err
	}
	r := &reader{o, trust.NewVerifier(o), key}
	return r.load(filepath.Join(dir, nodeCertFile), "the gateway's certificate", now, func(_ *trust.Signer, certs []*x509.Certificate) error {
		_, err := r.verifier.VerifyLink(now, certs)
		return err
	})
}

// reader reads certificates for one key.
type reader struct {
	o        *config.Overlay
	verifier *trust.Verifier
	key      crypto.Signer
}

// verification checks a certificate and its intermediates, of which a signer was made.
type verification func(s *trust.Signer, certs []*x509.Certificate) error

// load reads a certificate, and has verify check it.
func (r *reader) load(path, what string, now time.Time, verify verification) (*trust.Signer, error) {
	certs, err := readCerts(path, what, tryIssue)
	if err != nil {
		return nil, err
	}
	s, err := trust.NewSigner(r.o.InstanceName, r.key, certs...)
	if err != nil {
		return nil, &Error{Code: CodeMalformed, What: "not " + what, Path: path, Err: err, Try: tryIssue}
	}
	if err := verify(s, certs); err != nil {
		return nil, refused(err, what, path, now.Before(certs[0].NotBefore))
	}
	return s, nil
}

// refused says that others would refuse a certificate. early means that its time has not begun.
func refused(err error, what, path string, early bool) error {
	try := tryIssue
	if early {
		try = "the clock of this host, which is before the beginning of the certificate: check NTP, with timedatectl or chronyc tracking"
	}
	return &Error{Code: CodeCertificate, What: "the overlay would not accept " + what, Path: path, Err: err, Try: try}
}
