package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

const codeRangeTaken = "E0308" // a number range that overlaps one of somebody else

const rangesUsage = "`names` of number ranges, such as 2xx,+49301234*: ranges with prefixes of the same length, and as many digits behind them, are looked for"

// planOf reads the names of ranges with commas between, and is the plan by which such ranges are found.
func planOf(list string) (numbers.Plan, error) {
	var shapes []numbers.Shape
	for name := range strings.SplitSeq(list, ",") {
		r, ok := numbers.Parse(strings.TrimSpace(name))
		if !ok {
			return nil, fmt.Errorf("--ranges %s: %w", name, trust.ErrRange)
		}
		shapes = append(shapes, r.Shape())
	}
	plan := numbers.NewPlan(shapes...)
	for _, s := range shapes {
		if !plan.Has(s) {
			return nil, fmt.Errorf("--ranges: more than %d kinds of ranges: a call would ask for as many names", numbers.MaxShapes)
		}
	}
	return plan, nil
}

// claimRanges notes in the overlay directory of r that the gateway of r has the number ranges among its users, and refuses those that overlap the ranges of
// another gateway, unless share is set. remarks are for the operator.
func claimRanges(r *identity.Request, share bool, now time.Time) (remarks []string, err error) {
	o, _, err := identity.LoadDocument(filepath.Join(r.Dir, identity.DocumentFile), now)
	if err != nil {
		return nil, err
	}
	owner, ranges, err := rangesIn(r, o)
	if err != nil || len(ranges) == 0 {
		return nil, err
	}
	for _, name := range ranges {
		user, _, _ := strings.Cut(name, "@")
		if one, ok := numbers.Parse(user); ok && !o.Ranges.Has(one.Shape()) {
			remarks = append(remarks, fmt.Sprintf("nobody looks for ranges like %s yet: p2psip-gateway enroll publish --dir %s --ranges %s", user, r.Dir, user))
		}
	}
	accounts, err := openAccounts(r.Dir)
	if err != nil {
		return nil, err
	}
	err = accounts.ClaimRanges(owner, ranges, now.Add(r.Lifetime), share, now)
	var taken *enroll.RangeTakenError
	switch {
	case errors.As(err, &taken):
		return nil, rangeTaken(taken)
	case err != nil:
		return nil, &identity.Error{Code: codeAccounts, What: "cannot note whose ranges these are", Path: r.Dir, Err: err}
	}
	return remarks, nil
}

// rangesIn is the gateway that r is about, and the number ranges that it asks for or has to be renewed, all in canonical form. A name that can not
// be certified is left to who does that.
func rangesIn(r *identity.Request, o *config.Overlay) (owner string, ranges []string, err error) {
	if owner, err = identity.AOR(r.Name, o.InstanceName); err != nil {
		return "", nil, nil
	}
	users := r.Users
	if r.AllUsers {
		more, err := identity.UsersIn(r.Out)
		if err != nil {
			return "", nil, err
		}
		users = append(users[:len(users):len(users)], more...)
	}
	for _, u := range users {
		aor, err := identity.AOR(u, o.InstanceName)
		if user, _, _ := strings.Cut(aor, "@"); err == nil {
			if _, ok := numbers.Parse(user); ok {
				ranges = append(ranges, aor)
			}
		}
	}
	return owner, ranges, nil
}

func rangeTaken(taken *enroll.RangeTakenError) error {
	return &identity.Error{Code: codeRangeTaken, What: "the number range overlaps one of another gateway", Path: fmt.Sprintf("%q", taken.Range),
		Err: fmt.Errorf("%s belongs to %s", taken.Holder.Range, taken.Holder.Owner),
		Try: "a range of other numbers, or --share when both gateways are to serve them: each call goes to one, and to the next when that fails"}
}

// examineRanges looks whether the gateway may publish the numbers that its routes publish, and whether anybody would look for them.
func examineRanges(l *gateway.Loaded, doc *config.Overlay, certified certifier) (list []gateway.Problem) {
	names, err := l.Config.PublishedNames(cmp.Or(l.Config.Domain, doc.InstanceName))
	if err != nil {
		return nil // gateway.Examine tells
	}
	for _, aor := range names {
		if err := certified(aor); err != nil {
			list = append(list, l.Wrong("routes", fmt.Errorf("E0112 routes: %s is published without a certificate: %w", aor, err)))
		}
		if !gateway.LookedFor(doc, aor) {
			list = append(list, gateway.Problem{Warning: true,
				Text: l.Wrong("routes", fmt.Errorf("E0113 routes: nobody looks for ranges like %s: the document of the overlay does not have them", aor)).Text})
		}
	}
	return list
}

// runEnrollRanges is `p2psip-gateway enroll ranges`.
func runEnrollRanges(_ context.Context, std stdio, args []string) int {
	fs := newFlags(std, "enroll ranges", "--dir DIR", "Lists the number ranges that gateways may serve, by accounts or by certificates that were issued.")
	accounts, code := accountsOf(std, fs, args)
	if accounts == nil {
		return code
	}
	holders, err := accounts.RangeHolders(time.Now())
	if err != nil {
		return failed(std, fs, accountFailed("", err))
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RANGE\tGATEWAY\tUNTIL")
	for _, h := range holders {
		until := "-"
		if !h.Until.IsZero() {
			until = h.Until.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", h.Range, h.Owner, until)
	}
	return flush(w)
}
