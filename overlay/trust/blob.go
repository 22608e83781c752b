package trust

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// VerifyBlob checks encoded, a SecurityBlock as Signer.SignBlob makes it, over blob, and says who signed. The error is a *RefusalError.
func (v *Verifier) VerifyBlob(now time.Time, blob, encoded []byte) (Identity, error) {
	block, err := wire.ParseSecurityBlock(encoded)
	if err != nil {
		return Identity{}, &RefusalError{BadSignature, err}
	}
	b := &bucket{v: v.current.Load(), now: now, certs: block.Certificates}
	return b.check(block.Signature, func() []byte { return blob }, checkSignature)
}
