package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
)

const maxPasswordFile = 4096 // octets

func openAccounts(dir string) (*enroll.Accounts, error) {
	a, err := enroll.OpenAccounts(dir)
	if err != nil {
		return nil, &identity.Error{Code: codeAccounts, What: "cannot read the accounts", Path: dir, Err: err,
			Try: "a copy of accounts.json and issued.jsonl from before"}
	}
	return a, nil
}

// accountFailed is the error for a command about the account name.
func accountFailed(name string, err error) error {
	var taken *enroll.RangeTakenError
	if errors.As(err, &taken) {
		return rangeTaken(taken)
	}
	e := &identity.Error{Code: codeAccount, What: "cannot do that to the account", Path: fmt.Sprintf("%q", name), Err: err}
	switch {
	case errors.Is(err, enroll.ErrUnknown):
		e.Try = "`p2psip-gateway enroll account ls`, which names all"
	case errors.Is(err, enroll.ErrExists):
		e.Try = "`p2psip-gateway enroll account rm` before, or `p2psip-gateway enroll code` for another way in"
	case !errors.Is(err, enroll.ErrInvalid):
		e.Code, e.What = codeAccounts, "cannot change the accounts"
	}
	return e
}

// runEnrollAccount is `p2psip-gateway enroll account`.
func runEnrollAccount(ctx context.Context, std stdio, args []string) int {
	return subcommand(ctx, std, "enroll account", []command{
		{"add", "NAME: make an account", runAccountAdd},
		{"ls", "all accounts", runAccountLs},
		{"rm", "NAME: remove an account", runAccountRm},
	}, args)
}

// parseAccount parses flags and the operand NAME; it and --dir are needed.
func parseAccount(std stdio, fs *flag.FlagSet, args []string) (name string, code int, ok bool) {
	name, code, ok = parseNamed(std, fs, args)
	if ok && (name == "" || fs.Lookup("dir").Value.String() == "") {
		return "", usageError(std, fs, errors.New("NAME and --dir are needed")), false
	}
	return name, code, ok
}

// parseNamed parses flags with at most one operand. When ok is false the command ends with code.
func parseNamed(std stdio, fs *flag.FlagSet, args []string) (name string, code int, ok bool) {
	operands, code, ok := parseOperands(std, fs, args)
	switch {
	case !ok || len(operands) == 0:
		return "", code, ok
	case len(operands) > 1:
		return "", usageError(std, fs, fmt.Errorf("unexpected argument %q", operands[1])), false
	}
	return operands[0], exitOK, true
}

const accountAddAbout = `Makes an account of the enrollment server. A user's account may have one user name. A gateway's (--gateway, or
--act-for) acts for users: all of its certificates have its own Node-ID. Without --password-file it has no password:
"enroll code" makes a code for it.`

func runAccountAdd(_ context.Context, std stdio, args []string) int {
	var dir, file string
	var a enroll.Account
	var actsFor values
	fs := newFlags(std, "enroll account add", "NAME --dir DIR [flags]", accountAddAbout)
	fs.StringVar(&dir, "dir", "", "overlay `directory`")
	fs.StringVar(&a.User, "user", "", "user `name` of its certificates; without it NAME in the overlay's domain")
	fs.BoolVar(&a.Gateway, "gateway", false, "the account of a gateway or redirect peer")
	fs.Var(&actsFor, "act-for", "user `name` or number range that it may act for, or *@domain for all users; may be given more than once")
	fs.BoolVar(&a.Share, "share", false, "its number ranges may overlap those of other gateways")
	fs.IntVar(&a.MaxCertificates, "max-certificates", 0, fmt.Sprintf("`number` of certificates that may be valid at a time; 0: %d, or %d for a gateway",
		enroll.DefaultMaxCertificates, enroll.DefaultMaxGatewayCertificates))
	fs.IntVar(&a.MaxNodeIDs, "max-node-ids", 1, "`number` of Node-IDs that one certificate may have")
	fs.StringVar(&file, "password-file", "", "`file` with the password in its first line; - is standard input")
	name, code, ok := parseAccount(std, fs, args)
	if !ok {
		return code
	}
	overlay, accounts, err := openForAccounts(dir)
	if err != nil {
		return failed(std, fs, err)
	}
	password := ""
	if file != "" {
		if password, err = readPassword(std, file); err != nil {
			return failed(std, fs, err)
		}
	}
	a.Name = name
	if a.User, err = identity.AOR(orElse(a.User, name), overlay.InstanceName); err != nil {
		return failed(std, fs, accountFailed(name, fmt.Errorf("%w: %w", enroll.ErrInvalid, err)))
	}
	for _, p := range actsFor {
		user, err := identity.AOR(p, overlay.InstanceName)
		if err != nil {
			return failed(std, fs, accountFailed(name, fmt.Errorf("%w: %q: %w", enroll.ErrInvalid, p, err)))
		}
		a.ActsFor = append(a.ActsFor, user)
	}
	if err := accounts.Add(a, password, time.Now()); err != nil {
		return failed(std, fs, accountFailed(name, err))
	}
	fmt.Fprintf(std.out, "account %s made, user name %s\n", name, a.User)
	if password == "" {
		fmt.Fprintf(std.out, "  next      p2psip-gateway enroll code %s --dir %s\n", name, dir)
	}
	return exitOK
}

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func openForAccounts(dir string) (*config.Overlay, *enroll.Accounts, error) {
	_, o, err := identity.LoadAuthority(dir, time.Now())
	if err != nil {
		return nil, nil, err
	}
	a, err := openAccounts(dir)
	return o, a, err
}

// readPassword reads the first line of a file. Nothing but the end of the line is taken away.
func readPassword(std stdio, file string) (string, error) {
	in, shut := std.in, func() error { return nil }
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", &identity.Error{Code: codePassword, What: "cannot read the password", Path: file, Err: err}
		}
		in, shut = f, f.Close
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPasswordFile))
	if err = errors.Join(err, shut()); err != nil {
		return "", &identity.Error{Code: codePassword, What: "cannot read the password", Path: file, Err: err}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", &identity.Error{Code: codePassword, What: "no password", Path: file, Err: errors.New("the first line is empty")}
	}
	return line, nil
}

// accountsOf opens the accounts of a command that takes --dir and nothing else; nil with the exit code when there are none.
func accountsOf(std stdio, fs *flag.FlagSet, args []string) (*enroll.Accounts, int) {
	dir := fs.String("dir", "", "overlay `directory`")
	if code, ok := parseFlags(std, fs, args); !ok {
		return nil, code
	}
	if *dir == "" {
		return nil, usageError(std, fs, errors.New("--dir is needed"))
	}
	accounts, err := openAccounts(*dir)
	if err != nil {
		return nil, failed(std, fs, err)
	}
	return accounts, exitOK
}

func runAccountLs(_ context.Context, std stdio, args []string) int {
	fs := newFlags(std, "enroll account ls", "--dir DIR", "Lists the accounts of the enrollment server.")
	accounts, code := accountsOf(std, fs, args)
	if accounts == nil {
		return code
	}
	all, err := accounts.List()
	if err != nil {
		return failed(std, fs, accountFailed("", err))
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tUSER\tACTS FOR\tNODE\tWAY IN")
	for _, a := range all {
		node, in := "-", []string{}
		if len(a.Nodes) > 0 {
			node = a.Nodes[0].String()
		}
		if a.HasPassword() {
			in = append(in, "password")
		}
		if until := a.CodeUntil(); time.Now().Before(until) {
			in = append(in, "code until "+until.Format(time.DateTime))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.User, orElse(strings.Join(a.ActsFor, " "), "-"), node, orElse(strings.Join(in, ", "), "-"))
	}
	if err := w.Flush(); err != nil {
		return exitFatal
	}
	return exitOK
}

func runAccountRm(_ context.Context, std stdio, args []string) int {
	var dir string
	fs := newFlags(std, "enroll account rm", "NAME --dir DIR", "Removes an account. Certificates that it has stay valid until they end.")
	fs.StringVar(&dir, "dir", "", "overlay `directory`")
	name, code, ok := parseAccount(std, fs, args)
	if !ok {
		return code
	}
	accounts, err := openAccounts(dir)
	if err != nil {
		return failed(std, fs, err)
	}
	gone, err := accounts.Remove(name)
	if err != nil {
		return failed(std, fs, accountFailed(name, err))
	}
	fmt.Fprintf(std.out, "account %s removed\n", name)
	for _, n := range gone.Nodes {
		fmt.Fprintf(std.out, "  node      %s keeps its certificates until they end\n", n)
	}
	return exitOK
}

// runEnrollCode is `p2psip-gateway enroll code`.
func runEnrollCode(_ context.Context, std stdio, args []string) int {
	var dir string
	fs := newFlags(std, "enroll code", "NAME --dir DIR", `Makes a code with which an account enrolls in the place of a password. It is good for one key: the first that uses
it, within a day. That key may go on to use it. An older code of the account ends.`)
	fs.StringVar(&dir, "dir", "", "overlay `directory`")
	name, code, ok := parseAccount(std, fs, args)
	if !ok {
		return code
	}
	overlay, accounts, err := openForAccounts(dir)
	if err != nil {
		return failed(std, fs, err)
	}
	text, err := accounts.NewCode(name, time.Now())
	if err != nil {
		return failed(std, fs, accountFailed(name, err))
	}
	fmt.Fprintf(std.out, "%s\n  next      p2psip-gateway join %s --account %s --code %s --out identity\n", text, overlay.InstanceName, name, text)
	fmt.Fprintf(std.out, "            on the gateway, until %s\n", time.Now().Add(enroll.CodeLifetime).Format(time.DateTime))
	return exitOK
}

// runEnrollLs is `p2psip-gateway enroll ls`.
func runEnrollLs(_ context.Context, std stdio, args []string) int {
	var dir, account string
	var asJSON bool
	fs := newFlags(std, "enroll ls", "--dir DIR [flags]", "Lists the certificates that the enrollment server issued and that are valid.")
	fs.StringVar(&dir, "dir", "", "overlay `directory`")
	fs.StringVar(&account, "account", "", "only those of the account `name`")
	fs.BoolVar(&asJSON, "json", false, "as JSON, one certificate in a line")
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	if dir == "" {
		return usageError(std, fs, errors.New("--dir is needed"))
	}
	accounts, err := openAccounts(dir)
	if err != nil {
		return failed(std, fs, err)
	}
	all, err := accounts.Issued(time.Now())
	if err != nil {
		return failed(std, fs, accountFailed(account, err))
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	lines := json.NewEncoder(std.out)
	if !asJSON {
		fmt.Fprintln(w, "ACCOUNT\tUSER\tNODE\tUNTIL\tSERIAL")
	}
	for _, e := range all {
		switch {
		case account != "" && e.Account != account:
		case asJSON:
			err = errors.Join(err, lines.Encode(e))
		default:
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Account, e.User, strings.Join(e.Nodes, " "), e.Until.Format(time.DateOnly), e.Serial)
		}
	}
	if errors.Join(err, w.Flush()) != nil {
		return exitFatal
	}
	return exitOK
}
