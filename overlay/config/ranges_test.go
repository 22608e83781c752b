package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

func rangeElement(attributes string) string {
	return `<r:number-range xmlns:r="` + config.NamespaceRanges + `" ` + attributes + `/>`
}

// TestNumberRanges reads the shapes of the ranges, the longest prefix first; a document of another implementation has none.
//
// Feature: TRK-02
func TestNumberRanges(t *testing.T) {
	for body, want := range map[string]numbers.Plan{
		"": nil,
		rangeElement(`prefix="1" digits="2"`) + rangeElement(`prefix="9"`) + rangeElement(`prefix="9"`): {{Prefix: 9, Digits: numbers.AnyDigits}, {Prefix: 1, Digits: 2}},
	} {
		c := mustParse(t, document(body))
		if d := cmp.Diff(want, c.Overlay.Ranges); d != "" || len(c.Warnings) > 0 {
			t.Error(d, c.Warnings)
		}
	}
	for _, bad := range []string{``, `prefix="0"`, `prefix="33"`, `prefix="nine"`, `prefix="1" digits="0"`, `prefix="1" digits="-1"`, `prefix="1" digits="33"`, `digits="2"`} {
		if _, err := config.Parse(document(rangeElement(bad))); err == nil || !strings.Contains(err.Error(), "number-range") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTooManyShapesOfRanges(t *testing.T) {
	var body strings.Builder
	for i := range numbers.MaxShapes {
		body.WriteString(rangeElement(`prefix="` + string(rune('1'+i%9)) + `" digits="` + string(rune('1'+i/9)) + `"`))
	}
	if o := mustParse(t, document(body.String())).Overlay; len(o.Ranges) != numbers.MaxShapes {
		t.Error(o.Ranges)
	}
	if _, err := config.Parse(document(body.String() + rangeElement(`prefix="30"`))); err == nil {
		t.Error("one more is taken")
	}
}
