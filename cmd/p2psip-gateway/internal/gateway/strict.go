package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// List is a list of strings that may be written as one string.
type List []string

// UnmarshalYAML reads either form.
func (l *List) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = List{n.Value}
		return nil
	}
	var s []string
	err := n.Decode(&s)
	*l = s
	return err
}

// Percent is a part of a whole, written "10%".
type Percent float64

// UnmarshalYAML reads a number and its sign.
func (p *Percent) UnmarshalYAML(n *yaml.Node) error {
	text, ok := strings.CutSuffix(n.Value, "%")
	v, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		return errors.New("no percentage")
	}
	*p = Percent(v)
	return nil
}

// decoder decodes YAML into a struct, over what it holds, and notes where each value stood. Every key that has no field is an error, at every
// level, with its place and the nearest name; and so is each value of another type.
type decoder struct {
	path    string
	environ map[string]string // for ${NAME}; nil: it stands for itself
	origins map[string]string // by key
	errs    []error
}

// document decodes one YAML document into v, a pointer to a struct.
func (d *decoder) document(b []byte, v any) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%s: E0101 %w", d.path, err)
	}
	if len(doc.Content) > 0 { // an empty file says nothing
		d.group(doc.Content[0], reflect.ValueOf(v).Elem(), "")
	}
	return errors.Join(d.errs...)
}

func (d *decoder) bad(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s %s", d.place(n), fmt.Sprintf(format, args...)))
}

func (d *decoder) place(n *yaml.Node) string {
	if n.Line == 0 { // of no file
		return d.path + ":"
	}
	return fmt.Sprintf("%s:%d:%d", d.path, n.Line, n.Column)
}

// group decodes a mapping into a struct; prefix begins its keys.
func (d *decoder) group(n *yaml.Node, v reflect.Value, prefix string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" {
			d.bad(n, "E0104 %s: want keys and values", strings.TrimSuffix(prefix, "."))
		}
		return
	}
	fields := map[string]int{}
	var names []string
	for f := range v.Type().Fields() {
		name := f.Tag.Get("yaml")
		fields[name], names = f.Index[0], append(names, name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		index, ok := fields[key.Value]
		switch {
		case !ok:
			d.bad(key, "E0102 unknown key %q; %s", key.Value, suggest(key.Value, names))
		case seen[key.Value]:
			d.bad(key, "E0104 %s: stands here twice", prefix+key.Value)
		default:
			d.value(value, v.Field(index), prefix+key.Value)
		}
		seen[key.Value] = true
	}
}

// value decodes what stands behind a key.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case v.Kind() == reflect.Struct:
		d.group(n, v, key+".")
		return
	case n.ShortTag() == "!!null":
		return // nothing is said
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		d.groups(n, v, key)
	case v.Kind() == reflect.Map:
		d.named(n, v, key)
	default:
		d.scalars(n, v, key)
	}
	d.origins[key] = d.place(n)
}

// groups decodes a list of mappings.
func (d *decoder) groups(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		d.bad(n, "E0104 %s: want a list", key)
		return
	}
	v.SetLen(0)
	for i, item := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		d.group(item, e, fmt.Sprintf("%s[%d].", key, i))
		v.Set(reflect.Append(v, e))
	}
}

// scalars decodes one value, or a list of them.
func (d *decoder) scalars(n *yaml.Node, v reflect.Value, key string) {
	if dialled(v.Type()) && !d.quoted(n, key) {
		return
	}
	if d.environ != nil {
		var ok bool
		if n, ok = d.expanded(n, key); !ok {
			return
		}
	}
	if v.Type() == reflect.TypeFor[time.Duration]() && n.Value == "0" {
		v.SetInt(0)
		return
	}
	if n.Decode(v.Addr().Interface()) == nil {
		return
	}
	want := map[reflect.Kind]string{reflect.Int: "whole number", reflect.Float64: "number", reflect.Bool: "true or false", reflect.Slice: "list of words",
		reflect.String: "word"}[v.Kind()]
	switch v.Type() {
	case reflect.TypeFor[time.Duration]():
		want = "duration such as 30s, 5m or 1h"
	case reflect.TypeFor[Percent]():
		want = "percentage such as 10%"
	}
	d.bad(n, "E0104 %s: %q is no %s", key, n.Value, want)
}

// variable is ${NAME}, or ${NAME:-default}.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expanded is a value with the environment in the place of its variables.
func (d *decoder) expanded(n *yaml.Node, key string) (*yaml.Node, bool) {
	out, ok := *n, true
	out.Content = nil
	for _, item := range n.Content {
		e, fine := d.expanded(item, key)
		ok = ok && fine
		out.Content = append(out.Content, e)
	}
	if n.Kind != yaml.ScalarNode || !variable.MatchString(n.Value) {
		return &out, ok
	}
	out.Value = variable.ReplaceAllStringFunc(n.Value, func(s string) string {
		m := variable.FindStringSubmatch(s)
		value := d.environ[m[1]]
		if value == "" && m[2] == "" {
			d.bad(n, "E0105 %s: there is no environment variable %s, and no default as in ${%s:-default}", key, m[1], m[1])
			ok = false
		}
		if value == "" {
			value = m[3]
		}
		return value
	})
	if out.Style == 0 {
		out.Tag = "" // a number is one now
	}
	return &out, ok
}

// suggest names the nearest of names when one is near, else all of them.
func suggest(word string, names []string) string {
	if near, ok := Nearest(word, names); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known here: " + strings.Join(names, ", ")
}

// Nearest is the one of names that word was most likely meant to be; ok is false when none is near.
func Nearest(word string, names []string) (best string, ok bool) {
	at := len(word)/2 + 1
	for _, n := range names {
		if d := distance(word, n); d < at {
			best, at = n, d
		}
	}
	return best, best != ""
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
