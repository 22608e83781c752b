package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const selfSignAbout = `Makes the identity directory of a gateway in an overlay that has no authority (init --self-signed): its key, and a
certificate that the key signs itself, with a Node-ID that follows from the key. Before, the overlay is asked through its
bootstrap nodes whether somebody has the name already. Run again with the same --out it renews the certificate.
Nobody owns a name in such an overlay: use it among people who trust each other.`

const askWait = 10 * time.Second // for the overlay, when a name or a document is its business

type selfSignOptions struct {
	document, name, out, key, usersFile string
	users, bootstrap                    values
	lifetime                            time.Duration
}

// runIdentitySelfSign is `p2psip-gateway identity self-sign`.
func runIdentitySelfSign(ctx context.Context, std stdio, args []string) int {
	var o selfSignOptions
	fs := newFlags(std, "identity self-sign", "--document FILE --name NAME --out OUTDIR [flags]", selfSignAbout)
	fs.StringVar(&o.document, "document", "", "configuration document of the overlay: `overlay.xml`")
	fs.StringVar(&o.name, "name", "", "`name` of the gateway, such as gw1")
	fs.StringVar(&o.out, "out", "", "identity `directory` to make or to bring up to date")
	fs.StringVar(&o.key, "key", string(trust.P256), "`type` of a new key: p256 or rsa2048")
	fs.Var(&o.users, "user", "`name` of a user, with or without @domain; may be given more than once. A gateway certifies others when they register")
	fs.StringVar(&o.usersFile, "users", "", "`file` with lines \"user password\"; the passwords are not read")
	fs.Var(&o.bootstrap, "bootstrap", "`host:port` of a node to ask, besides the document's; may be given more than once")
	fs.DurationVar(&o.lifetime, "lifetime", trust.DefaultLifetime, "how long the certificates are valid")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	switch {
	case o.document == "" || o.name == "" || o.out == "":
		return usageError(std, fs, errors.New("--document, --name and --out are needed"))
	case !knownKey(trust.KeyType(o.key)):
		return usageError(std, fs, fmt.Errorf("--key %s: it must be p256 or rsa2048", o.key))
	case o.lifetime <= 0:
		return usageError(std, fs, fmt.Errorf("--lifetime %s: it must be positive", o.lifetime))
	}
	if err := o.run(ctx, std); err != nil {
		return failed(std, fs, err)
	}
	return exitOK
}

func knownKey(t trust.KeyType) bool { return t == trust.P256 || t == trust.RSA2048 }

func (o *selfSignOptions) run(ctx context.Context, std stdio) error {
	c, raw, warnings, err := identity.OpenDocument(o.document, "", time.Now())
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(std.err, "warning: %s: %s\n", o.document, w)
	}
	again := identity.HoldsNode(o.out)
	self, err := identity.SelfSign(o.out, c, o.name, trust.KeyType(o.key), o.lifetime)
	if err != nil {
		return err
	}
	free := "not asked for again: the certificate was renewed"
	if !again {
		if free, err = o.free(ctx, c, self); err != nil {
			return err
		}
	}
	if err := errors.Join(identity.SaveNode(o.out, self, c.InstanceName), identity.SaveDocument(o.out, raw)); err != nil {
		return err
	}
	n, err := o.certifyUsers(c, self)
	if err != nil {
		return err
	}
	id := self.Identity()
	fmt.Fprintf(std.out, "identity %s of overlay %s in %s\n", id.User, c.InstanceName, o.out)
	fmt.Fprintf(std.out, "  node      %s, certificate valid until %s\n", id.Node, id.Cert.NotAfter.Format(time.DateOnly))
	fmt.Fprintf(std.out, "  name      %s\n", free)
	fmt.Fprintf(std.out, "  users     %d certificates\n", n)
	fmt.Fprintf(std.out, "  next      set overlay.identity to %s in the gateway's configuration\n", o.out)
	return nil
}

// free asks the overlay whether the name of self is free. RFC 6940 §11.3.1: the node "SHOULD look to see if the user name is already
// taken and, if so, choose another user name."
func (o *selfSignOptions) free(ctx context.Context, c *config.Overlay, self *trust.Signer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	user := self.Identity().User
	v := overlay.Visitor{Overlay: c, Self: self, Addresses: append(slices.Clone(o.bootstrap), bootstrapOf(c)...)}
	values, err := v.Fetch(ctx, wire.ResourceIDOf(user), wire.KindCertificateByUser)
	if err != nil {
		why, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Sprintf("could not be asked for in the overlay (%s)", why), nil // the first node has nobody to ask
	}
	for _, s := range values {
		if s.Signer.User == user && s.Signer.Node != self.Identity().Node {
			return "", &identity.Error{Code: identity.CodeUserName, What: "the name is taken", Path: user,
				Err: fmt.Errorf("node %s has it", s.Signer.Node), Try: "another --name"}
		}
	}
	return "free in the overlay", nil
}

// certifyUsers makes the certificates of the users that are named, and renews those that are there.
func (o *selfSignOptions) certifyUsers(c *config.Overlay, self *trust.Signer) (int, error) {
	users, err := usersToCertify(o.out, c.InstanceName, o.users, o.usersFile)
	if err != nil {
		return 0, err
	}
	for _, aor := range users {
		s, err := trust.SelfSign(c, self.Key(), aor, time.Now(), o.lifetime)
		if err != nil {
			return 0, &identity.Error{Code: identity.CodeUserName, What: "cannot certify the name", Path: aor, Err: err}
		}
		if err := identity.SaveUser(o.out, s); err != nil {
			return 0, err
		}
	}
	return len(users), nil
}

// usersToCertify are the users that are named, those in a file, and those whose certificates are in the identity directory dir.
func usersToCertify(dir, domain string, named []string, file string) ([]string, error) {
	names := slices.Clone(named)
	if file != "" {
		more, err := identity.ReadUsers(file)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	users, err := identity.UsersIn(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		aor, err := identity.AOR(n, domain)
		if err != nil {
			return nil, &identity.Error{Code: identity.CodeUserName, What: "cannot certify the name", Path: fmt.Sprintf("%q", n), Err: err}
		}
		users = append(users, aor)
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// bootstrapOf are the bootstrap nodes of a document as addresses.
func bootstrapOf(c *config.Overlay) []string {
	var list []string
	for _, b := range c.Bootstrap {
		list = append(list, net.JoinHostPort(b.Address, strconv.Itoa(int(b.Port))))
	}
	return list
}
