package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// Conformance: K-02
func TestPeerCommands(t *testing.T) {
	d := sharedDev(t)
	var self, other gateway.RingReport
	if err := d.get(0, "/api/v1/ring", &self); err != nil {
		t.Fatal(err)
	}
	if err := d.get(2, "/api/v1/ring", &other); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		line string // a regular expression
		into any
	}{
		{[]string{"peer", "ls"}, `(?m)^` + other.Self + ` +127\.0\.0\.1:\d+ +tls +(in|out) +yes +\d+\.\d ms +\d`, new(gateway.PeersReport)},
		{[]string{"peer", "ping", other.Self}, `^` + other.Self + ` +\d+\.\d ms +1 link away, up .*, knows 3 peers\n$`, new(gateway.PingReport)},
		{[]string{"peer", "trace", other.Self}, `^0 +` + self.Self + ` +\d+\.\d ms +0 links.*\n1 +` + other.Self + ` +\d+\.\d ms .*, responsible\n$`,
			new(gateway.TraceReport)},
		{[]string{"peer", "trace", "1001"}, `^0 +` + self.Self + ` .*(\n[12] .*)*, responsible\n$`, new(gateway.TraceReport)},
	} {
		text := cli(t, d, 0, exitOK, c.args...)
		if !regexp.MustCompile(c.line).MatchString(text) {
			t.Errorf("%s: no match for %s in\n%s", strings.Join(c.args, " "), c.line, text)
		}
		raw := cli(t, d, 0, exitOK, append(c.args, "--json")...)
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(c.into); err != nil {
			t.Errorf("%s --json: %v\n%s", strings.Join(c.args, " "), err, raw)
		}
	}
	absent := strings.Repeat("42", 16)
	if text := cli(t, d, 0, exitConfig, "peer", "trace", absent); !strings.Contains(text, "*") || !strings.Contains(text, "no such node") {
		t.Errorf("%s", text)
	}
	cli(t, d, 0, exitConfig, "peer", "trace", "--json", absent)
	cli(t, d, 0, exitConfig, "peer", "ping", "1001@elsewhere.example")
	for _, args := range [][]string{{"peer"}, {"peer", "ls", "x"}, {"peer", "ping"}, {"peer", "walk", "x"}, {"peer", "ls", "--what"}} {
		cli(t, d, 0, exitUsage, args...)
	}
}
