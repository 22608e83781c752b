package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const (
	monitor = "a1a2030405060708090a0b0c0d0e0f10"
	other   = "b1a2030405060708090a0b0c0d0e0f10"
)

func diagnosticKind(kind, nodes string) []byte {
	return document(`<d:diagnostic-kind xmlns:d="` + config.NamespaceDiagnostics + `" kind="` + kind + `">` + nodes + `</d:diagnostic-kind>`)
}

// Conformance: K-07 K-10
func TestRFC7851_7_AccessNodes(t *testing.T) {
	const access = "<d:access-node> " + monitor + " </d:access-node>"
	for _, kind := range []string{"0008", "8", "0x8", "0X0008"} {
		c := mustParse(t, diagnosticKind(kind, access+"<d:access-node>0102</d:access-node>"))
		o := c.Overlay
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "0102") {
			t.Errorf("warnings %q", c.Warnings)
		}
		if !o.Diagnostics() || !o.MayDiagnose(mustNode(t, monitor), wire.DiagnosticAppUptime) {
			t.Errorf("%q: %+v", kind, o.DiagnosticKinds)
		}
		// RFC 7851 §4.1: "The default policy [...] is "deny"".
		if o.MayDiagnose(mustNode(t, other), wire.DiagnosticAppUptime) || o.MayDiagnose(mustNode(t, monitor), wire.DiagnosticRoutingTableSize) {
			t.Errorf("%q: too much: %+v", kind, o.DiagnosticKinds)
		}
	}
	for what, doc := range map[string][]byte{
		"no access-node": diagnosticKind("8", ""), "no kind": diagnosticKind("", access), "a name": diagnosticKind("APP_UPTIME", access),
		"17 bits": diagnosticKind("10000", access),
	} {
		if _, err := config.Parse(doc); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

// TestRFC7851_9_6_MandatoryExtension: a document that has the extension is one that this program can follow.
//
// Conformance: K-10
func TestRFC7851_9_6_MandatoryExtension(t *testing.T) {
	o := mustParse(t, document("<mandatory-extension>urn:ietf:params:xml:ns:p2p:config-diagnostics</mandatory-extension><no-ice>true</no-ice>")).Overlay
	if err := o.Supported(); err != nil || !o.Diagnostics() || o.MayDiagnose(mustNode(t, monitor), wire.DiagnosticAppUptime) {
		t.Errorf("%v, %+v", err, o)
	}
	plain := config.New("a")
	if plain.Diagnostics() || errors.Is(plain.Supported(), config.ErrUnsupported) {
		t.Error("a document without the extension")
	}
}
