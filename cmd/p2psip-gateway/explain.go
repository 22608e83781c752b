package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
)

// explanations has a line for each code that this program gives: code, meaning, section of a specification or "-", what to do.
//
//go:embed explain.tsv
var explanations string

// explanation is one line of it.
type explanation struct{ code, meaning, section, remedy string }

func explained() (out []explanation) {
	for line := range strings.SplitSeq(strings.TrimSpace(explanations), "\n") {
		f := strings.Split(line, "\t")
		out = append(out, explanation{f[0], f[1], f[2], f[3]})
	}
	return out
}

// runExplain tells what a code of an answer, a log line or a message of this program means.
func runExplain(_ context.Context, std stdio, args []string) int {
	fs := newFlags(std, "explain", "CODE..", "Says what codes mean, and what to do. CODE is a word from a Warning, a log line or an error: PRX403R, E0201,\nError_Not_Found; the beginning of some will do. docs/codes.md has them all.")
	words, code, ok := parseOperands(std, fs, args)
	if !ok {
		return code
	}
	if len(words) == 0 {
		return usageError(std, fs, errors.New("which code?"))
	}
	for _, arg := range words {
		if !explain(std.out, arg) {
			fmt.Fprintf(std.err, "p2psip-gateway: there is no code %q; docs/codes.md has them all\n", arg)
			code = exitUsage
		}
	}
	return code
}

// explain writes what is known of a code, in whatever case, or of all that begin with it.
func explain(w io.Writer, code string) (found bool) {
	all := explained()
	exact := func(e explanation) bool { return strings.EqualFold(e.code, code) }
	prefix := func(e explanation) bool {
		return code != "" && len(e.code) > len(code) && strings.EqualFold(e.code[:len(code)], code)
	}
	for _, is := range []func(explanation) bool{exact, prefix} {
		for _, e := range all {
			if !is(e) {
				continue
			}
			found = true
			fmt.Fprintf(w, "%s\n  %s\n", e.code, e.meaning)
			if e.section != "-" {
				fmt.Fprintf(w, "  see: %s\n", e.section)
			}
			fmt.Fprintf(w, "  try: %s\n", e.remedy)
		}
		if found {
			return true
		}
	}
	return false
}
