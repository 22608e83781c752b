package trust

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// VerifyValues checks the signatures of the stored values in body, a StoreReq, with certs as Verify does (RFC 6940 §7.1):
// for values that this program kept, which no signed message brings any more. There is one entry for each value, in order.
func (v *Verifier) VerifyValues(now time.Time, body *wire.StoreReq, certs []wire.Certificate) []ValueSigner {
	b := &bucket{v: v.current.Load(), now: now, certs: certs}
	return b.values(body, body.Resource)
}

// Vouch is Verify for a StoreReq of this program that nobody else has seen: m has no signature, and gets none. by is who has
// signed its values and would have signed it; its certificate must be good, as VerifyOwn has it. m gets by's
// certificates and name. A value that names another signer is verified. The error is a *RefusalError.
func (v *Verifier) Vouch(now time.Time, by *Signer, m *wire.Message) (Verified, error) {
	m.Security.Certificates = AppendCertificates(slices.Clip(m.Security.Certificates), by.bucket...)
	m.Security.Signature = wire.Signature{Hash: wire.HashSHA256, Algorithm: by.algo, Identity: by.name}
	b := &bucket{v: v.current.Load(), now: now, certs: m.Security.Certificates, by: by}
	sender, err := b.signer(by.name)
	if err != nil {
		return Verified{}, err
	}
	return Verified{m: m, sender: sender, values: b.values(m.Body, "")}, nil
}
