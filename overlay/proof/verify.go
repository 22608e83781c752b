package proof

import (
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Codes of failures.
const (
	CodeForm        = "E0501" // the file is not written as a proof is
	CodeOverlay     = "E0502" // it is about another overlay
	CodeSeal        = "E0503" // the signature over the file
	CodeSignature   = "E0504" // the signature of a value
	CodeCertificate = "E0505" // the certificate that a value is signed with, or what leads from it to a root
	CodeUser        = "E0506" // the certificate is not that of the address-of-record
	CodeNode        = "E0507" // certificate, key and route name different nodes
	CodeTime        = "E0508" // not valid at the time asked about
)

// Failure is why a proof proves nothing.
type Failure struct {
	Code string
	Err  error
}

func (f *Failure) Error() string { return f.Code + " " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Check is one thing that was looked at.
type Check struct {
	What string // "seal", "signature", "certificate", "user", "node" or "time"
	OK   bool
	Text string // what was found; with a failure, why
	Code string // of a failure
}

// Result is what came of all checks, in their order.
type Result struct{ Checks []Check }

// Err is the first *Failure; nil when the proof holds.
func (r *Result) Err() error {
	for _, c := range r.Checks {
		if !c.OK {
			return &Failure{c.Code, errors.New(c.What + ": " + c.Text)}
		}
	}
	return nil
}

func (r *Result) note(what, code, text string, err error) bool {
	c := Check{What: what, OK: err == nil, Text: text}
	if err != nil {
		c.Text, c.Code = err.Error(), code
	}
	r.Checks = append(r.Checks, c)
	return err == nil
}

// Verify checks everything: that at the time at the address-of-record was registered as the values say, in the overlay o, whose root certificates are
// believed, and nothing else.
func (p *Proof) Verify(at time.Time, o *config.Overlay) *Result {
	r := &Result{}
	if p.Overlay != o.InstanceName {
		r.note("overlay", CodeOverlay, "", fmt.Errorf("the proof is about overlay %.80q, not %q", p.Overlay, o.InstanceName))
		return r
	}
	v := trust.NewVerifier(o)
	by, err := p.verifySeal(v)
	r.note("seal", CodeSeal, "written by "+by.User+", node "+p.FetchedBy+", at "+p.Fetched, err)
	body := &wire.StoreReq{Resource: p.resource, Kinds: []wire.StoreKindData{{Kind: wire.KindSIPRegistration, Values: p.values}}}
	signers := v.VerifyValues(at, body, p.certs)
	for i := range p.values {
		p.verifyValue(r, at, &p.values[i], signers[i])
	}
	err = nil
	if wire.ResourceIDOf(p.AOR) != p.resource || !o.AllowsUser(p.AOR) {
		err = fmt.Errorf("%s is not the name of resource %s of this overlay", p.AOR, p.ResourceID)
	}
	r.note("resource", CodeUser, p.ResourceID+" is the hash of "+p.AOR, err)
	return r
}

// verifySeal checks the signature over the file, at the time at which it was written.
func (p *Proof) verifySeal(v *trust.Verifier) (trust.Identity, error) {
	covered, err := p.covered()
	if err != nil {
		return trust.Identity{}, err
	}
	by, err := v.VerifyBlob(p.fetched, covered, p.seal)
	if err == nil && by.Node != p.by {
		err = fmt.Errorf("sealed by node %s, not by %s", by.Node, p.by)
	}
	return by, err
}

// verifyValue checks one value. What its signature does not bear out is not looked into.
func (p *Proof) verifyValue(r *Result, at time.Time, v *wire.StoredData, signer trust.ValueSigner) {
	id := signer.Identity
	if id.Cert == nil || signer.Err != nil {
		err := signer.Err
		if err == nil {
			err = errors.New("not signed")
		}
		what, code := reason(err)
		r.note(what, code, "", err)
		return
	}
	r.note("signature", CodeSignature, "by "+id.User+" over the stored octets", nil)
	cert := id.Cert.X509()
	r.note("certificate", CodeCertificate, fmt.Sprintf("serial %x, issued by %s, until %s", cert.SerialNumber, cert.Issuer.CommonName,
		cert.NotAfter.UTC().Format(time.RFC3339)), nil)
	// RFC 6940 §7.3.3: the user name hashes to the Resource-ID; here it is the address-of-record itself.
	var err error
	if id.User != p.AOR {
		err = fmt.Errorf("the certificate is of %s, not of %s", id.User, p.AOR)
	}
	r.note("user", CodeUser, id.User, err)
	r.note("node", CodeNode, "node "+id.Node.String()+" is in certificate, key and route", sameNode(v, id))
	r.note("time", CodeTime, "stored "+time.UnixMilli(int64(v.StorageTime)).UTC().Format(time.RFC3339)+", until "+p.until(v).Format(time.RFC3339), p.valid(at, v))
}

// reason is which check a refusal belongs to.
func reason(err error) (what, code string) {
	var refusal *trust.RefusalError
	if errors.As(err, &refusal) {
		switch refusal.Reason {
		case trust.BadSignature, trust.Unsigned:
			return "signature", CodeSignature
		case trust.Expired:
			return "time", CodeTime
		}
	}
	return "certificate", CodeCertificate
}

// sameNode checks that a value is the signer's own. RFC 6940 §7.3.3: "the dictionary key MUST be equal to the Node-ID in the certificate"; and our
// gateways register nobody but themselves (RFC 7904 §3.1).
func sameNode(v *wire.StoredData, id trust.Identity) error {
	if !v.Value.Exists || v.Value.Key != string(id.Node.Bytes()) {
		return fmt.Errorf("the record stands under the key %x, the certificate is for node %s", v.Value.Key, id.Node)
	}
	reg, err := wire.ParseSipRegistration(v.Value.Data)
	if err != nil {
		return err
	}
	if reg.Type != wire.SipRegistrationRoute {
		return nil // it forwards to another address-of-record
	}
	if last, ok := reg.Destinations.Last(); !ok || last.Type != wire.DestNode || last.Node != id.Node {
		return fmt.Errorf("the route does not end at node %s", id.Node)
	}
	return nil
}

// valid checks that a value was there at a time.
func (p *Proof) valid(at time.Time, v *wire.StoredData) error {
	stored := time.UnixMilli(int64(v.StorageTime))
	switch end := p.until(v); {
	case at.Before(stored.Truncate(time.Second)):
		return fmt.Errorf("stored at %s, after the time asked about", stored.UTC().Format(time.RFC3339))
	case !at.Before(end):
		return fmt.Errorf("ended at %s; --at asks about an earlier time", end.Format(time.RFC3339))
	}
	return nil
}
