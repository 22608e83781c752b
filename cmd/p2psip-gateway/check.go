package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

const checkAbout = `Reads a configuration as a start would, looks at everything that it names, and says what is wrong: files, certificates,
users, names, ports that are taken. Exits 1 when something is.`

// runCheck is `p2psip-gateway check`: everything that can be found out about a configuration without running it.
func runCheck(ctx context.Context, std stdio, args []string) int {
	fs := newFlags(std, "check", "-c FILE [flags]", checkAbout)
	flags := newSourceFlags(fs)
	dial := fs.String("dial", "", "`numbers`, with commas between: show what routes and translations make of them, and nothing else")
	if code, ok := flags.parse(std, fs, args); !ok {
		return code
	}
	l, err := gateway.Load(flags.source())
	if err != nil {
		fmt.Fprintln(std.err, err)
		fmt.Fprintf(std.err, "%s: %d problems\n", flags.file, problemsIn(err))
		return exitConfig
	}
	if *dial != "" {
		return dialTable(std.out, l, strings.Split(*dial, ","))
	}
	errors, warnings := 0, 0
	for _, p := range slices.Concat(examineIdentity(l, time.Now()), examineKeys(l), gateway.Examine(ctx, l, time.Now())) {
		if p.Warning {
			warnings++
			p.Text = "warning: " + p.Text
		} else {
			errors++
		}
		fmt.Fprintln(std.err, p.Text)
	}
	if errors > 0 {
		fmt.Fprintf(std.err, "%s: %d problems, %d warnings; p2psip-gateway explain CODE says more\n", flags.file, errors, warnings)
		return exitConfig
	}
	fmt.Fprintf(std.out, "%s: good, %d warnings\n", flags.file, warnings)
	return exitOK
}

// problemsIn counts the lines that are no hint of what to do.
func problemsIn(err error) (n int) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, " ") {
			n++
		}
	}
	return n
}

// domainIs tells why a SIP domain does not fit the overlay: RFC 7904 §3.3 has the user names of certificates equal to the addresses-of-record.
func domainIs(domain string, doc *config.Overlay) error {
	if domain == "" || strings.EqualFold(domain, doc.InstanceName) {
		return nil
	}
	return fmt.Errorf("E0116 domain: %s is not the name of the overlay, %s: nobody could find users of %[1]s\n      try: domain: %[2]s, or an identity of the overlay %[1]s",
		domain, doc.InstanceName)
}

// examineIdentity looks at the document, the certificate of the node and the users, as the start would.
func examineIdentity(l *gateway.Loaded, now time.Time) (list []gateway.Problem) {
	c := l.Config
	domain := c.Domain
	name, err := identity.OverlayName(c.Overlay.Identity)
	if err != nil {
		list = append(list, l.Wrong("overlay.identity", err))
	} else if doc, _, warnings, err := identity.OpenDocument(c.Overlay.Document, name, now); err != nil {
		list = append(list, l.Wrong("overlay.document", err))
	} else {
		if err := domainIs(domain, doc); err != nil {
			list = append(list, l.Wrong("domain", err))
		}
		domain = cmp.Or(domain, doc.InstanceName)
		for _, w := range warnings {
			list = append(list, gateway.Problem{Text: c.Overlay.Document + ": " + w, Warning: true})
		}
		if node, err := identity.LoadNode(c.Overlay.Identity, doc, now); err != nil {
			list = append(list, l.Wrong("overlay.identity", err))
		} else {
			certified, err := newCertifier(c.Overlay.Identity, doc, node)
			if err != nil {
				list = append(list, l.Wrong("overlay.identity", err))
			}
			list = append(append(list, examineRanges(l, doc, certified)...), examineAccounts(l, doc, certified)...)
			if !doc.SelfSignedPermitted {
				list = append(list, examineUsers(l, domain, certified)...)
			}
		}
	}
	users, err := loadUsers("registrar.users", c.Registrar.Users, domain)
	switch {
	case err != nil:
		list = append(list, l.Wrong("registrar.users", err))
	case users.Len() == 0 && c.Role == gateway.RoleProxy:
		list = append(list, gateway.Problem{Text: l.Wrong("registrar.users", fmt.Errorf("E0203 registrar.users: %s names no user", c.Registrar.Users)).Text, Warning: true})
	}
	return list
}

// examineUsers warns of users for whom there is no certificate.
func examineUsers(l *gateway.Loaded, domain string, certified certifier) []gateway.Problem {
	names, err := identity.ReadUsers(l.Config.Registrar.Users)
	if err != nil {
		return nil // told by whoever reads the passwords
	}
	var without []string
	for _, name := range names {
		if aor, err := identity.AOR(name, domain); err == nil && errors.Is(certified(location.AOR(aor)), identity.ErrNoCertificate) {
			without = append(without, name)
		}
	}
	if len(without) == 0 {
		return nil
	}
	err = fmt.Errorf("E0117 registrar.users: %d without a certificate, other gateways will not find them: %s", len(without),
		strings.Join(without[:min(len(without), shownUsers)], ", "))
	return []gateway.Problem{{Text: l.Wrong("registrar.users", err).Text, Warning: true}}
}

var configCommands = []command{{"show", "-c FILE: what holds, and where each value comes from", runConfigShow}}

// runConfig is `p2psip-gateway config`.
func runConfig(ctx context.Context, std stdio, args []string) int {
	return subcommand(ctx, std, "config", configCommands, args)
}

// runConfigShow is `p2psip-gateway config show`. Secrets are masked.
func runConfigShow(_ context.Context, std stdio, args []string) int {
	fs := newFlags(std, "config show", "-c FILE [flags]", "Shows the keys of a configuration that have not their default, as a start would read them. Secrets are masked.")
	flags := newSourceFlags(fs)
	effective := fs.Bool("effective", false, "every key, also those that have their default")
	origin := fs.Bool("origin", false, "where each value comes from")
	asJSON := fs.Bool("json", false, "print JSON")
	if code, ok := flags.parse(std, fs, args); !ok {
		return code
	}
	l, err := gateway.Load(flags.source())
	if err != nil {
		fmt.Fprintln(std.err, err)
		return exitConfig
	}
	var values []gateway.SettingReport
	for _, v := range l.Values() {
		if *effective || v.Origin != "default" {
			values = append(values, v)
		}
	}
	if *asJSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		if enc.Encode(gateway.ConfigReport{Settings: values}) != nil {
			return exitFatal
		}
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, v := range values {
		fmt.Fprintf(w, "%s:\t%s", v.Key, v.Value)
		if *origin {
			fmt.Fprintf(w, "\t# %s", v.Origin)
		}
		fmt.Fprintln(w)
	}
	return flush(w)
}
