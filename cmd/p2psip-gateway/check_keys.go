package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
)

// modeOthers is the access of who is neither the owner nor in the group of a file. A group may be how a key is shared, as with ssl-cert.
const modeOthers = 0o006

// examineKeys warns of private keys, and of secrets that are as good as one, that any user of this host can read or change.
func examineKeys(l *gateway.Loaded) (list []gateway.Problem) {
	c := l.Config
	look := func(key, path string) {
		info, err := os.Stat(path)
		if path == "" || err != nil || info.Mode().Perm()&modeOthers == 0 {
			return // one that is missing is told of by who wants it
		}
		err = fmt.Errorf("E0118 %s: %s is for any user of this host to read or change: mode %#o\n      try: chmod 600 %[2]s", key, path, info.Mode().Perm())
		list = append(list, gateway.Problem{Text: l.Wrong(key, err).Text, Warning: true})
	}
	for _, path := range identity.Secrets(c.Overlay.Identity) {
		look("overlay.identity", path)
	}
	look("sip.tls.key", c.SIP.TLS.Key)
	look("admin.tls.key", c.Admin.TLS.Key)
	look("admin.token_file", c.Admin.TokenFile)
	look("overlay.turn.secret", c.Overlay.TURN.Secret)
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		look("trunks."+name+".register.secret_file", c.Trunks[name].Register.SecretFile)
	}
	return list
}
