package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// certifier tells why a gateway has no certificate for a name; nil: it has one, or asks for it when it starts.
type certifier func(location.AOR) error

func newCertifier(dir string, doc *config.Overlay, node *trust.Signer) (certifier, error) {
	_, enrolls, err := identity.LoadEnrollment(dir)
	keys := identity.OpenKeyring(dir, doc, node)
	return func(aor location.AOR) error {
		_, err := keys.Signer(string(aor))
		if errors.Is(err, identity.ErrNoCertificate) && enrolls {
			return nil
		}
		return err
	}, err
}

// examineAccounts looks whether the gateway may take part in who of the overlay uses an account at a provider.
func examineAccounts(l *gateway.Loaded, doc *config.Overlay, certified certifier) (list []gateway.Problem) {
	for _, a := range l.Config.SharedAccounts(cmp.Or(l.Config.Domain, doc.InstanceName)) {
		key := "trunks." + a.Trunk + ".register"
		if !gateway.HasLeases(doc) {
			list = append(list, l.Wrong(key, fmt.Errorf("E0115 %s: the document of the overlay has no Kind 0xf0000002: no gateway can own the account"+
				"\n      try: enroll publish --accounts, with the authority's directory; or owner: none when no other gateway has the account", key)))
		}
		if err := certified(a.Owner); err != nil {
			list = append(list, l.Wrong(key, fmt.Errorf("E0612 %s: no certificate for %s, which stands for the account: %w", key, a.Owner, err)))
		}
	}
	return list
}
