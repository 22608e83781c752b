package overlay

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// ErrOtherNode means that a certificate is of another node, or of another key.
var ErrOtherNode = errors.New("overlay: the certificate is of another node or key")

// Renew has the peer use a renewed certificate: what it signs and new connections show it from now on. The links that this
// side has dialled are made anew at once, the others by their other side before the old certificate ends. What is stored in
// the overlay under the old certificate is the caller's to store again (RFC 6940 §7.1).
//
// RFC 6940 §13.3 leaves it at short lifetimes, as there is no revocation: so renewal must cost nobody a call.
func (p *Peer) Renew(self *trust.Signer) error {
	old := p.signer.Load()
	key, ok := self.Key().Public().(interface{ Equal(crypto.PublicKey) bool })
	if self.Identity().Node != p.self || !ok || !key.Equal(old.Key().Public()) {
		return ErrOtherNode
	}
	if p.dtls != nil {
		if err := p.dtls.Use(self); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
	}
	p.tls.Use(self)
	p.signer.Store(self)
	p.count.event(eventRenewed)
	p.watched.look()
	return nil
}

// Signer is what the peer shows and signs with at this time.
func (p *Peer) Signer() *trust.Signer { return p.signer.Load() }
