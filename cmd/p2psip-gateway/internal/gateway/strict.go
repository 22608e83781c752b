package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

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
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no percentage such as 10%%", n.Line, n.Value)}}
	}
	*p = Percent(v)
	return nil
}

// decodeStrict decodes one YAML document into v, a pointer to a struct, over what v holds. Every key that v has no field for is an error,
// at every level, with its place and the nearest name.
func decodeStrict(path string, b []byte, v any) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil // an empty file says nothing
	}
	root := doc.Content[0]
	if errs := unknownKeys(path, root, reflect.TypeOf(v).Elem()); len(errs) > 0 {
		return errors.Join(errs...)
	}
	return placed(path, root.Decode(v))
}

// placed puts the file in front of what is wrong with its values: one line each, where the library makes a list of them.
func placed(path string, err error) error {
	var list *yaml.TypeError
	if !errors.As(err, &list) {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return err
	}
	var errs []error
	for _, text := range list.Errors {
		errs = append(errs, fmt.Errorf("%s: %s", path, text))
	}
	return errors.Join(errs...)
}

func unknownKeys(path string, n *yaml.Node, t reflect.Type) (errs []error) {
	if t.Kind() != reflect.Struct || n.Kind != yaml.MappingNode {
		return nil
	}
	fields := map[string]reflect.Type{}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		fields[name] = f.Type
		names = append(names, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		ft, ok := fields[key.Value]
		if !ok {
			errs = append(errs, fmt.Errorf("%s:%d:%d E0102 unknown key %q; %s", path, key.Line, key.Column, key.Value, suggest(key.Value, names)))
			continue
		}
		errs = append(errs, unknownKeys(path, value, ft)...)
	}
	return errs
}

// suggest names the nearest of names when one is near, else all of them.
func suggest(word string, names []string) string {
	best, at := "", len(word)/2+1
	for _, n := range names {
		if d := distance(word, n); d < at {
			best, at = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(names, ", ")
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
