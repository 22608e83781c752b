package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// Problem is something that a look at the files, the names and the ports of a configuration finds.
type Problem struct {
	Text    string // one line: place, code, key, why; and one of what to do behind it
	Warning bool   // the node would start
}

// Limits of Examine.
const (
	examineDNS   = 3 * time.Second     // for each name
	expiresSoon  = 14 * 24 * time.Hour // before which a certificate is complained of
	examineNames = 32                  // names looked up
)

// examination collects problems.
type examination struct {
	*Loaded
	now  time.Time
	list []Problem
}

// Examine looks at what a configuration refers to, without running anything: certificates, secrets, directories, names, and whether the
// ports can be had. Identity, document and users are for whoever reads them. It may take some seconds.
func Examine(ctx context.Context, l *Loaded, now time.Time) []Problem {
	e := &examination{Loaded: l, now: now}
	e.tls("sip.tls", l.Config.SIP.TLS.Cert, l.Config.SIP.TLS.Key)
	for _, f := range []struct{ key, path string }{{"sip.tls.ca", l.Config.SIP.TLS.CA}, {"sip.tls.client_ca", l.Config.SIP.TLS.ClientCA},
		{"admin.tls.client_ca", l.Config.Admin.TLS.ClientCA}} {
		if _, err := sipRoots(f.key, f.path); err != nil {
			e.file(f.key, err)
		}
	}
	if _, err := readLists(l.Config.SIP.TLS.CRL); err != nil {
		e.Wrong("sip.tls.crl", err)
	}
	if _, err := l.Config.Overlay.TURN.secrets(l.Config.Overlay.Identity); err != nil {
		e.file("overlay.turn.secret", err)
	}
	e.tls("admin.tls", l.Config.Admin.TLS.Cert, l.Config.Admin.TLS.Key)
	if _, err := l.Config.Admin.token(); err != nil {
		e.Wrong("admin.token_file", err)
	}
	e.trunks()
	e.directory()
	if _, err := sipListeners(l.Config.SIP); err != nil {
		e.Wrong("sip.listen", err)
	}
	e.names(ctx)
	e.ports()
	return e.list
}

// Wrong is the problem with a key that an error tells of, with the place where the key was set in front.
func (l *Loaded) Wrong(key string, err error) Problem {
	return Problem{Text: l.place(key) + " " + err.Error()}
}

func (e *examination) Wrong(key string, err error) { e.list = append(e.list, e.Loaded.Wrong(key, err)) }

func (e *examination) file(key string, err error) {
	e.Wrong(key, fmt.Errorf("E0106 %s: %w", key, errors.New(strings.TrimPrefix(err.Error(), key+": "))))
}

func (e *examination) warn(key, code, format string, args ...any) {
	e.list = append(e.list, Problem{e.place(key) + " " + code + " " + key + ": " + fmt.Sprintf(format, args...), true})
}

// tls looks at a certificate and its key.
func (e *examination) tls(key, cert, file string) {
	if cert == "" || file == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, file)
	if err != nil {
		e.file(key, err)
		return
	}
	switch leaf := pair.Leaf; {
	case e.now.After(leaf.NotAfter):
		e.file(key, fmt.Errorf("%s ended at %s", cert, leaf.NotAfter.UTC().Format(time.RFC3339)))
	case e.now.Before(leaf.NotBefore):
		e.file(key, fmt.Errorf("%s is good from %s on: is the clock right?", cert, leaf.NotBefore.UTC().Format(time.RFC3339)))
	case leaf.NotAfter.Sub(e.now) < expiresSoon:
		e.warn(key, "E0107", "%s ends at %s", cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if host := e.Config.SIP.Advertise; key == "sip.tls" && host != "" && pair.Leaf.VerifyHostname(host) != nil && pair.Leaf.VerifyHostname(e.Config.Domain) != nil {
		e.warn(key, "E0107", "%s is neither for %s nor for %s, where phones look for it (RFC 5922 section 7.2)", cert, host, e.Config.Domain)
	}
}

// trunks looks for routes that never decide, and for sources that two trunks claim.
func (e *examination) trunks() {
	p, err := e.Config.plan()
	if err != nil {
		e.list = append(e.list, Problem{Text: e.place("trunks") + " " + err.Error()})
		return
	}
	for _, s := range p.Shadowed() {
		e.warn(fmt.Sprintf("routes[%d].match", s[0]), "E0110", "%q never decides: %q does for all of its numbers", p.Routes()[s[0]].Match, p.Routes()[s[1]].Match)
	}
	for _, o := range p.Overlaps() {
		e.warn("trunks."+o.Trunk+".accept_from", "E0111", "%s is within what trunk %s accepts: requests from there are from %s, where they are what both accept", o.Network, o.Other, o.Trunk)
	}
}

// directory looks whether the durable state can be written.
func (e *examination) directory() {
	dir := e.Config.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return // is made
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%s is no directory", dir)
	case err == nil:
		err = syscall.Access(dir, 0x2 /* W_OK */)
	}
	if err != nil {
		e.file("data", fmt.Errorf("%s: %w", dir, err))
	}
}

// names looks names up that have to lead somewhere.
func (e *examination) names(ctx context.Context) {
	asked := 0
	ask := func(key, host string) {
		if _, err := netip.ParseAddr(host); err == nil || host == "" || asked == examineNames {
			return
		}
		asked++
		ctx, cancel := context.WithTimeout(ctx, examineDNS)
		defer cancel()
		if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			e.warn(key, "E0108", "%q leads nowhere: %v", host, err)
		}
	}
	if host, ok := bareHost(e.Config.SIP.Advertise); ok {
		ask("sip.advertise", host)
	}
	o := e.Config.Overlay
	for _, l := range []struct {
		key  string
		list List
	}{{"overlay.bootstrap", o.Bootstrap}, {"overlay.advertise", o.Advertise}, {"overlay.sip_advertise", o.SIPAdvertise}} {
		for _, s := range l.list {
			_, at, ok := strings.Cut(s, "://")
			if !ok {
				at = s
			}
			host, _, err := net.SplitHostPort(at)
			if err != nil {
				e.Wrong(l.key, fmt.Errorf("E0104 %s: %q: want host:port", l.key, s))
				continue
			}
			ask(l.key, host)
		}
	}
}

// ports tries whether each address can be listened on. When that of the admin server can not, a node runs with this configuration, most
// likely, and has its ports.
func (e *examination) ports() {
	if err := tryPort("tcp", "admin.listen", e.Config.Admin.Listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			e.warn("admin.listen", "E0109", "%s is in use, by this node I suppose: no port was tried", e.Config.Admin.Listen)
			return
		}
		e.Wrong("admin.listen", err)
	}
	o := e.Config.Overlay
	for _, s := range []struct {
		key  string
		list List
	}{{"sip.listen", e.Config.SIP.Listen}, {"overlay.listen", o.Listen}, {"overlay.sip_listen", o.SIPListen}, {"overlay.turn.listen", List{o.TURN.Listen}}} {
		for _, l := range s.list {
			scheme, _, _ := strings.Cut(l, "://")
			network := "tcp"
			if scheme == "udp" || scheme == "dtls" {
				network = "udp"
			}
			if l == "" {
				continue
			}
			if err := tryPort(network, s.key, hostport(l)); err != nil {
				e.Wrong(s.key, err)
			}
		}
	}
}

func tryPort(network, key, address string) error {
	if network == "udp" {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			return inUse(key, address, err)
		}
		return c.Close()
	}
	l, err := listen(key, address)
	if err != nil {
		return err
	}
	return l.Close()
}
