package gateway

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Dial is a word that may be a number as one dials it: 0301 and 112 are to be quoted, or YAML takes them for numbers to count with. DialList is
// a list of them, which may be written as one.
type (
	Dial     string
	DialList []Dial
)

// UnmarshalYAML reads either form.
func (l *DialList) UnmarshalYAML(n *yaml.Node) error {
	var words List
	err := words.UnmarshalYAML(n)
	*l = nil
	for _, w := range words {
		*l = append(*l, Dial(w))
	}
	return err
}

func dialled(t reflect.Type) bool {
	return t == reflect.TypeFor[Dial]() || t == reflect.TypeFor[DialList]()
}

// quoted reports whether no number stands without quotes in a node; it complains of each.
func (d *decoder) quoted(n *yaml.Node, key string) bool {
	fine := true
	for _, item := range n.Content {
		fine = d.quoted(item, key) && fine
	}
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float") {
		d.bad(n, "E0104 %s: a number that is dialled, or a name, is written in quotes: %q", key, n.Value)
		return false
	}
	return fine
}

// named decodes a mapping of names to groups or words, over what is there.
func (d *decoder) named(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		d.bad(n, "E0104 %s: want names, and what belongs to them", key)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		switch {
		case !d.quoted(name, key):
			continue
		case name.Value == "" || strings.ContainsAny(name.Value, " .[]{},:@"):
			d.bad(name, "E0104 %s: %q is no name: want letters, digits, - and _", key, name.Value)
			continue
		case v.MapIndex(reflect.ValueOf(name.Value)).IsValid():
			d.bad(name, "E0104 %s.%s: stands here twice", key, name.Value)
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if defaults, ok := e.Addr().Interface().(interface{ defaults() }); ok {
			defaults.defaults()
		}
		d.value(n.Content[i+1], e, key+"."+name.Value)
		d.origins[key+"."+name.Value] = d.place(name)
		v.SetMapIndex(reflect.ValueOf(name.Value), e)
	}
}

// inline writes a value of the configuration on one line, as YAML has it, without what is not set. What is secret is masked.
func inline(v reflect.Value) string {
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for f, value := range v.Fields() {
			name := f.Tag.Get("yaml")
			switch {
			case value.IsZero():
			case name == "secret" || name == "password":
				parts = append(parts, name+": "+masked)
			default:
				parts = append(parts, name+": "+inline(value))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			parts = append(parts, k+": "+inline(v.MapIndex(reflect.ValueOf(k))))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, inline(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return word(v)
	}
	return written(v)
}

// word quotes what YAML would read as something else.
func word(v reflect.Value) string {
	s := v.String()
	var n yaml.Node
	if v.Type() == reflect.TypeFor[Dial]() || s == "" || strings.ContainsAny(s, ",[]{}#&*!|>'\"%@`: \t") && !strings.Contains(s, "://") {
		return fmt.Sprintf("%q", s)
	}
	if yaml.Unmarshal([]byte(s), &n) != nil || len(n.Content) != 1 || n.Content[0].ShortTag() != "!!str" {
		return fmt.Sprintf("%q", s)
	}
	return s
}
