package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

const configurationHead = `# Configuration

One YAML file, and over it the environment, and over that flags: ` + "`p2psip-gateway run -c gateway.yaml --set security.rate=20`" + `. Every key has an environment
variable, made of its name: ` + "`security.ban.time` is `P2PSIP_GATEWAY_SECURITY_BAN_TIME`" + `. A list is written there with blanks between its members, or as
in YAML. What is unknown is an error, wherever it stands. A value in the file may name variables: ` + "`${NAME}`, or `${NAME:-default}`" + `. Relative paths in
the file are relative to it. Durations have a unit: 200ms, 30s, 5m, 1h. [gateway.example.yaml](../deploy/gateway.example.yaml) is a whole file.

    p2psip-gateway check -c gateway.yaml                        what is wrong, before the start
    p2psip-gateway config show -c gateway.yaml --effective --origin
    p2psip-gateway reload                                       the same as SIGHUP

*Change* says what a new value needs: **reload**, or a **restart**. [operations.md](operations.md#changing-the-configuration-of-a-node) has more.

This page is generated from ` + "`cmd/p2psip-gateway/internal/gateway/settings.tsv`" + ` and the defaults in the program:

    go test -run TestConformance ./cmd/p2psip-gateway -update
`

func configurationMarkdown() string {
	b := &strings.Builder{}
	b.WriteString(configurationHead)
	group := "-"
	for _, s := range gateway.Settings() {
		top, _, nested := strings.Cut(s.Key, ".")
		if !nested {
			top = ""
		}
		if top != group {
			group = top
			title := "`" + top + "`"
			if top == "" {
				title = "The node"
			}
			fmt.Fprintf(b, "\n## %s\n\n| Key | Values | Default | Change | Meaning |\n|---|---|---|---|---|\n", title)
		}
		def, change := s.Default, "restart"
		if def != "" {
			def = "`" + def + "`"
		}
		if s.Live {
			change = "reload"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", s.Key, s.Values, def, change, s.Meaning)
	}
	return b.String()
}

// docs/configuration.md is the schema as a page; -update writes it.
//
// Feature: CFG-07
func TestConformanceOfConfiguration(t *testing.T) {
	for _, s := range gateway.Settings() {
		if s.Meaning == "" {
			t.Errorf("internal/gateway/settings.tsv has no line for %s", s.Key)
		}
	}
	comparePage(t, filepath.Join("..", "..", "docs", "configuration.md"), configurationMarkdown())
}
