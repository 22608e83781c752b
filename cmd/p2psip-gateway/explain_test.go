package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const codesPage = "../../docs/codes.md"

// codeWord is a code of an answer, a log line or an error.
var codeWord = regexp.MustCompile(`\b(?:[A-Z]{3}[1-6][0-9]{2}[A-Z]?|E0[1-9][0-9]{2}|SEC-[A-Z]+)\b`)

// given are the codes that stand in the program: in any string literal that begins with one, and those that are put together.
func given(t *testing.T) []string {
	t.Helper()
	// sip/flow makes MSG and the status of message.ParseError.
	codes := []string{"MSG400", "MSG414", "MSG505", "MSG513"}
	fset := token.NewFileSet()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || d.Name() == "explain.go" {
			return err
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if s, err := strconv.Unquote(lit.Value); err == nil {
				codes = append(codes, codeWord.FindAllString(s, -1)...)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for code := range wire.ErrorCode(256) {
		if name := code.String(); strings.HasPrefix(name, "Error_") && !strings.HasPrefix(name, "Error_0x") {
			codes = append(codes, name)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// Each code that is given is explained, and none that is not.
//
// Feature: SEC-04
func TestConformanceOfExplanations(t *testing.T) {
	var explainedCodes []string
	for _, e := range explained() {
		explainedCodes = append(explainedCodes, e.code)
		if len(e.meaning) < 10 || e.remedy == "" || e.section != "-" && !strings.HasPrefix(e.section, "RFC ") {
			t.Errorf("%s is not explained: %+v", e.code, e)
		}
	}
	codes := given(t)
	if len(codes) < 90 {
		t.Fatalf("only %d codes found in the program: the search is broken", len(codes))
	}
	for _, c := range codes {
		if !slices.Contains(explainedCodes, c) {
			t.Errorf("%s is given and not explained: add it to explain.tsv", c)
		}
	}
	for _, c := range explainedCodes {
		if !slices.Contains(codes, c) {
			t.Errorf("%s is explained and never given", c)
		}
	}
}

// docs/codes.md is explain.tsv as a page; go test -run TestConformance ./cmd/p2psip-gateway -update writes it.
func TestConformanceOfCodes(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Codes\n\nThe codes in a Warning of a SIP answer, in the log, in the metrics, in errors of commands, and of the overlay's own error responses. " +
		"`p2psip-gateway explain CODE` says the same.\n\nThis page is generated from `cmd/p2psip-gateway/explain.tsv`: go test -run TestConformance ./cmd/p2psip-gateway -update\n\n" +
		"| Code | Meaning | See | What to do |\n|---|---|---|---|\n")
	for _, e := range explained() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", e.code, e.meaning, e.section, e.remedy)
	}
	if *updateConformance {
		if err := os.WriteFile(codesPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(codesPage); err != nil || string(have) != b.String() {
		t.Errorf("docs/codes.md is not explain.tsv (%v): go test -run TestConformance ./cmd/p2psip-gateway -update", err)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"prx403r"}, exitOK, "PRX403R\n"}, {[]string{"error_not_found"}, exitOK, "RFC 6940 §14.9"}, {[]string{"E0201", "REG401"}, exitOK, "REG401\n"},
		{[]string{"PRX403"}, exitOK, "PRX403T\n"}, {[]string{"PRX999"}, exitUsage, ""}, {nil, exitUsage, ""}, {[]string{""}, exitUsage, ""},
	} {
		var out, errs strings.Builder
		if code := runExplain(context.Background(), stdio{out: &out, err: &errs}, c.args); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("explain %q: %d\n%s%s", c.args, code, out.String(), errs.String())
		}
	}
}
