package identity

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Keyring gives a gateway the signer for each address-of-record that it serves: the gateway's key and Node-ID under the
// user's name. Signers are made when first asked for and remembered in a bounded cache until two thirds of their
// certificate's lifetime have passed. It is safe for concurrent use.
type Keyring struct {
	load     func(aor string, now time.Time) (*trust.Signer, error)
	verifier *trust.Verifier // nil when certificates are not read from files
	path     func(aor string) string
	enrolls  bool // it gets new certificates by itself
	now      func() time.Time
	mu       sync.Mutex
	held     map[string]*trust.Signer
	refused  map[string]error // what Verify has found
	// listed is for which addresses-of-record there are files, as far as was looked; nil: nobody has.
	listed map[string]struct{}
	list   func() ([]string, error) // nil: every certificate is there
}

// OpenKeyring takes the certificates from the identity directory dir.
func OpenKeyring(dir string, o *config.Overlay, node *trust.Signer) *Keyring {
	r := &reader{o, trust.NewVerifier(o), node.Key()}
	k := newKeyring(func(aor string, now time.Time) (*trust.Signer, error) {
		s, err := r.load(userFile(dir, aor), "the certificate of "+aor, now, func(s *trust.Signer, certs []*x509.Certificate) error {
			return r.verifier.VerifyOwn(now, s, certs)
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("identity: %s: %w", aor, ErrNoCertificate)
		}
		if err != nil {
			return nil, err
		}
		if id := s.Identity(); id.User != aor || id.Node != node.Identity().Node {
			return nil, &Error{Code: CodeMalformed, What: "not the certificate of " + aor, Path: userFile(dir, aor),
				Err: fmt.Errorf("it is of %s and node %s", id.User, id.Node), Try: tryIssue}
		}
		return s, nil
	})
	k.verifier, k.path = r.verifier, func(aor string) string { return userFile(dir, aor) }
	k.list = func() ([]string, error) { return UsersIn(dir) }
	return k
}

// IssuingKeyring has a issue each certificate when it is first asked for: for an overlay that lives in one process.
func IssuingKeyring(a *trust.Authority, node *trust.Signer) *Keyring {
	return newKeyring(func(aor string, now time.Time) (*trust.Signer, error) {
		cert, err := a.IssueUser(now, aor, node.Identity().Node, node.Key().Public())
		if err != nil {
			return nil, err
		}
		return trust.NewSigner(a.Overlay(), node.Key(), cert)
	})
}

func newKeyring(load func(string, time.Time) (*trust.Signer, error)) *Keyring {
	return &Keyring{load: load, now: time.Now, held: map[string]*trust.Signer{}, refused: map[string]error{}}
}

// Verifier is who checks the certificates that are read from files: the peer that they are for can have the same one, so that each is checked
// once. It is nil for a keyring that reads none.
func (k *Keyring) Verifier() *trust.Verifier { return k.verifier }

// Signer is the signer for aor, "user@domain" in canonical form. Without a certificate for it the error is
// ErrNoCertificate.
func (k *Keyring) Signer(aor string) (*trust.Signer, error) {
	now := k.now()
	k.mu.Lock()
	s, err := k.held[aor], k.refused[aor]
	k.mu.Unlock()
	if err != nil && !k.enrolls || s != nil && now.Before(freshUntil(s)) {
		return s, err
	}
	if s, err = k.load(aor, now); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for other := range k.held {
		if len(k.held) < maxSigners {
			break
		}
		delete(k.held, other) // any one: what is lost is one file to read
	}
	if user := s.Identity().User; user == aor {
		aor = user // one string is enough
	}
	k.held[aor] = s
	delete(k.refused, aor)
	return s, nil
}

// Has reports whether there is a file with a certificate for aor, that will be there and good when Signer reads it, as far as is known without reading it: the
// directory is listed once, and looked at again for who is not in it. It is false for all of a keyring that enrolls, since its certificates are got and renewed when
// they are used, and for one that Verify has refused.
func (k *Keyring) Has(aor string) bool {
	if k.enrolls {
		return false
	}
	if k.list == nil {
		return true
	}
	k.mu.Lock()
	_, listed := k.listed[aor]
	refused, first := k.refused[aor] != nil, k.listed == nil
	k.mu.Unlock()
	switch {
	case refused || listed:
		return !refused
	case first:
		k.readList()
	}
	if !exists(k.path(aor)) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listed != nil && len(k.listed) < maxListed {
		k.listed[aor] = struct{}{}
	}
	return true
}

// readList lists the directory. What can not be listed is looked at one by one.
func (k *Keyring) readList() {
	names, _ := k.list() // likewise
	listed := make(map[string]struct{}, len(names))
	for _, aor := range names[:min(len(names), maxListed)] {
		listed[aor] = struct{}{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listed = listed
}

func (k *Keyring) isRefused(aor string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refused[aor]
}

// Verify checks the certificate of s, which Signer has made, as those will who are shown it: with the signature of the authority (RFC 6940
// §11.3), which Signer leaves out. From a certificate that is refused Signer makes nothing any more, until Forget.
// A keyring that enrolls gets another one.
func (k *Keyring) Verify(s *trust.Signer) error {
	if k.verifier == nil {
		return nil
	}
	aor, now := s.Identity().User, k.now()
	err := k.verifier.VerifySigner(now, s)
	if err == nil {
		return nil
	}
	err = refused(err, "the certificate of "+aor, k.path(aor), now.Before(s.Identity().Cert.NotBefore))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[aor] == s && len(k.refused) < maxSigners {
		delete(k.held, aor)
		k.refused[aor] = err
	}
	return err
}

// First is the certificate that ends first of those that were asked for, as far as their address-of-record counts. end is zero when
// there is none. counts is called without a lock held.
func (k *Keyring) First(counts func(aor string) bool) (aor string, end time.Time) {
	type certificate struct {
		aor string
		end time.Time
	}
	k.mu.Lock()
	all := make([]certificate, 0, len(k.held))
	for name, h := range k.held {
		all = append(all, certificate{name, h.Identity().Cert.NotAfter})
	}
	k.mu.Unlock()
	for _, c := range all {
		if (end.IsZero() || c.end.Before(end)) && counts(c.aor) {
			aor, end = c.aor, c.end
		}
	}
	return aor, end
}

// Forget has every signer made anew when it is asked for: the certificates may have been renewed.
func (k *Keyring) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.held)
	clear(k.refused)
	k.listed = nil
}

// freshUntil is when two thirds of a certificate's lifetime are over.
func freshUntil(s *trust.Signer) time.Time {
	cert := s.Identity().Cert
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
}

// NewNode makes the identity of a gateway in memory: a new key of type t, certified by a for user.
func NewNode(a *trust.Authority, user string, now time.Time) (*trust.Signer, error) {
	t, err := trust.KeyTypeOf(a.Certificate().PublicKey)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	if key, err = trust.GenerateKey(t); err != nil {
		return nil, err
	}
	cert, err := a.IssueNode(now, user, key.Public())
	if err != nil {
		return nil, err
	}
	return trust.NewSigner(a.Overlay(), key, cert)
}
