package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// sourceFlags are the flags that say what the configuration of a node is.
type sourceFlags struct {
	file  string
	flags []gateway.Override
}

// shorthands are flags for the keys that are set first.
var shorthands = []struct{ flag, key, about string }{
	{"role", "role", "`role`: proxy, gateway or redirect"},
	{"domain", "domain", "SIP `domain`"},
	{"sip", "sip.listen", "SIP `listeners`, such as \"udp://192.0.2.1:5060 tls://192.0.2.1:5061\""},
	{"advertise", "sip.advertise", "`host` that phones are told"},
	{"overlay-listen", "overlay.listen", "`listeners` for overlay links, such as tls://192.0.2.1:6084"},
	{"bootstrap", "overlay.bootstrap", "`peers` to join through: host:port"},
	{"web", "admin.listen", "`address` of the admin server"},
	{"log", "log.level", "`level`: debug, info, warn or error"},
}

func newSourceFlags(fs *flag.FlagSet) *sourceFlags {
	s := &sourceFlags{}
	fs.StringVar(&s.file, "c", "", "configuration `file`")
	fs.Func("set", "`key=value`: any key of docs/configuration.md; may be given more than once", func(text string) error {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("%q: want key=value", text)
		}
		s.flags = append(s.flags, gateway.Override{Key: key, Value: value, Origin: "flag --set"})
		return nil
	})
	for _, h := range shorthands {
		fs.Func(h.flag, h.about, func(value string) error {
			s.flags = append(s.flags, gateway.Override{Key: h.key, Value: value, Origin: "flag --" + h.flag})
			return nil
		})
	}
	return s
}

// parse reads the flags of a command that takes a configuration and nothing else.
func (s *sourceFlags) parse(std stdio, fs *flag.FlagSet, args []string) (code int, ok bool) {
	code, ok = parseFlags(std, fs, args)
	if ok && s.file == "" {
		fmt.Fprintf(std.err, "p2psip-gateway %s: which configuration?\n      try: p2psip-gateway %s -c gateway.yaml\n", fs.Name(), fs.Name())
		return exitUsage, false
	}
	return code, ok
}

func (s *sourceFlags) source() gateway.Source {
	return gateway.Source{File: s.file, Environ: os.Environ(), Flags: s.flags}
}
