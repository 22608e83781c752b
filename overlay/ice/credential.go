package ice

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Secret is what the TURN servers of an overlay and their users share; docs/decisions/0006 says how they get it. No one
// who has not got it can use the servers.
type Secret []byte

// Check finds a secret that is too short; the error is ErrTURN.
func (k Secret) Check() error {
	if len(k) < minSecret {
		return fmt.Errorf("%w: a secret of less than %d octets", ErrTURN, minSecret)
	}
	return nil
}

// Credential makes a credential of the long-term mechanism (RFC 8489 §9.2) as of now for user, a Node-ID in text or
// whatever else has neither ':' nor '@'. The user name is "expiry:user@hint", expiry in seconds since 1970, and the password
// is base64(HMAC-SHA1(secret, user name)), which coturn knows as use-auth-secret. It serves for 24 hours.
func (k Secret) Credential(user string, now time.Time) (name, password string) {
	name = fmt.Sprintf("%d:%s@%s", now.Add(credentialLife).Unix(), user, k.hint())
	return name, k.password(name)
}

// hint tells a server that knows several secrets which one was used.
func (k Secret) hint() string {
	sum := sha256.Sum256(k)
	return hex.EncodeToString(sum[:3])
}

func (k Secret) password(name string) string {
	mac := hmac.New(sha1.New, k)
	_, _ = mac.Write([]byte(name))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// claim is a user name of a credential.
type claim struct {
	user, hint string
	expiry     time.Time
}

func parseClaim(name string) (c claim, ok bool) {
	seconds, rest, found := strings.Cut(name, ":")
	n, err := strconv.ParseInt(seconds, 10, 64)
	c.user, c.hint, _ = strings.Cut(rest, "@")
	c.expiry = time.Unix(n, 0)
	return c, found && err == nil && c.user != "" && len(c.user) <= maxUser
}

// secretOf returns the one of all that c names, or the first.
func (c claim) secretOf(all []Secret) Secret {
	for _, k := range all {
		if k.hint() == c.hint {
			return k
		}
	}
	return all[0]
}
