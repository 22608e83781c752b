package gateway

import (
	"slices"
	"strings"
	"time"
)

// Reload reads the configuration and the users again. All that can change while the node runs changes, or, when there is anything wrong with
// either file, nothing does. Calls and registrations go on. It is safe for concurrent use.
func (g *Gateway) Reload() ReloadReport {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	r := g.reload()
	g.lastReload.Store(&r)
	log := g.o.Log.With().Str("component", "config").Logger()
	switch {
	case r.Error != "":
		log.Error().Str("code", codeNotReloaded).Str("error", strings.ReplaceAll(r.Error, "\n", "; ")).Msg("the configuration was not read again; the one before stays")
	case len(r.Restart) > 0:
		log.Warn().Strs("changed", keysOf(r.Changed)).Strs("restart", keysOf(r.Restart)).Str("users", r.Users.String()).
			Msg("the configuration was read again; some of it needs a restart")
	default:
		log.Info().Strs("changed", keysOf(r.Changed)).Str("users", r.Users.String()).Msg("the configuration was read again")
	}
	if g.o.Reloaded != nil {
		g.o.Reloaded()
	}
	return r
}

// codeNotReloaded: a file that was read again has a mistake.
const codeNotReloaded = "E0207"

func (g *Gateway) reload() ReloadReport {
	r := ReloadReport{Time: time.Now().UTC(), Changed: []ChangeReport{}, Restart: []ChangeReport{}}
	if g.o.Reread == nil {
		r.Error = "this node has no configuration file"
		return r
	}
	l, users, err := g.o.Reread()
	if err != nil {
		r.Error = err.Error()
		return r
	}
	old := g.inForce()
	f, err := newInForce(old.config, l, users)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	if err := g.relisten(old, f); err != nil { // the only part that can fail once the file is read
		r.Error = err.Error()
		return r
	}
	for _, s := range settings {
		if s.index == nil {
			continue
		}
		change := func(from *Config) ChangeReport { return ChangeReport{s.Key, from.Value(s), l.Config.Value(s)} }
		switch started := &g.o.Loaded.Config; {
		case s.Live && differ(s, &old.config, &l.Config):
			r.Changed = append(r.Changed, change(&old.config))
		case !s.Live && differ(s, started, &l.Config):
			r.Restart = append(r.Restart, change(started))
		}
	}
	r.Users.Added, r.Users.Removed, r.Users.Changed = users.Compare(old.users)
	g.apply(f)
	return r
}

// apply puts f in force. Nothing of this fails.
func (g *Gateway) apply(f *inForce) {
	if g.makeRegistrar != nil {
		f.registrar = g.makeRegistrar(f)
	}
	old := g.current.Swap(f)
	g.guard.set(g.guardConfig(f))
	g.flows.SetNetworks(f.allow, f.deny)
	g.watchTrunks()
	g.registerAccounts()
	if g.trunks != nil {
		g.trunks.Set(f.plan)
	}
	g.load.set(f.config.SIP.QueueDelay, f.emergencyNumbers())
	if g.o.Level != nil {
		g.o.Level(f.config.Log.Level)
	}
	g.publishRoutes()
	close(old.over)
}

// configuration is what is in force, and where it comes from.
func (g *Gateway) configuration() ConfigReport {
	f := g.inForce()
	r := ConfigReport{LastReload: g.lastReload.Load()}
	for _, s := range settings {
		if s.index == nil {
			continue
		}
		from := g.o.Loaded
		if s.Live {
			from = f.loaded
		}
		r.Settings = append(r.Settings, SettingReport{s.Key, f.config.Value(s), from.Origin(s.Key)})
	}
	return r
}

func keysOf(changes []ChangeReport) []string {
	keys := make([]string, 0, len(changes))
	for _, c := range changes {
		keys = append(keys, c.Key)
	}
	return slices.Clip(keys)
}
