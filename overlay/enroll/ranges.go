package enroll

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/numbers"
)

// RangeHolder is a number range that a gateway may serve, or has a certificate for.
type RangeHolder struct {
	Range string    `json:"range"` // address-of-record: "2xx@example.org"
	Owner string    `json:"owner"` // user name of the gateway
	Until time.Time `json:"until"` // end of its certificate; zero while an account allows it
}

// RangeTakenError is a number range that overlaps one of somebody else: the calls to some numbers would go to either.
type RangeTakenError struct {
	Range  string
	Holder RangeHolder
}

func (e *RangeTakenError) Error() string {
	return fmt.Sprintf("enroll: the number range %s overlaps %s of %s", e.Range, e.Holder.Range, e.Holder.Owner)
}

// isRange reports whether user, "2xx@example.org", is the name of a number range.
func isRange(user string) bool {
	name, _, _ := strings.Cut(user, "@")
	_, ok := numbers.Parse(name)
	return ok
}

// overlap reports whether a number of the same domain is in both of two ranges.
func overlap(a, b string) bool {
	first, domain, _ := strings.Cut(a, "@")
	second, other, _ := strings.Cut(b, "@")
	r, ok := numbers.Parse(first)
	o, also := numbers.Parse(second)
	return ok && also && domain == other && r.Overlaps(o)
}

// ClaimRanges is for who issues certificates of number ranges past the accounts: those of names, in canonical form, that are ranges become owner's until
// the time until. The error is a *RangeTakenError when one overlaps the range of somebody else, unless share is set; then nothing has changed.
func (a *Accounts) ClaimRanges(owner string, names []string, until time.Time, share bool, now time.Time) error {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isRange(n) })
	if len(names) == 0 {
		return nil
	}
	return a.change(func() (bool, error) {
		if err := a.rangesFree(owner, names, share, now); err != nil {
			return false, err
		}
		claims, err := a.claims(now)
		if err != nil {
			return false, err
		}
		claims = slices.DeleteFunc(claims, func(h RangeHolder) bool { return h.Owner == owner && slices.Contains(names, h.Range) })
		for _, n := range names {
			claims = append(claims, RangeHolder{n, owner, until.UTC().Truncate(time.Second)})
		}
		return false, a.writeClaims(claims)
	})
}

// RangeHolders lists who may serve which number ranges at now.
func (a *Accounts) RangeHolders(now time.Time) ([]RangeHolder, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return nil, err
	}
	return a.holders(now)
}

// rangesFree refuses ranges among names that overlap those of others than owner. What is owner's already stays so. a.mu is held.
func (a *Accounts) rangesFree(owner string, names []string, share bool, now time.Time) error {
	if share || !slices.ContainsFunc(names, isRange) {
		return nil
	}
	holders, err := a.holders(now)
	if err != nil {
		return err
	}
	for _, n := range names {
		if slices.ContainsFunc(holders, func(h RangeHolder) bool { return h.Owner == owner && h.Range == n }) {
			continue
		}
		for _, h := range holders {
			if h.Owner != owner && overlap(n, h.Range) {
				return &RangeTakenError{n, h}
			}
		}
	}
	return nil
}

// holders is what accounts may have, what they got while they might, and what was claimed. a.mu is held.
func (a *Accounts) holders(now time.Time) ([]RangeHolder, error) {
	all, err := a.claims(now)
	if err != nil {
		return nil, err
	}
	if err := a.log.refresh(); err != nil {
		return nil, err
	}
	for _, n := range a.accounts {
		for _, p := range n.ActsFor {
			if isRange(p) {
				all = append(all, RangeHolder{Range: p, Owner: n.User})
			}
		}
	}
	for _, e := range a.log.last {
		if !isRange(e.User) || now.After(e.Until) {
			continue
		}
		h := RangeHolder{e.User, e.Account, e.Until}
		if n := a.accounts[e.Account]; n != nil {
			h.Owner = n.User
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(x, y RangeHolder) int {
		return cmp.Or(cmp.Compare(x.Range, y.Range), cmp.Compare(x.Owner, y.Owner), y.Until.Compare(x.Until))
	})
	return slices.CompactFunc(all, func(x, y RangeHolder) bool { return x.Range == y.Range && x.Owner == y.Owner }), nil
}

type rangesJSON struct {
	Version int           `json:"version"`
	Ranges  []RangeHolder `json:"ranges"`
}

const rangesVersion = 1

// claims reads ranges.json, without what has ended. a.mu is held.
func (a *Accounts) claims(now time.Time) ([]RangeHolder, error) {
	path := a.path(rangesFile)
	b, _, err := readFile(path, maxFile)
	if err != nil || b == nil {
		return nil, err
	}
	var j rangesJSON
	if err = json.Unmarshal(b, &j); err == nil && j.Version != rangesVersion {
		err = fmt.Errorf("version %d, %d is read", j.Version, rangesVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return slices.DeleteFunc(j.Ranges, func(h RangeHolder) bool { return now.After(h.Until) }), nil
}

// writeClaims writes ranges.json. The lock is held.
func (a *Accounts) writeClaims(claims []RangeHolder) error {
	b, err := json.MarshalIndent(rangesJSON{rangesVersion, claims}, "", "  ")
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	_, err = replaceFile(a.path(rangesFile), append(b, '\n'))
	return err
}
