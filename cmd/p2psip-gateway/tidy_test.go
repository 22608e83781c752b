package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/p2psip/p2psip-gateway/"

// layers is the whole dependency order: a package may import exactly these packages of this module, besides itself.
// docs/architecture.md draws it; change both together.
var layers = map[string][]string{
	"overlay/wire":     {},
	"overlay/config":   {"overlay/wire", "numbers"},
	"overlay/trust":    {"overlay/config", "overlay/wire", "numbers"},
	"overlay/chord":    {"overlay/wire"},
	"overlay/route":    {"overlay/wire"},
	"overlay/redir":    {"overlay/wire"},
	"overlay/store":    {"overlay/redir", "overlay/trust", "overlay/config", "overlay/wire"},
	"overlay/node":     {"overlay/chord", "overlay/route", "overlay/store", "overlay/trust", "overlay/config", "overlay/wire"},
	"overlay/link":     {"overlay/route", "overlay/trust", "overlay/wire"},
	"overlay/ice":      {"overlay/wire"},
	"overlay/sim":      {"overlay/node", "overlay/chord", "overlay/route", "overlay/store", "overlay/trust", "overlay/config", "overlay/wire"},
	"overlay/journal":  {},
	"overlay/lan":      {},
	"overlay":          {"numbers", "overlay/node", "overlay/redir", "overlay/route", "overlay/store", "overlay/link", "overlay/ice", "overlay/trust", "overlay/config", "overlay/wire"},
	"overlay/enroll":   {"overlay/trust", "overlay/config", "overlay/wire", "numbers"},
	"overlay/lease":    {},
	"overlay/proof":    {"overlay/trust", "overlay/config", "overlay/wire"},
	"overlay/sipusage": {"overlay", "overlay/lease", "overlay/trust", "overlay/wire", "location", "numbers"},

	"numbers": {},

	"location":           {},
	"sip/message":        {},
	"sip/keyed":          {},
	"sip/digest":         {"sip/keyed", "sip/message"},
	"sip":                {"sip/message", "location"},
	"sip/flow":           {"sip", "sip/message", "location"},
	"sip/expiring":       {},
	"sip/transaction":    {"sip", "sip/expiring", "sip/flow", "sip/message", "location"},
	"sip/resolve":        {"sip/message", "location"},
	"registrar":          {"sip", "sip/message", "location"},
	"registrar/regevent": {"sip", "sip/message", "location"},
	"redirect":           {"sip", "sip/message", "location"},
	"proxy":              {"sip", "sip/keyed", "sip/message", "location", "numbers"},
	"trunk":              {"sip", "sip/digest", "sip/message", "location"},
	"media/sdp":          {},
	"media":              {"media/sdp", "sip/message", "location"},

	"deploy/endurance":     {}, // it shares no code with what it tests
	"deploy/soak":          {}, // it shares no code with what it tests
	"deploy/redirect-tier": {}, // it shares no code with what it tests

	"metrics":                              {"overlay", "location"},
	"cmd/p2psip-gateway/internal/identity": {"numbers", "overlay/config", "overlay/trust", "overlay/wire"},
	"cmd/p2psip-gateway/internal/gateway": {"numbers", "metrics", "media", "overlay", "overlay/node", "overlay/journal", "overlay/lan", "overlay/sipusage", "overlay/proof", "overlay/config", "overlay/trust", "overlay/wire",
		"proxy", "redirect", "registrar", "registrar/regevent", "trunk", "location", "sip", "sip/message", "sip/flow", "sip/transaction", "sip/digest", "sip/resolve"},
	"cmd/p2psip-gateway/internal/report": {"overlay/sim"},
	"cmd/p2psip-gateway":                 {"numbers", "cmd/p2psip-gateway/internal/report", "cmd/p2psip-gateway/internal/gateway", "cmd/p2psip-gateway/internal/identity", "overlay", "overlay/config", "overlay/enroll", "overlay/lan", "overlay/proof", "overlay/trust", "overlay/wire", "overlay/sim", "sip/digest", "location"},
}

// pure packages take the time, randomness and verified identities as arguments: no clock, I/O, locks or goroutines.
var (
	pure   = []string{"numbers", "overlay/wire", "overlay/chord", "overlay/route", "overlay/store", "overlay/redir", "overlay/node", "overlay/sim", "overlay/lease", "overlay/proof", "sip/message", "sip/expiring", "media/sdp"}
	impure = []string{"net", "net/http", "os", "sync", "sync/atomic", "context", "crypto/rand", "math/rand", "syscall"}
	clock  = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// only names libraries that the given packages alone may import, and why.
var only = map[string]struct{ pkg, why string }{
	"github.com/prometheus/client_golang": {"metrics", "metrics are read from counters, in one place"},
	"github.com/pion/dtls/v2":             {"overlay/link", "the DTLS library lives behind one file"},
	"github.com/pion/ice/v4":              {"overlay/ice", "the ICE library lives behind one package"},
	"github.com/pion/turn/v5":             {"overlay/ice", "the TURN library lives behind one package"},
	"github.com/pion/stun/v4":             {"overlay/ice", "the STUN library lives behind one package"},
	"github.com/coder/websocket":          {"sip/flow", "WebSocket frames are one transport of SIP"},
	"go.etcd.io/bbolt":                    {"location overlay/journal", "two durable tables, one owner each"},
	"go.yaml.in/yaml/v3":                  {"cmd/p2psip-gateway/internal/gateway", "configuration is read in one place"},
}

const maxFuncLines = 70

func TestTidy(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		seen[pkg] = true
		return tidyFile(t, pkg, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("layers names %s, which does not exist", pkg)
		}
	}
}

func tidyFile(t *testing.T, pkg, path string) error {
	allowed, ok := layers[pkg]
	if !ok {
		t.Errorf("%s: package %s has no entry in layers", path, pkg)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	at := func(p token.Pos) string { return strings.TrimPrefix(fset.Position(p).String(), "../../") }
	isPure := slices.Contains(pure, pkg)
	for _, imp := range f.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		if own, ok := strings.CutPrefix(p, module); ok && !slices.Contains(allowed, own) {
			t.Errorf("%s: %s may not import %s", at(imp.Pos()), pkg, own)
		}
		if isPure && slices.Contains(impure, p) {
			t.Errorf("%s: pure package imports %s", at(imp.Pos()), p)
		}
		for lib, o := range only {
			if (p == lib || strings.HasPrefix(p, lib+"/")) && !slices.Contains(strings.Fields(o.pkg), pkg) {
				t.Errorf("%s: only %s may import %s: %s", at(imp.Pos()), o.pkg, lib, o.why)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if isPure {
				t.Errorf("%s: go statement in a pure package", at(n.Pos()))
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			if isPure && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
				t.Errorf("%s: time.%s in a pure package; take now as an argument", at(n.Pos()), n.Sel.Name)
			}
			if x.Name == "trust" && n.Sel.Name == "Assume" && pkg != "overlay/sim" {
				t.Errorf("%s: trust.Assume outside the simulator and tests", at(n.Pos()))
			}
		case *ast.FuncDecl:
			if k := fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1; k > maxFuncLines {
				t.Errorf("%s: %s is %d lines; the limit is %d", at(n.Pos()), n.Name.Name, k, maxFuncLines)
			}
		}
		return true
	})
	return nil
}
