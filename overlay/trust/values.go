package trust

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// VerifyValues checks the signatures of the stored values in body, a StoreReq, with certs as Verify does (RFC 6940 §7.1):
// for values that this program kept, which no signed message brings any more. There is one entry for each value, in order.
func (v *Verifier) VerifyValues(now time.Time, body *wire.StoreReq, certs []wire.Certificate) []ValueSigner {
	b := &bucket{v: v.current.Load(), now: now, certs: certs}
	return b.values(body, body.Resource)
}
