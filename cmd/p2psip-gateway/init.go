package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

const initAbout = `Makes a new overlay: an authority that certifies its nodes and users, and the signed configuration document
that every node reads. The directory holds the authority's key; keep it where no gateway runs.`

// runInit is `p2psip-gateway init`.
func runInit(_ context.Context, std stdio, args []string) int {
	var o initOptions
	fs := newFlags(std, "init", "--domain DOMAIN --dir DIR [flags]", initAbout)
	fs.StringVar(&o.domain, "domain", "", "`name` of the overlay, and the domain of its users")
	fs.StringVar(&o.dir, "dir", "", "`directory` to make")
	fs.StringVar(&o.key, "key", string(trust.P256), "`type` of all keys of the overlay: p256 or rsa2048")
	fs.Var(&o.bootstrap, "bootstrap", "`host:port` of a node through which others join; may be given more than once")
	fs.BoolVar(&o.selfSigned, "self-signed", false, "make no authority: each node makes its own certificate, and nobody owns a user name")
	fs.StringVar(&o.digest, "digest", config.DigestSHA256, "`hash` that makes Node-IDs of keys, with --self-signed: sha1 or sha256")
	fs.BoolVar(&o.ice, "ice", false, "links go through NATs: DTLS with ICE, and TURN servers")
	fs.BoolVar(&o.services, "services", false, "services are found in the overlay by RFC 7374: TURN servers, voice mail and what gateways offer by name")
	fs.StringVar(&o.ranges, "ranges", "", rangesUsage)
	fs.Var(&o.servers, "enrollment-server", "`URL` of the enrollment server, https; may be given more than once")
	fs.DurationVar(&o.update, "chord-update-interval", config.DefaultChordUpdateInterval, "how often neighbors are told of changes")
	fs.DurationVar(&o.ping, "chord-ping-interval", config.DefaultChordPingInterval, "how often fingers are probed")
	fs.DurationVar(&o.timer, "reliability-timer", config.DefaultReliabilityTimer, "how long to wait before a request is sent again")
	fs.BoolVar(&o.selfTuning, "self-tuning", false, "peers find out themselves how large the tables have to be, and how often neighbors are told (RFC 7363)")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	c, err := o.overlay()
	if err != nil {
		return usageError(std, fs, err)
	}
	create := identity.New
	if o.selfSigned {
		create = identity.NewSelfSigned
	}
	made, err := create(c, trust.KeyType(o.key), time.Now())
	if errors.Is(err, trust.ErrKeyType) {
		return usageError(std, fs, fmt.Errorf("--key %s: it must be p256 or rsa2048", o.key))
	}
	if err == nil {
		err = made.Save(o.dir)
	}
	if err != nil {
		return failed(std, fs, err)
	}
	what, next := "authority and document", "issue --dir "+o.dir
	if o.selfSigned {
		what, next = "signer and document", "self-sign --document "+filepath.Join(o.dir, identity.DocumentFile)
	}
	fmt.Fprintf(std.out, "overlay %s: %s in %s\n", o.domain, what, o.dir)
	fmt.Fprintf(std.out, "  document  %s, signed, sequence %d, %d octets\n",
		filepath.Join(o.dir, identity.DocumentFile), c.Sequence, len(made.Document))
	if o.ice {
		fmt.Fprint(std.out, "  TURN      a public node offers it with overlay.turn.listen in its configuration\n")
	}
	fmt.Fprintf(std.out, "  next      p2psip-gateway identity %s --name gw1 --out gw1 --user 1001 --user 1002\n", next)
	fmt.Fprint(std.out, "            once for each gateway; then copy gw1 to its host and name it in the gateway's configuration\n")
	return exitOK
}

// domainError says what may be the name of an overlay.
func domainError(domain string) error {
	return fmt.Errorf("--domain %q: it must be a DNS name, such as example.org", domain)
}

type initOptions struct {
	domain, dir, key    string
	digest              string
	selfSigned          bool
	bootstrap, servers  values
	ice, selfTuning     bool
	services            bool
	ranges              string
	update, ping, timer time.Duration
}

// overlay is the configuration that the flags ask for.
func (o *initOptions) overlay() (*config.Overlay, error) {
	if o.domain == "" || o.dir == "" {
		return nil, errors.New("--domain and --dir are needed")
	}
	if !config.IsDNSName(o.domain) {
		return nil, domainError(o.domain)
	}
	c := identity.Template(strings.ToLower(o.domain))
	if o.ice {
		identity.WithICE(c)
	}
	if o.services {
		identity.WithServices(c)
	}
	if o.ranges != "" {
		var err error
		if c.Ranges, err = planOf(o.ranges); err != nil {
			return nil, err
		}
	}
	for _, b := range o.bootstrap {
		n, err := bootstrapNode(b)
		if err != nil {
			return nil, err
		}
		c.Bootstrap = append(c.Bootstrap, n)
	}
	switch {
	case o.selfSigned && len(o.servers) > 0:
		return nil, errors.New("--self-signed goes without --enrollment-server: there is no authority that it could work for")
	case o.selfSigned && o.digest != config.DigestSHA1 && o.digest != config.DigestSHA256:
		return nil, fmt.Errorf("--digest %s: it must be sha1 or sha256", o.digest)
	case o.selfSigned:
		c.SelfSignedPermitted, c.SelfSignedDigest = true, o.digest
	}
	if o.selfTuning {
		config.WithSelfTuning(c)
	}
	c.EnrollmentServers = o.servers
	c.ChordUpdateInterval, c.ChordPingInterval, c.ReliabilityTimer = o.update, o.ping, o.timer
	if c.ChordUpdateInterval%time.Second != 0 || c.ChordPingInterval%time.Second != 0 {
		return nil, errors.New("the chord intervals are whole seconds")
	}
	// What is written must be readable: the limits are those of the document.
	signed := config.AppendConfiguration(nil, c)
	if _, err := config.Parse(config.AppendDocument(nil, config.Configuration{Signed: signed})); err != nil {
		var e *config.ElementError
		if errors.As(err, &e) {
			return nil, fmt.Errorf("%s: %q %s", e.Element, e.Value, e.Problem)
		}
		return nil, err
	}
	return c, nil
}

func bootstrapNode(s string) (config.BootstrapNode, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), strconv.Itoa(config.DefaultPort)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || n > math.MaxUint16 || host == "" {
		return config.BootstrapNode{}, fmt.Errorf("--bootstrap %s: it must be host:port", s)
	}
	return config.BootstrapNode{Address: host, Port: uint16(n)}, nil
}

// values is a flag that may be given more than once.
type values []string

func (v *values) String() string     { return strings.Join(*v, ",") }
func (v *values) Set(s string) error { *v = append(*v, s); return nil }

func failed(std stdio, fs *flag.FlagSet, err error) int {
	fmt.Fprintf(std.err, "p2psip-gateway %s: %v\n", fs.Name(), err)
	return exitConfig
}
