// Command p2psip-gateway is a SIP registrar, proxy and redirect server in front of a RELOAD overlay (RFC 6940, RFC 7904).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Exit codes. 1 tells a supervisor not to restart.
const (
	exitOK     = 0
	exitConfig = 1 // configuration or start-up error
	exitUsage  = 2
	exitForced = 3 // stopped before the drain was over
	exitFatal  = 4 // run-time failure: restart
)

// stdio is what a subcommand may read and write.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is one subcommand. run gets the arguments behind the name and returns the exit code; ctx ends on the first SIGINT or SIGTERM; the second ends the process.
type command struct {
	name, synopsis string
	run            func(ctx context.Context, std stdio, args []string) int
}

// commands are all subcommands, in the order of the help text.
var commands = []command{
	{"dev", "begin here: a throw-away overlay of three gateways and a redirect peer, to try things", runDev},
	{"run", "-c FILE: one node, in the foreground", runRun},
	{"check", "-c FILE: what is wrong with a configuration, before the start", runCheck},
	{"config", "show -c FILE: what holds, and where each value comes from", runConfig},
	{"init", "make a new overlay: its authority and its configuration document", runInit},
	{"identity", "issue, self-sign: make the keys and certificates of a gateway and its users", runIdentity},
	{"enroll", "serve, account, code, ls, ranges, publish: the configuration and enrollment server", runEnroll},
	{"join", "URL|DOMAIN: get the identity of a gateway from an enrollment server", runJoin},
	{"status", "whether a running node is ready, and what it has", runStatus},
	{"reload", "have a running node read its configuration again", runReload},
	{"drain", "have a running node end what is under way, and stop", runDrain},
	{"reg", "ls: the phones registered at a running node", runReg},
	{"lookup", "AOR: where an address-of-record is registered", runLookup},
	{"verify", "FILE: check a proof of a registration without any node", runVerify},
	{"user", "forward AOR [URI]: where the calls of a user of a running node go", runUser},
	{"ring", "the part of the ring that a running node sees", runRing},
	{"peer", "ls, ping TARGET, trace TARGET: the links of a running node, and the way to others", runPeer},
	{"media", "ls: the calls whose media a running node relays", runMedia},
	{"service", "ls, find NAME: the services that a running node offers, and who provides one", runService},
	{"trunk", "ls, test NAME: the PBXs and providers behind a running node", runTrunk},
	{"route", "explain NUMBER: where a number leads, and why", runRoute},
	{"sim", "play a simulated overlay, from a seed: hops, failures, losses, traffic", runSim},
	{"decode", "show RELOAD messages that are given in hexadecimal as JSON", runDecode},
	{"explain", "CODE: what a code of an answer, a log line or an error means, and what to do", runExplain},
	{"version", "version and build", runVersion},
}

// version is set by the linker.
var version = "devel"

func main() {
	if gcOwn() {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		<-signals
		fmt.Fprintln(os.Stderr, "p2psip-gateway: stopped before everything had ended")
		os.Exit(exitForced)
	}()
	os.Exit(dispatch(ctx, stdio{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

func dispatch(ctx context.Context, std stdio, args []string) int {
	if len(args) > 0 && (args[0] == "--version" || args[0] == "-version") {
		return runVersion(ctx, std, nil)
	}
	return subcommand(ctx, std, "", commands, args)
}

func runVersion(_ context.Context, std stdio, args []string) int {
	if code, ok := parseFlags(std, newFlags(std, "version", "", "Says which version this is, and what it was built with."), args); !ok {
		return code
	}
	fmt.Fprintf(std.out, "p2psip-gateway %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
