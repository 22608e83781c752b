package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// sippCovers is what each cell of SIPp is called in the table, and why it has no other.
var sippCovers = map[string]string{
	"register": "", "refresh": "", "unregister": "", "expiry": "", "offline user": "", "wrong password": "",
	"cancel":            "with UDP, across gateways: `TestE2ECancelWhileRingingIs487`",
	"forking":           "with UDP, across gateways",
	"blind transfer":    "a script has one dialog",
	"attended transfer": "a script has one dialog",
	"MESSAGE both ways": "one way",
}

// phonesTable is the table of docs/phones.md: what TestPhones runs.
func phonesTable() string {
	jssip := newJsSIP(nil)
	columns := []struct {
		title  string
		cannot func(cell string) string
	}{
		{"baresip 1.0.0: UDP, TCP, TLS", func(c string) string { return baresip.cannot[c] }},
		{"linphone 5.1.65: UDP, TCP, TLS", func(c string) string { return linphone5.cannot[c] }},
		{"mixed: UDP, TCP, TLS", func(c string) string {
			if cmp.Or(baresip.cannot[c], linphone5.cannot[c]) != "" {
				return "baresip can not"
			}
			return ""
		}},
		{jssip.name + " in Chromium: WSS", func(c string) string { return jssip.cannot[c] }},
		{"SIPp 3.6.1: UDP, TCP, TLS", func(c string) string {
			if slices.ContainsFunc(sippCells, func(s sippCell) bool { return s.name == c }) {
				return ""
			}
			return sippCovers[c]
		}},
	}
	var b strings.Builder
	b.WriteString("|")
	for _, c := range columns {
		b.WriteString(" | " + c.title)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(columns)) + "|\n")
	for _, row := range phoneCells {
		b.WriteString("| " + row.name)
		for _, c := range columns {
			b.WriteString(" | " + cmp.Or(c.cannot(row.name), "yes"))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// TestPhonesPage holds the table of docs/phones.md to what TestPhones runs; with -update it writes it.
func TestPhonesPage(t *testing.T) {
	const page, begin, end = "../../docs/phones.md", "<!-- table -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal(fmt.Errorf("%s has no place for the table", page))
	}
	comparePage(t, page, head+begin+phonesTable()+end+tail)
}
