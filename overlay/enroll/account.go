package enroll

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Account is who may enroll, and for what (RFC 6940 §4.6.2, §11.3).
type Account struct {
	// Name is what the form field "username" holds: octets, not folded in any way.
	Name string
	// User is the user name that its certificates carry when the request names none.
	User string
	// Gateway accounts are nodes that act for users. Their own user name is out of reach of other accounts' wildcards.
	Gateway bool
	// ActsFor are the other user names that it may have: exact ones, or "*@domain" for all of a domain. A name with a wildcard
	// of its own, a number range like "+4930*@example.org", is exact.
	ActsFor []string
	// Share is for Add, and not kept: the number ranges in ActsFor may overlap those of others.
	Share bool
	// MaxCertificates is how many certificates may be valid at a time. One that is issued again, to the same key and user, is
	// not counted twice.
	MaxCertificates int
	// MaxNodeIDs is how many Node-IDs it may ask for in one certificate.
	MaxNodeIDs int
	// Nodes are its Node-IDs, chosen when they were first needed. They stay with it.
	Nodes   []wire.NodeID
	Created time.Time

	secret secret
	code   *code
}

// code is a one-time code: the first key that is certified with it is the only one.
type code struct {
	secret secret
	until  time.Time // for its first use
	key    string    // of the key that used it; empty: none yet
}

// HasPassword tells whether the account has a password.
func (a *Account) HasPassword() bool { return a.secret != "" }

// CodeUntil is when the code that nobody has used yet ends; zero without one.
func (a *Account) CodeUntil() time.Time {
	if a.code == nil || a.code.key != "" {
		return time.Time{}
	}
	return a.code.until
}

func (a *Account) clone() *Account {
	b := *a
	b.ActsFor, b.Nodes = slices.Clone(a.ActsFor), slices.Clone(a.Nodes)
	if a.code != nil {
		c := *a.code
		b.code = &c
	}
	return &b
}

// complete fills in defaults and checks what an operator gave.
func (a *Account) complete(now time.Time) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
	}
	if a.Name == "" || len(a.Name) > maxName || !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, isControl) {
		return invalid("a name has 1 to %d octets of UTF-8 without control characters", maxName)
	}
	var err error
	if a.User, err = CanonicalUser(a.User); err != nil || numbers.Looks(strings.SplitN(a.User, "@", 2)[0]) {
		return invalid("user name %q: it must be of the form user@domain", a.User)
	}
	if len(a.ActsFor) > maxPatterns {
		return invalid("%d names to act for; at most %d", len(a.ActsFor), maxPatterns)
	}
	for i, p := range a.ActsFor {
		if a.ActsFor[i], err = CanonicalUser(p); err != nil {
			return invalid("%q: it must be user@domain or *@domain", p)
		}
		if name, _, _ := strings.Cut(p, "@"); name != "*" && numbers.Looks(name) && !isRange(a.ActsFor[i]) {
			return invalid("%q: %w", p, trust.ErrRange)
		}
	}
	a.Gateway = a.Gateway || len(a.ActsFor) > 0
	if a.MaxCertificates == 0 {
		a.MaxCertificates = DefaultMaxCertificates
		if a.Gateway {
			a.MaxCertificates = DefaultMaxGatewayCertificates
		}
	}
	if a.MaxNodeIDs == 0 {
		a.MaxNodeIDs = 1
	}
	if a.MaxCertificates < 0 || a.MaxCertificates > maxIssued || a.MaxNodeIDs < 0 || a.MaxNodeIDs > maxNodeIDs {
		return invalid("at most %d certificates and %d Node-IDs", maxIssued, maxNodeIDs)
	}
	a.Created = now.UTC().Truncate(time.Second)
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// CanonicalUser is the one spelling of a user name, "user@domain": the domain in lower case, the rest as it is.
func CanonicalUser(name string) (string, error) {
	user, domain, ok := strings.Cut(name, "@")
	if !ok || user == "" || domain == "" || strings.Contains(domain, "@") || strings.Contains(domain, "*") {
		return "", fmt.Errorf("enroll: user name %q is not of the form user@domain", name)
	}
	for i := range len(name) {
		// RFC 6940 §11.3: "only legal characters in the name (e.g., no embedded NULs)"
		if name[i] <= ' ' || name[i] >= 0x7f {
			return "", fmt.Errorf("enroll: user name %q holds an illegal character", name)
		}
	}
	return user + "@" + strings.ToLower(domain), nil
}

// covers tells whether the policy of a lets it have the user name user, in canonical form. wildcard says that it took one to
// say so.
func (a *Account) covers(user string) (ok, wildcard bool) {
	name, domain, _ := strings.Cut(user, "@")
	switch {
	case name == "*": // a pattern, nobody's name
		return false, false
	case user == a.User || slices.Contains(a.ActsFor, user):
		return true, false
	}
	// A number range stands for many users: it must be named.
	return !numbers.Looks(name) && slices.Contains(a.ActsFor, "*@"+domain), true
}
