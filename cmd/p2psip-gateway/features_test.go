package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	featureItems = "docs/features/items.tsv"
	featurePage  = "docs/features.md"
	featureTag   = "Feature:"
)

// featureItem is one line of docs/features/items.tsv, with the tests that name it.
type featureItem struct {
	id, level, section, requirement, state, note string

	tests []conformanceTest
}

type featureGroup struct{ prefix, title string }

var (
	featureLevels = []string{"P0", "P1", "P2"}
	featureGroups = []featureGroup{
		{"PRX", "Proxy"}, {"REG", "Registrar"}, {"TRN", "Transports"}, {"NAT", "NAT"}, {"SEC", "Security"}, {"RDR", "Redirect"},
		{"TRK", "Trunks"}, {"CFG", "Configuration"}, {"MED", "Media"},
	}
)

// TestConformanceOfFeatures holds docs/features.md to the list in items.tsv and to the tests that there are. With -update it
// writes the page.
func TestConformanceOfFeatures(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(featureItems)))
	if err != nil {
		t.Fatal(err)
	}
	items, err := parseFeatures(string(b))
	if err != nil {
		t.Fatal(err)
	}
	index := map[string]*[]conformanceTest{}
	for i := range items {
		index[items[i].id] = &items[i].tests
	}
	collectTests(t, root, featureTag, index)
	for i := range items {
		if why := items[i].wrong(); why != "" {
			t.Errorf("%s: %s: %s", featureItems, items[i].id, why)
		}
	}
	comparePage(t, filepath.Join(root, filepath.FromSlash(featurePage)), featureMarkdown(items))
}

// parseFeatures reads items.tsv: the groups in their order, numbers rising within each.
func parseFeatures(text string) ([]featureItem, error) {
	var items []featureItem
	group, before := 0, 0
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n")[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 6 || strings.Contains(line, "|") {
			return nil, fmt.Errorf("%s:%d: want 6 columns and no bar", featureItems, n+2)
		}
		var number int
		if _, err := fmt.Sscanf(f[0][min(len(f[0]), 3):], "-%02d", &number); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", featureItems, n+2, f[0], err)
		}
		at := slices.IndexFunc(featureGroups, func(g featureGroup) bool { return strings.HasPrefix(f[0], g.prefix) })
		if at < group || at == group && number <= before {
			return nil, fmt.Errorf("%s:%d: %s is out of order", featureItems, n+2, f[0])
		}
		group, before = at, number
		items = append(items, featureItem{id: f[0], level: f[1], section: f[2], requirement: f[3], state: f[4], note: f[5]})
	}
	return items, nil
}

// wrong says what an item must not be, or nothing.
func (i *featureItem) wrong() string {
	switch {
	case !slices.Contains(featureLevels, i.level) || !slices.Contains(conformanceStates, i.state) || i.section == "" || i.requirement == "":
		return "level, state, section or requirement is none"
	case i.state != "done" && i.note == "":
		return i.state + " without a note that says what is missing, or why"
	case i.state == "done" && len(i.tests) == 0:
		return "done, but no test has the line // " + featureTag + " " + i.id
	case i.state == "later" && len(i.tests) > 0:
		return "later, but there are tests: " + i.tests[0].name
	}
	return ""
}

const featureHead = `# Features

What plain SIP phones and the people who run them expect of a front end, one row each, and the tests that show it. **P0** is what real phones need,
**P1** what running it needs, **P2** what few need. State: **done** and proven by the tests named; **partly**, with what is missing; **refused**, with the reason; **later**,
with the work that it belongs to. What the RELOAD side owes is in [conformance.md](conformance.md).

This page is generated. The items are [features/items.tsv](features/items.tsv); a test shows the items that a line ` + "`// Feature: PRX-07 REG-01`" + ` in
its doc comment names. This writes it anew:

    go test -run TestConformance ./cmd/p2psip-gateway -update

`

func featureMarkdown(items []featureItem) string {
	b := &strings.Builder{}
	b.WriteString(featureHead)
	b.WriteString("| Group | done | partly | refused | later | all |\n|---|--:|--:|--:|--:|--:|\n")
	for _, g := range featureGroups {
		fmt.Fprintf(b, "| %s |", g.title)
		total := 0
		for _, state := range conformanceStates {
			n := 0
			for i := range items {
				if items[i].state == state && items[i].id[:3] == g.prefix {
					n++
				}
			}
			total += n
			fmt.Fprintf(b, " %d |", n)
		}
		fmt.Fprintf(b, " %d |\n", total)
	}
	for _, g := range featureGroups {
		fmt.Fprintf(b, "\n## %s\n\n| Item | Level | Source | Requirement | Tests | State |\n|---|---|---|---|---|---|\n", g.title)
		for i := range items {
			if it := &items[i]; it.id[:3] == g.prefix {
				state := it.state
				if it.note != "" {
					state += ": " + it.note
				}
				fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", it.id, it.level, it.section, it.requirement, testLinks(it.tests), state)
			}
		}
	}
	return b.String()
}

func TestConformanceOfFeaturesSeesWhatIsWrong(t *testing.T) {
	good := featureItem{id: "PRX-01", level: "P0", section: "-", requirement: "x", state: "done", tests: []conformanceTest{{"a_test.go", "TestA"}}}
	for want, spoil := range map[string]func(*featureItem){
		"":               func(*featureItem) {},
		"level":          func(i *featureItem) { i.level = "P9" },
		"no test":        func(i *featureItem) { i.tests = nil },
		"without a note": func(i *featureItem) { i.state = "partly" },
		"there are test": func(i *featureItem) { i.state, i.note = "later", "x" },
	} {
		i := good
		spoil(&i)
		if got := i.wrong(); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, text := range []string{"h\nPRX-02\tP0\t-\tx\tlater\ty\nPRX-01\tP0\t-\tx\tlater\ty", "h\nPRX-01\tP0\tx", "h\nXYZ-01\tP0\t-\tx\tlater\ty", "h\nREG\tP0\t-\tx\tlater\ty"} {
		if items, err := parseFeatures(text); err == nil {
			t.Errorf("%q is read as %+v", text, items)
		}
	}
}
