package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// What the documentation names has to be there: commands and their flags, make targets, tests, keys of the configuration, codes, metrics, files.

// snippet is a piece of code in a page.
type snippet struct {
	at, text string
	block    bool // a line of its own, not between backticks
}

// docFiles are the pages and whatever else tells people what to type.
func docFiles(t *testing.T) (files []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	files = []string{filepath.Join(root, "README.md"), "explain.tsv", filepath.Join("internal", "gateway", "settings.tsv")}
	for _, dir := range []string{"docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && slices.Contains([]string{".md", ".yaml", ".service"}, filepath.Ext(path)) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

var inBackticks = regexp.MustCompile("`([^`\n]+)`")

// snippets are the lines of code blocks, and what stands between backticks.
func snippets(t *testing.T) (list []snippet) {
	t.Helper()
	for _, file := range docFiles(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(string(b), "\n") {
			at := fmt.Sprintf("%s:%d", strings.TrimPrefix(filepath.ToSlash(file), "../../"), i+1)
			switch {
			case strings.HasPrefix(strings.TrimSpace(line), "```"):
				fenced = !fenced
			case filepath.Ext(file) == ".md" && (fenced || strings.HasPrefix(line, "    ")), strings.HasPrefix(line, "Exec"):
				list = append(list, snippet{at, line, true})
			default:
				for _, m := range inBackticks.FindAllStringSubmatch(line, -1) {
					list = append(list, snippet{at, m[1], false})
				}
			}
		}
	}
	return list
}

// manual is what the program says of its commands.
type manual map[string]string

// page is the help of a command, "" when there is none.
func (m manual) page(t *testing.T, words ...string) string {
	t.Helper()
	name := strings.Join(words, " ")
	if page, ok := m[name]; ok {
		return page
	}
	var out, errs strings.Builder
	if code := dispatch(t.Context(), stdio{strings.NewReader(""), &out, &errs}, append(slices.Clone(words), "--help")); code != exitOK || errs.Len() > 0 {
		out.Reset()
	}
	m[name] = out.String()
	return m[name]
}

// has reports whether a page lists a word at the beginning of a line: a command, or a flag.
func has(page, word string) bool {
	return regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(word) + `(?:\s|$)`).MatchString(page)
}

var (
	invocation = regexp.MustCompile(`^(?:go run \./cmd/p2psip-gateway|(?:\S*/)?p2psip-gateway)\s+`)
	parts      = regexp.MustCompile(`&&|\|\||[|;]\s`)
	wordy      = regexp.MustCompile(`^[a-z][a-z-]*$`)
	flaggy     = regexp.MustCompile(`^\[?(--?[a-z][a-z-]*)`)
)

// wrong tells what a line asks for that there is not. bare: it is only taken for a command when its first words are one.
func (m manual) wrong(t *testing.T, line string, bare bool) error {
	t.Helper()
	words := strings.Fields(line)
	var path []string
	page := m.page(t)
	for len(words) > 0 && wordy.MatchString(words[0]) && strings.Contains(page, " COMMAND ") {
		if !has(page, words[0]) {
			if bare {
				return nil
			}
			return fmt.Errorf("there is no command %q", strings.Join(append(path, words[0]), " "))
		}
		path, words = append(path, words[0]), words[1:]
		page = m.page(t, path...)
	}
	if len(path) == 0 {
		return nil
	}
	usage, _, _ := strings.Cut(page, "\n")
	first := strings.TrimPrefix(usage, "usage: p2psip-gateway "+strings.Join(path, " "))
	if len(words) > 0 && wordy.MatchString(words[0]) && regexp.MustCompile(`^ [a-z]`).MatchString(first) &&
		!slices.Contains(strings.Fields(first), words[0]) {
		if bare {
			return nil
		}
		return fmt.Errorf("%s has no %q", strings.Join(path, " "), words[0])
	}
	for _, w := range words {
		if f := flaggy.FindStringSubmatch(w); f != nil && f[1] != "--help" && !has(page, f[1]) {
			return fmt.Errorf("%s has no flag %s", strings.Join(path, " "), f[1])
		}
	}
	return nil
}

func TestConformanceOfCommandsInDocs(t *testing.T) {
	m, seen := manual{}, 0
	for _, s := range snippets(t) {
		for _, part := range parts.Split(s.text, -1) {
			part = strings.TrimSpace(part)
			line := invocation.ReplaceAllString(part, "")
			named := line != part
			if !named && s.block {
				continue
			}
			seen++
			if err := m.wrong(t, line, !named); err != nil {
				t.Errorf("%s: %s: %v", s.at, s.text, err)
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d commands found: the search is broken", seen)
	}
	for line, good := range map[string]bool{"reg ls --json": true, "reg sl": false, "lookup 1001 --prof x": false, "enroll account add x --dir d": true,
		"enroll acount": false, "peer trace 1001": true, "peer track 1001": false, "status": true, "nothing": false, "run -c x --set a=b": true} {
		if err := m.wrong(t, line, false); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}

var (
	makeTarget = regexp.MustCompile(`^make ([a-z-]+)`)
	namedTest  = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	keyPath    = regexp.MustCompile(`^[a-z_]+(?:\.[a-z_]+)+`)
	metricName = regexp.MustCompile(`p2psip_[a-z_]+`)
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// dataFiles look like keys.
var dataFiles = []string{"overlay.xml", "overlay.db"}

// sources is all Go text of the project, or of its tests only.
func sources(t *testing.T, tests bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || tests != strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		b.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestConformanceOfNamesInDocs(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	tests, code := sources(t, true), sources(t, false)
	var keys []string
	for _, s := range gateway.Settings() {
		keys = append(keys, s.Key)
	}
	known := func(key string) bool {
		return slices.ContainsFunc(keys, func(k string) bool {
			k = strings.ReplaceAll(k, "NAME.", "")
			return k == key || strings.HasPrefix(k, key+".") || strings.HasPrefix(key, k+".")
		})
	}
	for _, s := range snippets(t) {
		if m := makeTarget.FindStringSubmatch(strings.TrimSpace(s.text)); m != nil && !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("%s: there is no make %s", s.at, m[1])
		}
		for _, name := range namedTest.FindAllString(s.text, -1) {
			if !strings.Contains(tests, "func "+name) {
				t.Errorf("%s: there is no test that begins with %s", s.at, name)
			}
		}
		for _, name := range metricName.FindAllString(s.text, -1) {
			if !strings.Contains(code, `"`+name) && !strings.Contains(code, `"`+strings.TrimPrefix(name, "p2psip_")) {
				t.Errorf("%s: there is no metric %s", s.at, name)
			}
		}
		key := keyPath.FindString(s.text)
		if top, _, _ := strings.Cut(key, "."); key != "" && !s.block && slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, top+".") }) &&
			!strings.Contains(s.text, "/") && !slices.Contains(dataFiles, key) && !known(strings.TrimSuffix(strings.ReplaceAll(key, "NAME.", ""), ".")) {
			t.Errorf("%s: there is no key %s", s.at, key)
		}
	}
}

func TestConformanceOfCodesAndLinksInDocs(t *testing.T) {
	var codes []string
	for _, e := range explained() {
		codes = append(codes, e.code)
	}
	for _, file := range docFiles(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range codeWord.FindAllString(string(b), -1) {
			if !slices.Contains(codes, c) && !regexp.MustCompile(`^(?:ISO|RFC|UTF|SHA)`).MatchString(c) {
				t.Errorf("%s: there is no code %s", file, c)
			}
		}
		for _, m := range docLink.FindAllStringSubmatch(string(b), -1) {
			if err := deadLink(file, m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

// deadLink tells why a link of a page leads nowhere.
func deadLink(page, link string) error {
	if filepath.Ext(page) != ".md" || strings.Contains(link, "://") {
		return nil
	}
	file, anchor, _ := strings.Cut(link, "#")
	to := page
	if file != "" {
		to = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
	}
	info, err := os.Stat(to)
	if err != nil || info.IsDir() || anchor == "" {
		return err
	}
	b, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if title := strings.TrimLeft(line, "#"); title != line {
			if strings.ReplaceAll(strings.ToLower(notInAnchor.ReplaceAllString(strings.TrimSpace(title), "")), " ", "-") == anchor {
				return nil
			}
		}
	}
	return fmt.Errorf("%s has no section #%s", link, anchor)
}
