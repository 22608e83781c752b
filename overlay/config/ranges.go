package config

import (
	"encoding/xml"
	"strconv"

	"github.com/p2psip/p2psip-gateway/numbers"
)

// NamespaceRanges is that of number-range: how long the prefixes of number ranges are in this overlay, and how many digits follow. The element is
// this program's own. Who does not know it asks for no ranges, and stores and routes like anybody else.
const NamespaceRanges = "https://github.com/p2psip/p2psip-gateway/ns/number-ranges"

var rangeElement = xml.Name{Space: NamespaceRanges, Local: "number-range"}

// numberRange reads one shape: prefix is the length of the prefix in characters, digits how many follow; without it any.
func (p *parser) numberRange(e *element) error {
	s := numbers.Shape{Digits: numbers.AnyDigits}
	length, _ := e.attr("prefix")
	var err error
	if s.Prefix, err = strconv.Atoi(length); err != nil {
		return e.refuseAs("number-range/@prefix", length, "must be a number from 1 to %d", numbers.MaxLen)
	}
	if digits, ok := e.attr("digits"); ok {
		if s.Digits, err = strconv.Atoi(digits); err != nil || s.Digits < 1 {
			return e.refuseAs("number-range/@digits", digits, "must be a number from 1 to %d", numbers.MaxLen)
		}
	}
	if !s.Valid() {
		return e.refuse(s.String(), "is no shape of a range: a prefix has 1 to %d characters, and at most as many digits follow", numbers.MaxLen)
	}
	if len(p.o.Ranges) == numbers.MaxShapes && !p.o.Ranges.Has(s) {
		return e.refuse(s.String(), "is one too many: a lookup asks for %d names at most", numbers.MaxShapes)
	}
	p.o.Ranges = numbers.NewPlan(append(p.o.Ranges, s)...)
	return nil
}

// ranges writes the shapes. The element declares its namespace itself, like those of other extensions.
func (w *writer) ranges(plan numbers.Plan) {
	for _, s := range plan {
		w.raw("<ranges:number-range")
		w.attr("xmlns:ranges", NamespaceRanges)
		w.attr("prefix", strconv.Itoa(s.Prefix))
		if s.Digits != numbers.AnyDigits {
			w.attr("digits", strconv.Itoa(s.Digits))
		}
		w.raw("/>\n")
	}
}
