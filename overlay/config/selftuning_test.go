package config_test

import (
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

const (
	tuningPlugin    = "<topology-plugin>CHORD-SELF-TUNING</topology-plugin>"
	tuningExtension = "<mandatory-extension>urn:ietf:params:xml:ns:p2p:self-tuning</mandatory-extension>"
)

func toProbe(n string) string {
	return `<t:number-of-peers-to-probe xmlns:t="urn:ietf:params:xml:ns:p2p:self-tuning">` + n + `</t:number-of-peers-to-probe>`
}

// TestRFC7363_7_NumberOfPeersToProbe: "The default value is 4." "This namespace is added into the <mandatory-extension> element".
//
// Conformance: F-45 J-01 J-15
func TestRFC7363_7_NumberOfPeersToProbe(t *testing.T) {
	for what, c := range map[string]struct {
		body    string
		tuned   bool
		peers   int
		warning string
	}{
		"plain":                   {"", false, 4, ""},
		"default":                 {tuningPlugin + tuningExtension, true, 4, ""},
		"nine":                    {tuningPlugin + tuningExtension + toProbe("9"), true, 9, ""},
		"too few":                 {tuningPlugin + tuningExtension + toProbe("2"), true, 2, "RFC 7363 recommends 4"},
		"more than are kept":      {tuningPlugin + tuningExtension + toProbe("4294967295"), true, 64, ""},
		"no mandatory-extension":  {tuningPlugin + toProbe("9"), true, 9, "mandatory-extension does not name urn:ietf:params:xml:ns:p2p:self-tuning"},
		"the element alone":       {toProbe("9"), false, 4, "mandatory-extension does not name urn:ietf:params:xml:ns:p2p:self-tuning"},
		"the plug-in alone":       {tuningPlugin, true, 4, "mandatory-extension does not name"},
		"the extension is enough": {tuningExtension, false, 4, ""},
	} {
		got := mustParse(t, document(c.body+"<no-ice>true</no-ice>"))
		o, warnings := got.Overlay, strings.Join(got.Warnings, " ")
		if o.SelfTuning() != c.tuned || o.PeersToProbe != c.peers || o.Supported() != nil {
			t.Errorf("%s: %v, %d peers, %v", what, o.SelfTuning(), o.PeersToProbe, o.Supported())
		}
		if (warnings == "") != (c.warning == "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: %q, want %q", what, warnings, c.warning)
		}
	}
	for _, bad := range []string{"", "-1", "four", "4294967296"} {
		if _, err := config.Parse(document(toProbe(bad))); err == nil {
			t.Errorf("%q peers are accepted", bad)
		}
	}
}

// TestRFC7363_9_2_OtherAlgorithm: peers that tune themselves and peers that do not can not be in one overlay, so that everybody has to
// enter it again.
//
// Conformance: J-01
func TestRFC7363_9_2_OtherAlgorithm(t *testing.T) {
	plain, tuned := config.New("a.example"), config.WithSelfTuning(config.New("a.example"))
	if d, ok := config.Rejoin(plain, tuned); !ok || d.Element != "topology-plugin" {
		t.Errorf("%v %v", d, ok)
	}
	if tuned.ChordReactive || len(config.WithSelfTuning(tuned).MandatoryExtensions) != 1 {
		t.Errorf("%+v", tuned)
	}
}
