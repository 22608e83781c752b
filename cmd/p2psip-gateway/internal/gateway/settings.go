package gateway

import (
	_ "embed"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// settingsTable has a line for each key of the configuration: key, reload or restart, values, meaning.
//
//go:embed settings.tsv
var settingsTable string

// Setting is one key of the configuration.
type Setting struct {
	Key     string // "registrar.expires.min"; that of a list of groups has "[]" behind the list
	Live    bool   // takes effect when the file is read again; else at the next start
	Values  string // what may stand there
	Meaning string
	Default string // as Config.Value writes it

	index []int // of the field in Config; nil below a list
}

// secret reports whether the value is shown to nobody.
func (s *Setting) secret() bool { return s.Values == "secret" }

// Settings are all keys, in the order of the schema. The slice is the caller's.
func Settings() []Setting { return slices.Clone(settings) }

var settings = readSettings()

func readSettings() (out []Setting) {
	fields := fieldsOf(reflect.TypeFor[Config](), "", nil)
	defaults := DefaultConfig()
	for line := range strings.SplitSeq(strings.TrimSpace(settingsTable), "\n") {
		f := strings.Split(line, "\t")
		s := Setting{Key: f[0], Live: f[1] == "reload", Values: f[2], Meaning: f[3], index: fields[f[0]]}
		if s.index != nil {
			s.Default = defaults.Value(s)
		}
		delete(fields, s.Key)
		out = append(out, s)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) { // what nobody has described works all the same
		s := Setting{Key: key, index: fields[key]}
		s.Default = defaults.Value(s)
		out = append(out, s)
	}
	return out
}

// fieldsOf are the keys of a struct and where their fields are.
func fieldsOf(t reflect.Type, prefix string, at []int) map[string][]int {
	out := map[string][]int{}
	for f := range t.Fields() {
		key, index := prefix+f.Tag.Get("yaml"), append(slices.Clone(at), f.Index...)
		if f.Type.Kind() != reflect.Struct {
			out[key] = index
			continue
		}
		for k, i := range fieldsOf(f.Type, key+".", index) {
			out[k] = i
		}
	}
	return out
}

// settingOf finds a key that may be set by itself.
func settingOf(key string) (Setting, bool) {
	for _, s := range settings {
		if s.Key == key && s.index != nil {
			return s, true
		}
	}
	return Setting{}, false
}

// settingKeys are the keys that may be set by themselves.
func settingKeys() (keys []string) {
	for _, s := range settings {
		if s.index != nil {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

func (c *Config) field(s Setting) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// Value is what a key has, as it would be written in the file; what is secret is masked.
func (c *Config) Value(s Setting) string {
	v := c.field(s)
	if s.secret() && !v.IsZero() {
		return masked
	}
	return written(v)
}

// masked stands for a secret.
const masked = "********"

// written is a value as YAML.
func written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
	case Percent:
		return fmt.Sprintf("%g%%", float64(x))
	case List:
		return "[" + strings.Join(x, ", ") + "]"
	case []TURNServer, []RouteConfig, map[string]TrunkConfig:
		return inline(v)
	case string, Role, Dial:
		if v.Len() == 0 {
			return `""`
		}
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration is 1h instead of 1h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
