package identity

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Enrollment is the account with which an identity was made over the network, kept beside it: certificates are renewed, and
// those of more users got, with it.
type Enrollment struct {
	Overlay  string `json:"overlay"`
	URL      string `json:"url,omitempty"`      // of the configuration document; empty: DNS leads to it
	Discover string `json:"discover,omitempty"` // lan, or lan: and interfaces: in the place of DNS
	Account  string `json:"account"`
	Password string `json:"password"` // or the code that goes with the key
	// CA is the PEM text of the authorities that vouch for the HTTPS servers; empty: the system's.
	CA string `json:"ca,omitempty"`
}

// SaveEnrollment keeps e in the identity directory dir.
func SaveEnrollment(dir string, e Enrollment) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, enrollmentFile), append(b, '\n'), keyMode)
}

// LoadEnrollment reads the account of the identity directory dir. ok is false when the identity was not made over the network.
func LoadEnrollment(dir string) (e Enrollment, ok bool, err error) {
	path := filepath.Join(dir, enrollmentFile)
	if !exists(path) {
		return e, false, nil
	}
	b, err := read(path, "the account of this identity", "`p2psip-gateway join`, which makes it")
	if err != nil {
		return e, false, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, false, &Error{Code: CodeMalformed, What: "not the account of an identity", Path: path, Err: err,
			Try: "`p2psip-gateway join`, which makes it"}
	}
	return e, true, nil
}

// NodeKey is the key of the identity in dir, which is made with a new one, of type t, when there is none yet.
func NodeKey(dir string, t trust.KeyType) (crypto.Signer, error) {
	if err := makeDir(filepath.Join(dir, usersDir)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, nodeKeyFile)
	if exists(path) {
		return readKey(path, "the gateway's key", "another --out")
	}
	key, err := trust.GenerateKey(t)
	if err != nil {
		return nil, err
	}
	return key, writeKey(path, key)
}

// SaveNode keeps the certificate of a gateway, for the key that is there, in dir. It refuses to put it in the place of that of
// another node: key and Node-ID of an identity stay what they are.
func SaveNode(dir string, s *trust.Signer, overlay string) error {
	path, id := filepath.Join(dir, nodeCertFile), s.Identity()
	if exists(path) {
		certs, err := readCerts(path, "the gateway's certificate", "another --out")
		if err != nil {
			return err
		}
		old, err := trust.ParseIdentity(overlay, certs[0])
		if err == nil && (old.User != id.User || old.Nodes[0] != id.Nodes[0]) {
			err = fmt.Errorf("it holds %s with node %s, the new certificate is of %s with node %s", old.User, old.Nodes[0], id.User, id.Nodes[0])
		}
		if err != nil {
			return &Error{Code: CodeExists, What: "the directory belongs to another identity", Path: path, Err: err, Try: "another --out"}
		}
	}
	return writeCert(path, id.Cert.Raw)
}

// HoldsNode reports whether dir holds the certificate of a gateway.
func HoldsNode(dir string) bool { return exists(filepath.Join(dir, nodeCertFile)) }

// SelfSign makes the certificate of the gateway name in the overlay o, which must permit that (RFC 6940 §11.3.1), for the key in
// dir, which is made with one of type t when there is none. The certificate is not kept: see SaveNode.
func SelfSign(dir string, o *config.Overlay, name string, t trust.KeyType, lifetime time.Duration) (*trust.Signer, error) {
	user, err := AOR(name, o.InstanceName)
	if err != nil {
		return nil, badName(name, err)
	}
	if !o.SelfSignedPermitted {
		return nil, &Error{Code: CodeDocument, What: "nobody may certify himself in the overlay", Path: o.InstanceName, Err: trust.ErrSelfSigned,
			Try: tryIssue}
	}
	key, err := NodeKey(dir, t)
	if err != nil {
		return nil, err
	}
	s, err := trust.SelfSign(o, key, user, time.Now(), lifetime)
	if err != nil {
		return nil, badName(user, err)
	}
	return s, nil
}

// SaveDocument keeps the configuration document in dir.
func SaveDocument(dir string, raw []byte) error {
	return write(filepath.Join(dir, DocumentFile), raw, certMode)
}

// SaveUser keeps the certificate with which a gateway acts for a user in dir.
func SaveUser(dir string, s *trust.Signer) error {
	return writeCert(userFile(dir, s.Identity().User), s.Identity().Cert.Raw)
}

// EnrollingKeyring takes the certificates from the identity directory dir like OpenKeyring, and has enroll get those that are
// missing there or have reached two thirds of their lifetime. New ones are kept in dir.
func EnrollingKeyring(dir string, o *config.Overlay, node *trust.Signer, enroll func(aor string) (*trust.Signer, error)) *Keyring {
	kept := OpenKeyring(dir, o, node)
	var k *Keyring
	k = newKeyring(func(aor string, now time.Time) (*trust.Signer, error) {
		old, err := kept.load(aor, now)
		if found := k.isRefused(aor); found != nil {
			old, err = nil, found
		}
		if err == nil && now.Before(freshUntil(old)) {
			return old, nil
		}
		var refused *trust.RefusalError // expired: to be replaced
		if err != nil && !errors.Is(err, ErrNoCertificate) && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &refused) {
			return nil, err
		}
		s, err := enroll(aor)
		switch {
		case err == nil:
			return s, SaveUser(dir, s)
		case old != nil:
			return old, nil // it is still good: the server need not be up
		}
		return nil, fmt.Errorf("identity: %s: %w: %w", aor, ErrNoCertificate, err)
	})
	k.verifier, k.path, k.enrolls = kept.verifier, kept.path, true
	return k
}
