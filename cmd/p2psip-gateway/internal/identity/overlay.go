package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// authorityLifetime is for the signer of the document: a document outlives the certificates of nodes.
const authorityLifetime = 20 * 365 * 24 * time.Hour

// Template is the configuration of a new overlay named domain: TLS without ICE between gateways with reachable addresses,
// and the Kinds that gateways need.
func Template(domain string) *config.Overlay {
	o := config.New(domain)
	o.Sequence = 1
	o.NoICE = true
	o.TurnDensity = 0 // no TURN servers: nobody needs them without ICE
	o.MaxMessageSize = config.WrittenMaxMessageSize
	// 32 registrations of 1000 octets and the certificates that go with them fit one message.
	o.Kinds = append(o.Kinds,
		required(wire.KindSIPRegistration, 32, 1000),
		required(wire.KindCertificateByNode, 32, 2048),
		required(wire.KindCertificateByUser, 32, 2048),
		config.Kind{ID: wire.KindSIPGateway, Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 1000},
		AccountLease())
	return o
}

// AccountLease is the Kind by which gateways agree who uses an account at a provider.
func AccountLease() config.Kind {
	return config.Kind{ID: wire.KindAccountLease, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 64}
}

// WithICE makes o an overlay whose links go through NATs (RFC 6940 §6.5.1.3). Its links are DTLS over UDP, which is
// what ICE is for, and TURN servers are found in it (§9).
func WithICE(o *config.Overlay) {
	o.NoICE = false
	o.TurnDensity = turnDensity
	o.Kinds = append(o.Kinds, required(wire.KindTURNService, 1, 64))
}

// WithServices makes o an overlay in which services are found by RFC 7374.
func WithServices(o *config.Overlay) { o.WithRedir(maxProviders, maxProvider) }

// A tree node of a service holds twenty providers, the lowest and the highest of ten intervals, and some that have been so until
// their records end. With their certificates as many as these fit one message.
const (
	maxProviders = 64
	maxProvider  = 256 // octets of a record: a Node-ID, the name of the service, and room for an extension
)

// turnDensity says how often a TURN server records itself. RFC 6940 §9 wants "the reciprocal of the estimate of what percentage
// of peers will act as TURN servers": one in four. A Find looks at what one peer holds, so in a small overlay fewer would do.
const turnDensity = 4

func required(id wire.KindID, count, size int) config.Kind {
	k, _ := config.Registered(id)
	k.MaxCount, k.MaxSize = count, size
	return k
}

// Overlay is a new overlay: its authority, the signer of its document, and the document.
type Overlay struct {
	Config    *config.Overlay // as parsed from Document
	Document  []byte
	Authority *trust.Authority // nil where nodes make their own certificates
	signer    *trust.Signer
}

// New makes the authority and the signer of the overlay o and signs the document. It fills in o's roots and signers.
func New(o *config.Overlay, t trust.KeyType, now time.Time) (*Overlay, error) {
	a, err := trust.NewAuthority(o.InstanceName, t, now, nil)
	if err != nil {
		return nil, err
	}
	key, err := trust.GenerateKey(t)
	if err != nil {
		return nil, err
	}
	a.Lifetime = authorityLifetime
	cert, err := a.IssueNode(now, "signer@"+o.InstanceName, key.Public())
	if err != nil {
		return nil, err
	}
	a.Lifetime = trust.DefaultLifetime
	signer, err := trust.NewSigner(o.InstanceName, key, cert)
	if err != nil {
		return nil, err
	}
	o.RootCerts = append(o.RootCerts, a.Certificate())
	made, err := signedBy(o, signer, now)
	if err != nil {
		return nil, err
	}
	made.Authority = a
	return made, nil
}

// NewSelfSigned makes the signer of the overlay o, whose nodes make their own certificates, and signs the document. There is no
// authority. It fills in o's signers.
func NewSelfSigned(o *config.Overlay, t trust.KeyType, now time.Time) (*Overlay, error) {
	key, err := trust.GenerateKey(t)
	if err != nil {
		return nil, err
	}
	signer, err := trust.SelfSign(o, key, "signer@"+o.InstanceName, now, authorityLifetime)
	if err != nil {
		return nil, err
	}
	return signedBy(o, signer, now)
}

// signedBy makes signer the signer of o, and signs it.
func signedBy(o *config.Overlay, signer *trust.Signer, now time.Time) (*Overlay, error) {
	o.ConfigurationSigners = append(o.ConfigurationSigners, signer.Identity().Node)
	o.KindSigners = append(o.KindSigners, signer.Identity().Node)
	doc, err := trust.SignDocument(o, signer)
	if err != nil {
		return nil, err
	}
	parsed, _, err := readDocument(DocumentFile, doc, now)
	if err != nil {
		return nil, err
	}
	return &Overlay{Config: parsed, Document: doc, signer: signer}, nil
}

// Save writes an overlay directory. It refuses one that holds an overlay already.
func (o *Overlay) Save(dir string) error {
	for _, name := range []string{caKeyFile, caCertFile, signerKeyFile, signerCertFile, DocumentFile} {
		if path := filepath.Join(dir, name); exists(path) {
			return &Error{Code: CodeExists, What: "there is an overlay already", Path: path,
				Err: errors.New("a new authority would make every certificate of the old one worthless"),
				Try: "another --dir, or `p2psip-gateway identity issue --dir " + dir + "` for the overlay that is there"}
		}
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	if !o.Config.NoICE {
		// Base 32, 128 random bits.
		if err := write(filepath.Join(dir, turnSecretFile), []byte(rand.Text()+"\n"), keyMode); err != nil {
			return err
		}
	}
	var err error
	if o.Authority != nil {
		err = errors.Join(writeKey(filepath.Join(dir, caKeyFile), o.Authority.Key()), writeCert(filepath.Join(dir, caCertFile), o.Authority.Certificate().Raw))
	}
	return errors.Join(err,
		writeKey(filepath.Join(dir, signerKeyFile), o.signer.Key()),
		writeCert(filepath.Join(dir, signerCertFile), o.signer.Identity().Cert.Raw),
		write(filepath.Join(dir, DocumentFile), o.Document, certMode),
	)
}

// LoadAuthority reads the authority of an overlay directory and its overlay.
func LoadAuthority(dir string, now time.Time) (*trust.Authority, *config.Overlay, error) {
	const try = "--dir with the directory that `p2psip-gateway init` made"
	o, _, err := LoadDocument(filepath.Join(dir, DocumentFile), now)
	if err != nil {
		return nil, nil, err
	}
	key, err := readKey(filepath.Join(dir, caKeyFile), "the authority's key", try)
	if err != nil {
		return nil, nil, err
	}
	certs, err := readCerts(filepath.Join(dir, caCertFile), "the authority's certificate", try)
	if err != nil {
		return nil, nil, err
	}
	a, err := trust.OpenAuthority(o.InstanceName, key, certs[0])
	if err != nil {
		return nil, nil, &Error{Code: CodeMalformed, What: "the files of the authority do not belong together",
			Path: dir, Err: err, Try: try}
	}
	return a, o, nil
}

// LoadDocument reads a configuration document with one configuration, checks its signatures, and that this program can take
// part in the overlay at now. warnings are what was tolerated in it.
func LoadDocument(path string, now time.Time) (o *config.Overlay, warnings []string, err error) {
	b, err := read(path, "the overlay's configuration document",
		"`p2psip-gateway init` makes one; `p2psip-gateway identity issue` puts a copy beside each identity")
	if err != nil {
		return nil, nil, err
	}
	return readDocument(path, b, now)
}

func readDocument(path string, b []byte, now time.Time) (*config.Overlay, []string, error) {
	c, err := examineDocument(path, "", b, now)
	if err != nil {
		return nil, nil, err
	}
	return c.Overlay, c.Warnings, nil
}

// examineDocument finds the configuration of the overlay named name, or with an empty name the only one, and checks it. It comes with
// the error when that is an *ExpiredError.
func examineDocument(path, name string, b []byte, now time.Time) (*config.Configuration, error) {
	refuse := func(what string, err error) (*config.Configuration, error) {
		return nil, &Error{Code: CodeDocument, What: what, Path: path, Err: err}
	}
	d, err := config.Parse(b)
	if err != nil {
		return refuse("not a configuration document", err)
	}
	c := d.Find(name)
	switch {
	case c == nil && name == "":
		return refuse("cannot tell which overlay is meant", fmt.Errorf("the document holds %d configurations", len(d.Configurations)))
	case c == nil:
		return refuse("not the configuration document of overlay "+name, errors.New("it is of "+strings.Join(d.Names(), ", ")))
	}
	if err := trust.VerifyDocument(now, c, nil); err != nil {
		return refuse("the configuration document is not to be trusted", err)
	}
	if err := c.Overlay.Supported(); err != nil {
		return refuse("this program cannot take part in the overlay", err)
	}
	if c.Overlay.Expired(now) {
		// RFC 6940 §11.1: it "is no longer valid": nobody joins by it.
		_, err := refuse("the configuration document has expired", &ExpiredError{c.Overlay.Expiration})
		return c, err
	}
	return c, nil
}

// LoadSigner reads the identity that signs the documents of the overlay o from its directory.
func LoadSigner(dir string, o *config.Overlay) (*trust.Signer, error) {
	const try = "--dir with the directory that `p2psip-gateway init` made"
	key, err := readKey(filepath.Join(dir, signerKeyFile), "the key that signs the document", try)
	if err != nil {
		return nil, err
	}
	certs, err := readCerts(filepath.Join(dir, signerCertFile), "the certificate that goes with the document", try)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(o.InstanceName, key, certs...)
	if err != nil {
		return nil, &Error{Code: CodeMalformed, What: "the files of the signer do not belong together", Path: dir, Err: err, Try: try}
	}
	return signer, nil
}

// Present is what the next document of an overlay directory replaces. It may have expired: that is a reason to publish another one.
func Present(dir string, now time.Time) (*config.Overlay, error) {
	path := filepath.Join(dir, DocumentFile)
	b, err := ReadDocument(path)
	if err != nil {
		return nil, err
	}
	c, err := examineDocument(path, "", b, now)
	var expired *ExpiredError
	if err != nil && !errors.As(err, &expired) {
		return nil, err
	}
	return c.Overlay, nil
}

// Publish changes the overlay of an overlay directory and signs its document with the next sequence (RFC 6940 §11.1). The result
// is the new configuration.
func Publish(dir string, change func(*config.Overlay), now time.Time) (*config.Overlay, error) {
	path := filepath.Join(dir, DocumentFile)
	old, err := Present(dir, now)
	if err != nil {
		return nil, err
	}
	signer, err := LoadSigner(dir, old)
	if err != nil {
		return nil, err
	}
	next := *old
	change(&next)
	if next.InstanceName != old.InstanceName {
		return nil, &Error{Code: CodeDocument, What: "cannot publish the document", Path: path,
			Err: fmt.Errorf("it is of overlay %s, the present one of %s", next.InstanceName, old.InstanceName)}
	}
	// RFC 6940 §11.1: "A monotonically increasing sequence number between 0 and 2^16-2."
	if next.Sequence++; next.Sequence > config.MaxSequence {
		next.Sequence = 0
	}
	refuse := func(err error) (*config.Overlay, error) {
		return nil, &Error{Code: CodeDocument, What: "cannot publish the document", Path: path, Err: err}
	}
	raw, err := trust.SignDocument(&next, signer)
	if err != nil {
		return refuse(err)
	}
	// A ConfigUpdate carries the document in one message (RFC 6940 §6.5.4.1).
	if len(raw) > next.MaxMessageSize {
		return refuse(fmt.Errorf("it has %d octets; a message of this overlay has at most %d", len(raw), next.MaxMessageSize))
	}
	o, _, err := readDocument(path, raw, now)
	if err != nil {
		return nil, err
	}
	return o, write(path, raw, certMode)
}
