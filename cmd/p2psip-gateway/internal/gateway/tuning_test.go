package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
)

func TestTuningReport(t *testing.T) {
	if tuningOf(node.Status{}) != nil {
		t.Error("a report of an overlay without self-tuning")
	}
	r := tuningOf(node.Status{Tuning: &node.Tuning{Used: chord.Estimates{Size: 500, Joins: 1.0 / 86400, Fails: 2.5 / 86400},
		Interval: 93 * time.Second, Lists: 9, Fingers: 16}})
	const want = "about 500 peers, 1 joins a day, a peer leaves 2.50 times a day; stabilizes every 93 s, lists of 9, 16 fingers"
	if r.String() != want {
		t.Errorf("%s\nwant %s", r, want)
	}
	raw, err := json.Marshal(RingReport{Tuning: r})
	if err != nil || !strings.Contains(string(raw), `"self_tuning":{"network_size":500,"join_rate":1,"leave_rate":2.5,"interval_seconds":93,"list_size":9,"finger_size":16}`) {
		t.Errorf("%s %v", raw, err)
	}
}
