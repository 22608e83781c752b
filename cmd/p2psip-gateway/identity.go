package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

const identityAbout = `Makes the identity directory of one gateway: its key, the certificate with its Node-ID, a copy of the
configuration document, and one certificate for each user that registers through it. Run again with the same --out
it keeps the key and the Node-ID, renews the gateway's certificate, and adds or renews those of the users named.`

var identityCommands = []command{
	{"issue", "with the authority's key: the certificates of a gateway and its users", runIdentityIssue},
	{"self-sign", "in an overlay without authority: a gateway makes its own certificate", runIdentitySelfSign},
}

// runIdentity is `p2psip-gateway identity`.
func runIdentity(ctx context.Context, std stdio, args []string) int {
	return subcommand(ctx, std, "identity", identityCommands, args)
}

// runIdentityIssue is `p2psip-gateway identity issue`.
func runIdentityIssue(_ context.Context, std stdio, args []string) int {
	var r identity.Request
	var users values
	var usersFile, key string
	var share bool
	fs := newFlags(std, "identity issue", "--dir DIR --name NAME --out OUTDIR [flags]", identityAbout)
	fs.StringVar(&r.Dir, "dir", "", "overlay `directory` that `p2psip-gateway init` made")
	fs.StringVar(&r.Name, "name", "", "`name` of the gateway, such as gw1")
	fs.StringVar(&r.Out, "out", "", "identity `directory` to make or to bring up to date")
	fs.Var(&users, "user", "`name` of a user or number range, with or without @domain; may be given more than once")
	fs.BoolVar(&share, "share", false, "number ranges may overlap those of other gateways")
	fs.StringVar(&usersFile, "users", "", "`file` with lines \"user password\"; the passwords are not read")
	fs.BoolVar(&r.AllUsers, "all-users", false, "renew the certificates of every user that OUTDIR holds already")
	fs.DurationVar(&r.Lifetime, "lifetime", trust.DefaultLifetime, "how long the certificates are valid")
	fs.StringVar(&key, "key", "", "`type` of a new key: p256 or rsa2048; without it that of the authority's key")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	if r.Key = trust.KeyType(key); key != "" && !knownKey(r.Key) {
		return usageError(std, fs, fmt.Errorf("--key %s: it must be p256 or rsa2048", key))
	}
	if r.Dir == "" || r.Name == "" || r.Out == "" {
		return usageError(std, fs, errors.New("--dir, --name and --out are needed"))
	}
	if r.Lifetime <= 0 {
		return usageError(std, fs, fmt.Errorf("--lifetime %s: it must be positive", r.Lifetime))
	}
	r.Users = users
	if usersFile != "" {
		more, err := identity.ReadUsers(usersFile)
		if err != nil {
			return failed(std, fs, err)
		}
		r.Users = append(r.Users, more...)
	}
	now := time.Now()
	remarks, err := claimRanges(&r, share, now)
	if err != nil {
		return failed(std, fs, err)
	}
	done, err := identity.Issue(r, now)
	if err != nil {
		return failed(std, fs, err)
	}
	what := "made"
	if done.Renewed {
		what = "renewed"
	}
	fmt.Fprintf(std.out, "identity %s %s in %s\n", done.Node.User, what, r.Out)
	fmt.Fprintf(std.out, "  node      %s, certificate valid until %s\n", done.Node.Node,
		done.Node.Cert.NotAfter.Format(time.DateOnly))
	fmt.Fprintf(std.out, "  users     %d certificates\n", len(done.Users))
	for _, remark := range remarks {
		fmt.Fprintf(std.out, "  remark    %s\n", remark)
	}
	fmt.Fprintf(std.out, "  next      copy %s to the gateway's host, keep it readable for the gateway alone,\n", r.Out)
	fmt.Fprintf(std.out, "            and set overlay.identity in its configuration to that directory\n")
	return exitOK
}
