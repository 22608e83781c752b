package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// clockSkewShown is from when on a clock is worth a line: one that NTP sets is right to a second.
const clockSkewShown = time.Minute

// Keyring holds the certificates of a gateway's users: *identity.Keyring.
type Keyring interface {
	sipusage.Keyring
	// Verify checks the certificate of a signer that it gave out as those will who are shown it, with the signature of the authority. One
	// that it refuses is not given out any more.
	Verify(*trust.Signer) error
	// First is the certificate that ends first of those in use whose address-of-record counts; the time is zero when there is none.
	First(counts func(aor string) bool) (aor string, end time.Time)
}

// verify has a certificate looked at before it is shown to others: in the background, some time after it was first used.
func (g *Gateway) verify(s *trust.Signer) error {
	err := g.o.Keyring.Verify(s)
	if err != nil {
		g.o.Log.Error().Str("component", "identity").Str("code", "E0305").Str("aor", s.Identity().User).Err(err).Msg("a certificate can not be used any more")
	}
	return err
}

// What ends with what. Calls between phones of one gateway need none of it.
const (
	thenNode     = "the other nodes close their links with this one: no calls to or from other gateways, and nothing is stored"
	thenUser     = "the other gateways do not find the user here any more"
	thenDocument = "no node can join, and this one not again when it has left"
)

// validity is until when this node can go on without any server.
func (g *Gateway) validity() []EndReport {
	ends := []EndReport{{What: "certificate of this node", Until: g.peer.Signer().Identity().Cert.NotAfter, Then: thenNode}}
	now := time.Now()
	aor, end := g.o.Keyring.First(func(aor string) bool { return len(g.bindings.Get(location.AOR(aor), now)) > 0 })
	if !end.IsZero() {
		ends = append(ends, EndReport{What: "certificate of " + aor, Until: end, Then: thenUser})
	}
	if end := g.peer.Config().Expiration; !end.IsZero() {
		ends = append(ends, EndReport{What: "configuration document", Until: end, Then: thenDocument})
	}
	for i := range ends {
		ends[i].Until = ends[i].Until.UTC()
	}
	slices.SortStableFunc(ends, func(a, b EndReport) int { return a.Until.Compare(b.Until) })
	return ends
}

// servers is how the configuration and enrollment servers stand.
func (g *Gateway) servers() []ServerReport {
	if g.o.Servers == nil {
		return []ServerReport{}
	}
	return g.o.Servers()
}

// remarks are lines for people about what works today and is going to end, or has to be looked after.
func (r *StatusReport) remarks(now time.Time) []string {
	var lines []string
	if r.JoinFailed != "" {
		lines = append(lines, "E0309 nobody has let this node into the overlay yet, it goes on trying: "+r.JoinFailed)
	}
	if r.Uncertified > 0 {
		lines = append(lines, fmt.Sprintf("E0117 %d of the users registered here have no certificate: other gateways do not find them (local-only in reg ls)", r.Uncertified))
	}
	for i, e := range r.Valid {
		switch {
		case !now.Before(e.Until):
			lines = append(lines, fmt.Sprintf("%s ended at %s: %s", e.What, e.Until.Format(time.RFC3339), e.Then))
		case i == 0 || !now.Before(r.Valid[i-1].Until):
			lines = append(lines, fmt.Sprintf("good until %s, the end of the %s: then %s", e.Until.Format(time.RFC3339), e.What, e.Then))
		}
	}
	if skew := time.Duration(r.ClockSkew * float64(time.Second)).Round(time.Second); skew.Abs() >= clockSkewShown {
		lines = append(lines, fmt.Sprintf("the clock of this node is %v %s those of its neighbours: check NTP, with timedatectl or chronyc tracking", skew.Abs(),
			map[bool]string{true: "behind", false: "ahead of"}[skew > 0]))
	}
	switch l := r.LastReload; {
	case l == nil:
	case l.Error != "":
		what, _, _ := strings.Cut(l.Error, "\n")
		lines = append(lines, fmt.Sprintf("the configuration was not read again at %s, the one before stays: %s", l.Time.Format(time.RFC3339), what))
	case len(l.Restart) > 0:
		lines = append(lines, "these keys of the configuration wait for a restart: "+strings.Join(keysOf(l.Restart), ", "))
	}
	for _, s := range r.Servers {
		if !s.Since.IsZero() {
			lines = append(lines, fmt.Sprintf("enrollment server %s unreachable since %s (%s): everything goes on until then, but nothing is renewed", s.Server,
				s.Since.Format(time.RFC3339), cmp.Or(s.Error, "no answer")))
		}
	}
	return lines
}

// Remarks are lines for people about what works today and is going to end, or has to be looked after.
func (r *StatusReport) Remarks() []string { return r.remarks(time.Now()) }
