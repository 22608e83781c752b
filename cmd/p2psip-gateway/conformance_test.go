package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateConformance = flag.Bool("update", false, "write docs/conformance.md instead of comparing it")

const (
	conformanceItems = "docs/conformance/items.tsv"
	conformancePage  = "docs/conformance.md"
	conformanceTag   = "Conformance:"
)

// conformanceItem is one line of docs/conformance/items.tsv, with the tests that name it.
type conformanceItem struct {
	id, level, section, requirement string
	code                            []string // files or packages; none for "-"
	state, note                     string
	tests                           []conformanceTest
}

// conformanceTest is one test whose doc comment has a line "Conformance:" followed by item ids.
type conformanceTest struct{ file, name string }

var (
	conformanceLevels = []string{"M", "S", "O", "D"}
	conformanceStates = []string{"done", "partly", "refused", "later"}
	conformanceGroups = []struct{ letter, title string }{
		{"A", "Links and framing"}, {"B", "Messages"}, {"C", "Routing and transactions"}, {"D", "Storage"}, {"E", "CHORD-RELOAD"},
		{"F", "Certificates, enrollment, configuration"}, {"G", "Bootstrap"}, {"H", "SIP usage and gateway"},
		{"I", "Service discovery by ReDiR"}, {"J", "Self-tuning"}, {"K", "Diagnostics"}, {"L", "Shared resources"},
	}
)

// TestConformance holds docs/conformance.md to the checklist in items.tsv and to the tests that there are. With -update
// it writes the page.
func TestConformance(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(conformanceItems)))
	if err != nil {
		t.Fatal(err)
	}
	items, err := parseConformance(string(b))
	if err != nil {
		t.Fatal(err)
	}
	index := map[string]*[]conformanceTest{}
	for i := range items {
		index[items[i].id] = &items[i].tests
	}
	collectTests(t, root, conformanceTag, index)
	for i := range items {
		if why := items[i].wrong(root); why != "" {
			t.Errorf("%s: %s: %s", conformanceItems, items[i].id, why)
		}
	}
	comparePage(t, filepath.Join(root, filepath.FromSlash(conformancePage)), conformanceMarkdown(items))
}

// comparePage holds a generated page to what it is to be; with -update it writes it.
func comparePage(t *testing.T, page, want string) {
	t.Helper()
	if *updateConformance {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != want {
		t.Errorf("%s is not what its items and the tests say (%v): go test -run '^TestConformance|TestPhonesPage' ./cmd/p2psip-gateway -update", page, err)
	}
}

// parseConformance reads items.tsv.
func parseConformance(text string) ([]conformanceItem, error) {
	var items []conformanceItem
	before := "@-00"
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 7 || strings.Contains(line, "|") {
			return nil, fmt.Errorf("%s:%d: want 7 columns and no bar", conformanceItems, n+2)
		}
		i := conformanceItem{id: f[0], level: f[1], section: f[2], requirement: f[3], state: f[5], note: f[6]}
		if f[4] != "-" {
			i.code = strings.Fields(f[4])
		}
		if !follows(before, i.id) {
			return nil, fmt.Errorf("%s:%d: %s after %s", conformanceItems, n+2, i.id, before)
		}
		before = i.id
		items = append(items, i)
	}
	return items, nil
}

// follows reports whether an item id comes right after another: the next of its group, or the first of the next group.
func follows(before, id string) bool {
	var a, b byte
	var i, k int
	if _, err := fmt.Sscanf(before+" "+id, "%c-%02d %c-%02d", &a, &i, &b, &k); err != nil {
		return false
	}
	return a == b && k == i+1 || b == a+1 && k == 1
}

// wrong says what an item must not be, or nothing.
func (i *conformanceItem) wrong(root string) string {
	switch {
	case !slices.Contains(conformanceLevels, i.level) || !slices.Contains(conformanceStates, i.state) ||
		i.section == "" || i.requirement == "":
		return "level, state, section or requirement is none"
	case i.state != "done" && i.note == "":
		return i.state + " without a note that says what is missing, or why"
	case i.state == "done" && len(i.tests) == 0:
		return "done, but no test has the line // " + conformanceTag + " " + i.id
	case i.state == "later" && len(i.tests) > 0:
		return "later, but there are tests: " + i.tests[0].name
	case len(i.code) == 0 && (i.state == "done" || i.state == "partly"):
		return i.state + " by no code"
	}
	for _, c := range i.code {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(c))); err != nil {
			return c + " does not exist"
		}
	}
	return ""
}

// collectTests finds the tags of every test of the repository and adds the tests to the items of index that they name. What
// is wrong with a tag fails t.
func collectTests(t *testing.T, root, tag string, index map[string]*[]conformanceTest) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		wrong, err := collectTags(p, filepath.ToSlash(rel), tag, index)
		for _, w := range wrong {
			t.Error(w)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tests := range index {
		slices.SortFunc(*tests, func(a, b conformanceTest) int {
			return strings.Compare(path.Dir(a.file)+" "+a.name, path.Dir(b.file)+" "+b.name)
		})
	}
}

var testName = regexp.MustCompile(`^(Test|Fuzz)[^a-z]`)

// collectTags takes the tags of one file: lines of the doc comments of its tests.
func collectTags(file, rel, tag string, index map[string]*[]conformanceTest) (complaints []string, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	tests := map[*ast.CommentGroup]string{}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Doc != nil && fn.Recv == nil && testName.MatchString(fn.Name.Name) {
			tests[fn.Doc] = fn.Name.Name
		}
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			ids, ok := strings.CutPrefix(c.Text, "// "+tag)
			if !ok {
				continue
			}
			at := fmt.Sprintf("%s:%d: ", rel, fset.Position(c.Pos()).Line)
			name := tests[group]
			if name == "" {
				complaints = append(complaints, at+"a tag outside of the doc comment of a test")
			}
			for _, id := range strings.Fields(ids) {
				if tests := index[id]; tests == nil {
					complaints = append(complaints, at+id+" is no item for "+tag)
				} else {
					*tests = append(*tests, conformanceTest{rel, name})
				}
			}
		}
	}
	return complaints, nil
}

const conformanceHead = `# Conformance

One row for each item of a checklist of what RELOAD (RFC 6940), its SIP usage (RFC 7904) and the extensions ask of a peer and gateway. A section
without an RFC is of RFC 6940; *local* marks a rule of ours where the RFCs say nothing.

Level: **M** the RFC demands it, **S** it recommends it, **O** it permits it, **D** a decision of ours.
State: **done** and proven by the tests named; **partly**, with what is missing; **refused**, with the reason; **later**, with the work that it
belongs to.

This page is generated. The items are [conformance/items.tsv](conformance/items.tsv); a test proves the items that a line
` + "`// Conformance: A-09 A-10`" + ` in its doc comment names. The test TestConformance fails when a tag names no item, an item that is done has no test,
the code named does not exist, or this page is out of date; this writes it anew:

    go test -run TestConformance ./cmd/p2psip-gateway -update

`

const conformanceColumns = "| Item | Level | Section | Requirement | Code | Tests | State |\n|---|---|---|---|---|---|---|\n"

func conformanceMarkdown(items []conformanceItem) string {
	b := &strings.Builder{}
	b.WriteString(conformanceHead)
	count := func(name string, pick func(*conformanceItem) bool) {
		fmt.Fprintf(b, "| %s |", name)
		total := 0
		for _, state := range conformanceStates {
			n := 0
			for i := range items {
				if items[i].state == state && pick(&items[i]) {
					n++
				}
			}
			total += n
			fmt.Fprintf(b, " %d |", n)
		}
		fmt.Fprintf(b, " %d |\n", total)
	}
	b.WriteString("## Count\n\n| Level | done | partly | refused | later | all |\n|---|--:|--:|--:|--:|--:|\n")
	for _, level := range conformanceLevels {
		count(level, func(i *conformanceItem) bool { return i.level == level })
	}
	count("all", func(*conformanceItem) bool { return true })
	count("M of groups A to H", func(i *conformanceItem) bool { return i.level == "M" && i.id[0] <= 'H' })
	b.WriteString("\n| Group | done | partly | refused | later | all |\n|---|--:|--:|--:|--:|--:|\n")
	for _, g := range conformanceGroups {
		count(g.letter+". "+g.title, func(i *conformanceItem) bool { return i.id[:1] == g.letter })
	}
	for _, g := range conformanceGroups {
		fmt.Fprintf(b, "\n## %s. %s\n\n%s", g.letter, g.title, conformanceColumns)
		for i := range items {
			if items[i].id[:1] == g.letter {
				items[i].row(b)
			}
		}
	}
	return b.String()
}

func (i *conformanceItem) row(b *strings.Builder) {
	var code []string
	for _, c := range i.code {
		code = append(code, fmt.Sprintf("[%s](../%s)", c, c))
	}
	state := i.state
	if i.note != "" {
		state += ": " + i.note
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", i.id, i.level, i.section, i.requirement,
		strings.Join(code, "<br>"), testLinks(i.tests), state)
}

// testLinks lists tests by package.
func testLinks(tests []conformanceTest) string {
	var out []string
	last := ""
	for _, t := range tests {
		link := fmt.Sprintf("[%s](../%s)", t.name, t.file)
		if pkg := path.Dir(t.file); pkg != last {
			link = pkg + ": " + link
			last = pkg
		}
		out = append(out, link)
	}
	return strings.Join(out, "<br>")
}

func TestConformanceChecksSeeWhatIsWrong(t *testing.T) {
	root, tests := filepath.Join("..", ".."), []conformanceTest{{"a_test.go", "TestA"}}
	good := conformanceItem{id: "A-01", level: "M", section: "§1", requirement: "x", code: []string{"go.mod"}, state: "done", tests: tests}
	for want, spoil := range map[string]func(*conformanceItem){
		"":               func(*conformanceItem) {},
		"level":          func(i *conformanceItem) { i.level = "X" },
		"no test":        func(i *conformanceItem) { i.tests = nil },
		"without a note": func(i *conformanceItem) { i.state = "partly" },
		"there are test": func(i *conformanceItem) { i.state, i.note = "later", "x" },
		"by no code":     func(i *conformanceItem) { i.code = nil },
		"does not exist": func(i *conformanceItem) { i.code = []string{"nowhere.go"} },
	} {
		i := good
		spoil(&i)
		if got := i.wrong(root); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, text := range []string{"head\nA-02\tM\t1\tx\t-\tlater\ty", "head\nA-01\tM\t1\tx\t-\tlater", "head\nA-01\tM\t1\ta|b\t-\tlater\ty"} {
		if items, err := parseConformance(text); err == nil {
			t.Errorf("%q is read as %+v", text, items)
		}
	}
	const code = "package a\n\n// Conformance: A-01 Z-99\nfunc TestA() {}\n\n// Conformance: A-01\n\nfunc TestB() {}\n"
	file := filepath.Join(t.TempDir(), "a_test.go")
	write(t, file, code)
	i := conformanceItem{id: "A-01"}
	complaints, err := collectTags(file, "a_test.go", conformanceTag, map[string]*[]conformanceTest{"A-01": &i.tests})
	if err != nil || len(complaints) != 2 || !strings.Contains(complaints[0], "3: Z-99") || !strings.Contains(complaints[1], ":6:") {
		t.Errorf("%q, %v", complaints, err)
	}
	if len(i.tests) != 2 || i.tests[0] != tests[0] || i.tests[1].name != "" {
		t.Errorf("%+v", i.tests)
	}
}
