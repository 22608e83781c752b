package config_test

import (
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const redirExtension = "<mandatory-extension>" + config.NamespaceRedir + "</mandatory-extension>"

// redirKind is a required-kinds element with REDIR; inner stands in its kind.
func redirKind(inner string) string {
	return `<required-kinds><kind-block><kind name="REDIR"><max-count>64</max-count><max-size>512</max-size>` + inner + `</kind></kind-block></required-kinds>`
}

func branchingFactor(n string) string {
	return `<r:branching-factor xmlns:r="` + config.NamespaceRedir + `">` + n + `</r:branching-factor>`
}

// Conformance: I-01 I-04 I-13 F-45
func TestRFC7374_8_BranchingFactor(t *testing.T) {
	for what, c := range map[string]struct {
		doc  string
		want int
	}{
		"by default":           {redirKind(""), 10},
		"in the Kind":          {redirKind(branchingFactor(" 2 ")), 2},
		"in the configuration": {branchingFactor("7") + redirKind(""), 7},
		"in both":              {branchingFactor("7") + redirKind(branchingFactor("3")), 3},
		"behind the Kind":      {redirKind("") + branchingFactor("65536"), 65536},
		"of another model":     {redirKind("<data-model>SINGLE</data-model><access-control>USER-MATCH</access-control>"), 10},
	} {
		conf := mustParse(t, document(redirExtension+c.doc+"<no-ice>true</no-ice>"))
		k, ok := conf.Overlay.Redir()
		if !ok || k.BranchingFactor != c.want || k.Model != wire.Dictionary || k.Access != config.NodeIDMatch || k.MaxCount != 64 {
			t.Errorf("%s: %+v", what, k)
		}
		if b := conf.Overlay.KindBlock(wire.KindREDIR); b == nil || b.Kind != k {
			t.Errorf("%s: %+v", what, b)
		}
		if err := conf.Overlay.Supported(); err != nil || len(conf.Warnings) > 0 {
			t.Errorf("%s: %v, warnings %q", what, err, conf.Warnings)
		}
	}
	for _, n := range []string{"", "0", "1", "-2", "65537", "ten"} {
		for _, doc := range []string{branchingFactor(n), redirKind(branchingFactor(n))} {
			if _, err := config.Parse(document(doc)); err == nil {
				t.Errorf("branching-factor %q is accepted", n)
			}
		}
	}
	if _, ok := config.New("a.example").Redir(); ok {
		t.Error("a document without REDIR has it")
	}
}

// Conformance: I-13
func TestRFC7374_8_WithoutMandatoryExtension(t *testing.T) {
	c := mustParse(t, document(redirKind("")))
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "mandatory-extension") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Conformance: I-04 I-13
func TestRFC7374_8_WrittenDocuments(t *testing.T) {
	o := config.New("a.example")
	o.WithRedir(64, 512)
	o.Kinds[0].BranchingFactor = 16
	doc := write(o)
	jing(t, doc)
	c := mustParse(t, doc)
	if k, ok := c.Overlay.Redir(); !ok || k != o.Kinds[0] || len(c.Warnings) > 0 {
		t.Errorf("%+v, warnings %q", k, c.Warnings)
	}
	// On its own, as a ConfigUpdate brings it.
	b, err := config.ParseKindBlock(config.AppendKindBlock(nil, c.Overlay.KindBlock(wire.KindREDIR)))
	if err != nil || b.Kind != o.Kinds[0] {
		t.Errorf("%+v, %v", b.Kind, err)
	}
}
