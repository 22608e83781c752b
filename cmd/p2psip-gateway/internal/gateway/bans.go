package gateway

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// maxBansShown is how many bans one answer of the admin server lists; the number of all stands beside them.
const maxBansShown = 1000

// BansReport lists the addresses that are banned, those that stay so for longest first: GET /api/v1/bans. There may be more than are shown.
type BansReport struct {
	Banned int         `json:"banned"`
	Bans   []BanReport `json:"bans"`
}

// BanReport is one of them: an IPv4 address, or the first of the /64 of an IPv6 host.
type BanReport struct {
	Source     string    `json:"source"`
	Code       string    `json:"code"` // why: explain tells more
	Until      time.Time `json:"until"`
	EndsInSecs int64     `json:"ends_in_seconds"`
}

// handleBans shows bans and lifts them.
func handleBans(mux *http.ServeMux, s banner) {
	mux.HandleFunc("GET /api/v1/bans", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.bans()) })
	mux.HandleFunc("DELETE /api/v1/bans/{address}", func(w http.ResponseWriter, r *http.Request) {
		a, err := netip.ParseAddr(r.PathValue("address"))
		if err != nil {
			writeJSON(w, 400, ErrorReport{"want an IP address: " + err.Error()})
			return
		}
		if !s.lift(a) {
			writeJSON(w, 404, ErrorReport{a.String() + " is not banned"})
			return
		}
		writeJSON(w, 200, s.bans())
	})
}

// banner is the part of an adminSource that knows of bans.
type banner interface {
	bans() BansReport
	lift(a netip.Addr) bool
}

func (g *Gateway) bans() BansReport {
	now := time.Now()
	all := g.guard.banned(now)
	r := BansReport{Banned: len(all), Bans: []BanReport{}}
	for _, b := range all[:min(len(all), maxBansShown)] {
		r.Bans = append(r.Bans, BanReport{Source: b.source.String(), Code: codeBanned, Until: b.until.UTC(), EndsInSecs: int64(b.until.Sub(now).Seconds())})
	}
	return r
}

func (g *Gateway) lift(a netip.Addr) bool {
	lifted := g.guard.lift(a.Unmap().WithZone(""), time.Now())
	if lifted {
		g.o.Log.Info().Str("component", "guard").Str("code", codeBanned).Stringer("source", a).Msg("a ban was lifted")
	}
	return lifted
}

// ban is an address that is banned.
type ban struct {
	source netip.Addr
	until  time.Time
}

// banned lists the bans in force, those that end last first. What has ended is taken out of the count.
func (g *guard) banned(now time.Time) (all []ban) {
	if g.bans.Load() == 0 {
		return nil
	}
	g.mu.Lock()
	for a, s := range g.sources {
		switch {
		case s.bannedUntil.IsZero():
		case s.bannedUntil.After(now):
			all = append(all, ban{a, s.bannedUntil})
		default:
			s.bannedUntil = time.Time{}
		}
	}
	g.bans.Store(int64(len(all)))
	g.mu.Unlock()
	slices.SortFunc(all, func(a, b ban) int { return cmp.Or(b.until.Compare(a.until), a.source.Compare(b.source)) })
	return all
}

// lift ends the ban of an address, and forgives what failed there; it reports whether there was one.
func (g *guard) lift(a netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[blockOf(a)]
	if s == nil || !s.bannedUntil.After(now) {
		return false
	}
	s.bannedUntil, s.failures = time.Time{}, 0
	g.bans.Add(-1)
	return true
}
