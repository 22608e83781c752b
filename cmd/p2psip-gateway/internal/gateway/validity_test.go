package gateway

import (
	"strings"
	"testing"
	"time"
)

// What the operator reads: what has ended, what ends next, and who does not answer.
func TestRemarks(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ends := func(node, user, document time.Duration) []EndReport {
		return []EndReport{{"certificate of this node", now.Add(node), thenNode}, {"certificate of a@d", now.Add(user), thenUser},
			{"configuration document", now.Add(document), thenDocument}}
	}
	for name, c := range map[string]struct {
		r    StatusReport
		want []string
	}{
		"nothing": {StatusReport{}, nil},
		"all is well": {StatusReport{Valid: ends(time.Hour, 2*time.Hour, 3*time.Hour), Servers: []ServerReport{{Server: "s:1", Answered: now}}},
			[]string{"good until 2026-05-01T13:00:00Z, the end of the certificate of this node: then the other nodes close"}},
		"one has ended": {StatusReport{Valid: ends(-time.Hour, time.Hour, 3*time.Hour)},
			[]string{"certificate of this node ended at 2026-05-01T11:00:00Z: the other", "good until 2026-05-01T13:00:00Z, the end of the certificate of a@d"}},
		"a slow clock":  {StatusReport{ClockSkew: 125.2}, []string{"this node is 2m5s behind those of its neighbours: check NTP"}},
		"a fast clock":  {StatusReport{ClockSkew: -61}, []string{"this node is 1m1s ahead of those of its neighbours: check NTP"}},
		"a right clock": {StatusReport{ClockSkew: 59}, nil},
		"a bad reload": {StatusReport{LastReload: &ReloadReport{Time: now, Error: "x.yaml:1:1 E0102 a\nx.yaml:2:1 E0102 b"}},
			[]string{"the configuration was not read again at 2026-05-01T12:00:00Z, the one before stays: x.yaml:1:1 E0102 a"}},
		"a restart is due": {StatusReport{LastReload: &ReloadReport{Restart: []ChangeReport{{Key: "sip.listen"}, {Key: "domain"}}}},
			[]string{"these keys of the configuration wait for a restart: sip.listen, domain"}},
		"a good reload": {StatusReport{LastReload: &ReloadReport{}}, nil},
		"a server is gone": {StatusReport{Servers: []ServerReport{{Server: "s:1", Since: now, Error: "refused"}, {Server: "s:2", Since: now}}},
			[]string{"enrollment server s:1 unreachable since 2026-05-01T12:00:00Z (refused): everything goes on", "s:2 unreachable since 2026-05-01T12:00:00Z (no answer)"}},
	} {
		got := c.r.remarks(now)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(got[i], w) {
				t.Errorf("%s: %q, want %q", name, got[i], w)
			}
		}
	}
}
