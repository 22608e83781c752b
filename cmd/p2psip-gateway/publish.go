package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const publishAbout = `Signs the configuration document again, with the next sequence and with what the flags change, and hands it to the overlay
through one of its bootstrap nodes, from which it spreads. A running enrollment server of the same directory serves it
within seconds. A change that makes nodes leave the overlay is refused without --disruptive.`

type publishOptions struct {
	dir, from                   string
	servers, bootstrap, badNode values
	expires                     time.Duration
	disruptive, push, accounts  bool
	ranges                      string

	edited *config.Overlay // from
	nodes  []config.BootstrapNode
	bad    []wire.NodeID
	plan   numbers.Plan // of ranges
}

// runEnrollPublish is `p2psip-gateway enroll publish`.
func runEnrollPublish(ctx context.Context, std stdio, args []string) int {
	var o publishOptions
	fs := newFlags(std, "enroll publish", "--dir DIR [flags]", publishAbout)
	fs.StringVar(&o.dir, "dir", "", "overlay `directory`")
	fs.StringVar(&o.from, "from", "", "`file` with the configuration to publish: an edited copy of overlay.xml; its sequence and signatures do not matter")
	fs.Var(&o.servers, "enrollment-server", "`URL` of an enrollment server, in the place of those that are named; may be given more than once")
	fs.Var(&o.bootstrap, "bootstrap", "`host:port` of a bootstrap node, in the place of those that are named; may be given more than once")
	fs.Var(&o.badNode, "bad-node", "`Node-ID` whose certificates are not good any more, besides those that are named; may be given more than once")
	fs.StringVar(&o.ranges, "ranges", "", rangesUsage+", besides those that are already")
	fs.BoolVar(&o.accounts, "accounts", false, "have gateways agree who of them uses an account at a provider: the Kind 0xf0000002, when it is not there")
	fs.DurationVar(&o.expires, "expires", 0, "how long the document is good; 0: as the present one says")
	fs.BoolVar(&o.disruptive, "disruptive", false, "publish a change that makes nodes leave the overlay, too")
	fs.BoolVar(&o.push, "push", true, "hand the document to the overlay, through a bootstrap node")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	if o.dir == "" {
		return usageError(std, fs, errors.New("--dir is needed"))
	}
	if err := o.read(); err != nil {
		var file *identity.Error
		if errors.As(err, &file) {
			return failed(std, fs, err)
		}
		return usageError(std, fs, err)
	}
	if err := o.publish(ctx, std); err != nil {
		return failed(std, fs, err)
	}
	return exitOK
}

// read reads what the flags name.
func (o *publishOptions) read() error {
	for _, b := range o.bootstrap {
		n, err := bootstrapNode(b)
		if err != nil {
			return err
		}
		o.nodes = append(o.nodes, n)
	}
	for _, s := range o.badNode {
		id, err := wire.ParseNodeID(s)
		if err != nil {
			return fmt.Errorf("--bad-node %s: %w", s, err)
		}
		o.bad = append(o.bad, id)
	}
	if o.ranges != "" {
		var err error
		if o.plan, err = planOf(o.ranges); err != nil {
			return err
		}
	}
	if o.expires < 0 {
		return fmt.Errorf("--expires %s: it must be positive", o.expires)
	}
	if o.from == "" {
		return nil
	}
	b, err := os.ReadFile(o.from)
	if err != nil {
		return &identity.Error{Code: identity.CodeUnreadable, What: "cannot read the configuration to publish", Path: o.from, Err: err}
	}
	d, err := config.Parse(b)
	if err == nil && len(d.Configurations) != 1 {
		err = fmt.Errorf("it holds %d configurations", len(d.Configurations))
	}
	if err != nil {
		return &identity.Error{Code: identity.CodeDocument, What: "not a configuration to publish", Path: o.from, Err: err}
	}
	o.edited = d.Configurations[0].Overlay
	return nil
}

// change makes the next configuration of the present one.
func (o *publishOptions) change(c *config.Overlay) {
	if o.edited != nil {
		sequence := c.Sequence
		*c = *o.edited
		c.Sequence = sequence
	}
	if len(o.servers) > 0 {
		c.EnrollmentServers = o.servers
	}
	if len(o.nodes) > 0 {
		c.Bootstrap = o.nodes
	}
	c.Ranges = numbers.NewPlan(append(slices.Clone(o.plan), c.Ranges...)...)
	if o.accounts && !gateway.HasLeases(c) {
		c.Kinds = append(slices.Clone(c.Kinds), identity.AccountLease())
	}
	c.BadNodes = slices.Clone(c.BadNodes)
	for _, id := range o.bad {
		if !slices.Contains(c.BadNodes, id) {
			c.BadNodes = append(c.BadNodes, id)
		}
	}
	if o.expires > 0 {
		c.Expiration = time.Now().Add(o.expires).UTC().Truncate(time.Second)
	}
}

func (o *publishOptions) publish(ctx context.Context, std stdio) error {
	path := filepath.Join(o.dir, identity.DocumentFile)
	old, err := identity.Present(o.dir, time.Now())
	if err != nil {
		return err
	}
	next := *old
	o.change(&next)
	if err := o.disrupts(std, path, old, &next); err != nil {
		return err
	}
	c, err := identity.Publish(o.dir, o.change, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "document of overlay %s, sequence %d\n", c.InstanceName, c.Sequence)
	if o.push && len(old.Bootstrap) > 0 {
		fmt.Fprintf(std.out, "  overlay   %s\n", o.handOver(ctx, old))
	}
	return nil
}

// disrupts tells what the change costs, and refuses it unless that is wanted.
func (o *publishOptions) disrupts(std stdio, path string, old, next *config.Overlay) error {
	list := config.Disruptions(old, next)
	if len(list) == 0 {
		return nil
	}
	var text []string
	for _, d := range list {
		text = append(text, d.String())
	}
	if o.disruptive {
		fmt.Fprintf(std.err, "warning: %s\n", strings.Join(text, "\nwarning: "))
		return nil
	}
	return &identity.Error{Code: identity.CodeDocument, What: "the change makes nodes leave", Path: path, Err: errors.New(strings.Join(text, "; ")),
		Try: "--disruptive when that is wanted, at an hour when nobody calls"}
}

// handOver gives the document to a bootstrap node of the present configuration (RFC 6940 §6.5.4), and says what came of it. Nothing
// is lost when there is none: gateways fetch it.
func (o *publishOptions) handOver(ctx context.Context, old *config.Overlay) string {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	document, err := identity.ReadDocument(filepath.Join(o.dir, identity.DocumentFile))
	if err != nil {
		return err.Error()
	}
	signer, err := identity.LoadSigner(o.dir, old)
	if err != nil {
		return err.Error()
	}
	v := overlay.Visitor{Overlay: old, Self: signer, Addresses: bootstrapOf(old)}
	node, err := v.Configure(ctx, document)
	var refused *overlay.RemoteError
	switch {
	case errors.As(err, &refused) && refused.Code == wire.ErrorConfigTooOld:
		return fmt.Sprintf("node %s has it already, or a newer one", node)
	case err != nil:
		why, _, _ := strings.Cut(err.Error(), "\n")
		return "not handed over (" + why + "); gateways fetch it from the server, or get it by SIGHUP"
	}
	return fmt.Sprintf("taken by node %s, from which it spreads", node)
}
