package enroll

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// grant is a request that was authenticated.
type grant struct {
	account string
	byCode  bool   // with a code, not with the password
	secret  secret // that matched
	user    string // wanted; empty: the account's
	nodeIDs int    // wanted
	csr     *x509.CertificateRequest
}

// issue certifies the key of a request, within the policy of its account, which is looked at once more: it may have changed
// since. The certificate is on record before it is returned. Refusals are *RefusedError.
func (a *Accounts) issue(by *trust.Authority, allows func(user string) bool, g *grant, now time.Time) (*x509.Certificate, Issued, error) {
	var cert *x509.Certificate
	var done Issued
	err := a.change(func() (changed bool, err error) {
		n := a.accounts[g.account]
		key := keyHash(g.csr.RawSubjectPublicKeyInfo)
		if n == nil || !n.opens(g, key, now) {
			return false, refuse(FailedAuthentication, "account %q: the credentials are not valid any more", g.account)
		}
		user, err := a.userFor(n, g.user, allows)
		if err != nil {
			return false, err
		}
		if err := a.log.refresh(); err != nil {
			return false, err
		}
		if g.nodeIDs > n.MaxNodeIDs {
			return false, refuse(NodeIDsNotAvailable, "account %q: %d Node-IDs, at most %d", n.Name, g.nodeIDs, n.MaxNodeIDs)
		}
		// RFC 6940 §4.6.2: "The enrollment server's ability to ensure attackers cannot get a large number of certificates for
		// the overlay is one of the cornerstones of RELOAD's security."
		if !a.log.room(holding{n.Name, user, key}, n.MaxCertificates, now) {
			return false, refuse(NodeIDsNotAvailable, "account %q has %d certificates, its limit", n.Name, n.MaxCertificates)
		}
		if changed, err = n.prepare(by, g, key); err != nil {
			return changed, err
		}
		if changed { // before the certificate: it must not be out without them
			if err := a.writeAccounts(); err != nil {
				return true, err
			}
		}
		nodes := n.Nodes[:g.nodeIDs]
		if cert, err = by.IssueNodes(now, user, nodes, g.csr.PublicKey); err != nil {
			return false, refuse(BadCSR, "%w", err)
		}
		done = issuedOf(n.Name, user, nodes, cert)
		return false, a.log.append(done, now)
	})
	return cert, done, err
}

// opens tells whether what matched when the request came still does.
func (a *Account) opens(g *grant, key string, now time.Time) bool {
	if !g.byCode {
		return a.secret == g.secret && a.secret != ""
	}
	if a.code == nil || a.code.secret != g.secret {
		return false
	}
	if a.code.key == "" {
		return now.Before(a.code.until)
	}
	return a.code.key == key // the request is signed with that key
}

// userFor is the user name of the certificate, if the account may have the one that is wanted.
func (a *Accounts) userFor(n *Account, want string, allows func(string) bool) (string, error) {
	if want == "" {
		return n.User, nil
	}
	user, err := CanonicalUser(want)
	if err != nil {
		return "", refuse(UsernameNotAvailable, "%w", err)
	}
	ok, wildcard := n.covers(user)
	if !ok {
		return "", refuse(UsernameNotAvailable, "account %q may not act for %s", n.Name, user)
	}
	if o := a.owner(user); wildcard && o != nil && o.Gateway {
		return "", refuse(UsernameNotAvailable, "%s is the name of the gateway account %q", user, o.Name)
	}
	// RFC 6940 §11.3: "Applications using this specification ... MAY otherwise limit the allowed range of allowed user names."
	if user != n.User && !allows(user) {
		return "", refuse(UsernameNotAvailable, "the overlay's document does not allow the domain of %s", user)
	}
	return user, nil
}

// prepare gives the account the Node-IDs that it lacks and binds its code to the key that used it first. RFC 6940 §11.3: "The
// enrollment server SHOULD maintain a mapping of users to Node-IDs". The mapping is of accounts: a user that two gateways act
// for has a certificate with the Node-ID of each of them.
func (a *Account) prepare(by *trust.Authority, g *grant, key string) (changed bool, err error) {
	for len(a.Nodes) < g.nodeIDs {
		var id wire.NodeID
		if id, err = by.NewNodeID(); err != nil {
			return changed, fmt.Errorf("enroll: %w", err)
		}
		a.Nodes, changed = append(a.Nodes, id), true
	}
	if g.byCode && a.code.key == "" {
		a.code.key, changed = key, true
	}
	return changed, nil
}
