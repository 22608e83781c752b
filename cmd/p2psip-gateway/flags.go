package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// newFlags is the flag set of a command: its name, the words behind that, and what it does.
func newFlags(std stdio, name, args, about string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(std.err)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: p2psip-gateway %s\n\n%s\n", strings.TrimSpace(name+" "+args), about)
		printFlags(fs)
	}
	return fs
}

// printFlags lists the flags as the documentation writes them, with two dashes.
func printFlags(fs *flag.FlagSet) {
	fmt.Fprintln(fs.Output())
	fs.VisitAll(func(f *flag.Flag) {
		value, about := flag.UnquoteUsage(f)
		fmt.Fprintf(fs.Output(), "  %s\n        %s", strings.TrimSpace(dashed(f.Name)+" "+value), about)
		switch f.DefValue {
		case "", "0", "0s", "false":
		default:
			fmt.Fprintf(fs.Output(), " (default %s)", f.DefValue)
		}
		fmt.Fprintln(fs.Output())
	})
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// parseOperands parses flags, which may stand before and behind the operands. When ok is false the command ends with code: help was asked for, and is
// on out, or a flag is wrong, and that has been said.
func parseOperands(std stdio, fs *flag.FlagSet, args []string) (operands []string, code int, ok bool) {
	for {
		fs.SetOutput(io.Discard) // the package prints a page for each mistake
		err := fs.Parse(args)
		fs.SetOutput(std.err)
		switch {
		case errors.Is(err, flag.ErrHelp):
			fs.SetOutput(std.out)
			fs.Usage()
			return nil, exitOK, false
		case err != nil:
			return nil, usageError(std, fs, flagError(fs, err)), false
		case fs.NArg() == 0:
			return operands, exitOK, true
		}
		operands = append(operands, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// parseFlags is parseOperands for a command without operands.
func parseFlags(std stdio, fs *flag.FlagSet, args []string) (code int, ok bool) {
	operands, code, ok := parseOperands(std, fs, args)
	if ok && len(operands) > 0 {
		return usageError(std, fs, fmt.Errorf("unexpected argument %q", operands[0])), false
	}
	return code, ok
}

var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	valueless   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	badValue    = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^:]*): (.*)$`)
)

// flagError says in the words of this program what the flag package has to say.
func flagError(fs *flag.FlagSet, err error) error {
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		var names []string
		fs.VisitAll(func(f *flag.Flag) { names = append(names, dashed(f.Name)) })
		if near, ok := gateway.Nearest(dashed(m[1]), names); ok {
			return fmt.Errorf("there is no flag %s; did you mean %s?", dashed(m[1]), near)
		}
		return fmt.Errorf("there is no flag %s", dashed(m[1]))
	}
	if m := valueless.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s: a value must follow", dashed(m[1]))
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		why := m[3]
		if f := fs.Lookup(m[2]); why == "parse error" && f != nil {
			value, _ := flag.UnquoteUsage(f)
			why = "want a " + value
			switch v := f.Value.(type) {
			case interface{ IsBoolFlag() bool }:
				why = "want true or false"
			case flag.Getter:
				if _, is := v.Get().(time.Duration); is {
					why = "want a duration, such as 90s, 5m or 1h"
				}
			}
		}
		return fmt.Errorf("%s %s: %s", dashed(m[2]), m[1], why)
	}
	return err
}

// usageError says how a command was used wrongly, and where it stands how to use it.
func usageError(std stdio, fs *flag.FlagSet, err error) int {
	fmt.Fprintf(std.err, "p2psip-gateway %s: %v\n      try: p2psip-gateway %s --help\n", fs.Name(), err, fs.Name())
	return exitUsage
}

// subcommand runs one of commands, by the first argument; name is that of the command that they belong to, "" for the program.
func subcommand(ctx context.Context, std stdio, name string, commands []command, args []string) int {
	program := strings.TrimSpace("p2psip-gateway " + name)
	if len(args) == 0 {
		listCommands(std.err, program, commands)
		return exitUsage
	}
	var names []string
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, std, args[1:])
		}
		names = append(names, c.name)
	}
	switch args[0] {
	case "-h", "-help", "--help":
		listCommands(std.out, program, commands)
		return exitOK
	case "help":
		return subcommand(ctx, std, name, commands, append(args[1:len(args):len(args)], "--help"))
	}
	hint := "" // a list of all is what --help shows
	if near, ok := gateway.Nearest(args[0], names); ok {
		hint = fmt.Sprintf("; did you mean %q?", near)
	} else if name != "" {
		hint = "; there are " + strings.Join(names, ", ")
	}
	fmt.Fprintf(std.err, "%s: there is no command %q%s\n      try: %s --help\n", program, args[0], hint, program)
	return exitUsage
}

func listCommands(w io.Writer, program string, commands []command) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags]\n\n", program)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.synopsis)
	}
	fmt.Fprintf(w, "\n%s COMMAND --help shows the flags of a command.\n", program)
}
