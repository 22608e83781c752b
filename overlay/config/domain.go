package config

import (
	"fmt"
	"regexp"
	"strings"
)

// DomainRestriction limits the domains of SIP-REGISTRATION (RFC 7904 §3.4). Nil in Overlay means any domain. Without
// Enable only the overlay's own name is allowed.
type DomainRestriction struct {
	Enable   bool
	Patterns []string // POSIX extended regular expressions over the whole domain, in lower case
	compiled []*regexp.Regexp
}

// NewDomainRestriction compiles patterns.
func NewDomainRestriction(enable bool, patterns ...string) (*DomainRestriction, error) {
	d := &DomainRestriction{Enable: enable, Patterns: patterns}
	if len(patterns) > maxPatterns {
		return nil, fmt.Errorf("config: %d domain patterns, at most %d are read", len(patterns), maxPatterns)
	}
	for _, p := range patterns {
		if len(p) > maxPatternLen {
			return nil, fmt.Errorf("config: domain pattern of %d octets, at most %d are read", len(p), maxPatternLen)
		}
		// RFC 7904 §3.4: "interpreted as a regular expression according to POSIX Extended Regular Expression". It says
		// nothing of anchors; its example speaks of whole domains.
		re, err := regexp.CompilePOSIX("^(" + p + ")$")
		if err != nil {
			return nil, fmt.Errorf("config: domain pattern %q: %w", p, err)
		}
		d.compiled = append(d.compiled, re)
	}
	return d, nil
}

// AllowsUser reports whether RFC 7904 §3.4 lets user ("alice@example.org") register in this overlay.
func (o *Overlay) AllowsUser(user string) bool {
	if o.Domains == nil {
		return true // RFC 7904 §3.4: "the default behavior is to accept any AOR"
	}
	_, domain, ok := cutLast(user, '@')
	if !ok {
		return false
	}
	domain = strings.ToLower(domain)
	if !o.Domains.Enable {
		// RFC 7904 §3.4: "the overlay MUST only accept AORs that match the domain name of the overlay"
		return strings.EqualFold(domain, o.InstanceName)
	}
	for _, re := range o.Domains.compiled {
		if re.MatchString(domain) {
			return true
		}
	}
	return false
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
