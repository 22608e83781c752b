package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the name of each environment variable that sets a key: P2PSIP_GATEWAY_SIP_ADVERTISE is sip.advertise.
const EnvPrefix = "P2PSIP_GATEWAY_"

// Override sets one key from outside of the file.
type Override struct {
	Key, Value string // the value as YAML has it; a list may have blanks between its members
	Origin     string // "flag --domain"
}

// Source is where a configuration comes from: a flag counts before the environment, that before the file, and the file before the
// default.
type Source struct {
	File    string
	Environ []string // as of os.Environ
	Flags   []Override
}

// Loaded is a configuration, and where each of its values comes from.
type Loaded struct {
	Config Config
	File   string

	origins map[string]string // by key; a default has none
}

// Origin is where the value of a key comes from: "default", "FILE:LINE:COLUMN", "env NAME" or "flag --NAME".
func (l *Loaded) Origin(key string) string {
	if o := l.origins[key]; o != "" {
		return o
	}
	return originDefault
}

const originDefault = "default"

// Values are all keys and what they have.
func (l *Loaded) Values() (out []SettingReport) {
	for _, s := range settings {
		if s.index != nil {
			out = append(out, SettingReport{s.Key, l.Config.Value(s), l.Origin(s.Key)})
		}
	}
	return out
}

// Load reads a configuration over the defaults and checks it. The error, which may hold many, is meant for people: file, line, column, code,
// key, why, and what to do. What is returned beside it is not to be used.
func Load(src Source) (*Loaded, error) {
	l := &Loaded{Config: DefaultConfig(), File: src.File, origins: map[string]string{}}
	b, err := os.ReadFile(src.File)
	if err != nil {
		return l, fmt.Errorf("%w\n      try: p2psip-gateway run -c FILE with a file like deploy/gateway.example.yaml", err)
	}
	d := decoder{path: src.File, environ: environment(src.Environ), origins: l.origins}
	if err := d.document(b, &l.Config); err != nil {
		return l, err
	}
	overrides, err := fromEnvironment(src.Environ)
	errs := []error{err}
	for _, o := range append(overrides, src.Flags...) {
		errs = append(errs, l.override(o))
	}
	if err := errors.Join(errs...); err != nil {
		return l, err
	}
	l.resolvePaths()
	return l, l.check()
}

// override sets one key.
func (l *Loaded) override(o Override) error {
	s, ok := settingOf(o.Key)
	if !ok {
		return fmt.Errorf("%s: E0102 unknown key %q; %s", o.Origin, o.Key, suggest(o.Key, settingKeys()))
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: o.Value}
	field := l.Config.field(s)
	switch {
	case field.Kind() == reflect.String:
		n.Tag = "!!str"
	case field.Kind() == reflect.Slice, field.Kind() == reflect.Map:
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(o.Value), &doc); err == nil && len(doc.Content) == 1 && doc.Content[0].Kind != yaml.ScalarNode {
			n = doc.Content[0]
		} else if field.Type() == reflect.TypeFor[List]() {
			field.Set(reflect.ValueOf(List(strings.Fields(o.Value))))
			l.origins[s.Key] = o.Origin
			return nil
		}
	}
	d := decoder{path: o.Origin, origins: map[string]string{}}
	d.value(n, field, s.Key)
	l.origins[s.Key] = o.Origin
	return errors.Join(d.errs...)
}

// serviceLinks are variables that Kubernetes sets for a service of our name, which have nothing to do with the configuration.
var serviceLinks = regexp.MustCompile(`^(SERVICE_(HOST|PORT(_.*)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?)$`)

// fromEnvironment reads what the environment says. A name that stands for no key is an error.
func fromEnvironment(environ []string) (out []Override, err error) {
	names := map[string]string{}
	var known []string
	for _, key := range settingKeys() {
		name := EnvName(key)
		names[name], known = key, append(known, name)
	}
	var errs []error
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || serviceLinks.MatchString(rest) {
			continue
		}
		key, ok := names[name]
		if !ok {
			errs = append(errs, fmt.Errorf("env %s: E0102 unknown key; %s", name, suggest(name, known)))
			continue
		}
		out = append(out, Override{key, value, "env " + name})
	}
	return out, errors.Join(errs...)
}

// EnvName is the environment variable that sets a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func environment(environ []string) map[string]string {
	out := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		out[name] = value
	}
	return out
}

// resolvePaths makes the paths in the file relative to it; those of flags and the environment are relative to where the program was started.
func (l *Loaded) resolvePaths() {
	for _, s := range settings {
		if s.Values != "file" && s.Values != "directory" || s.index == nil {
			continue
		}
		field, from := l.Config.field(s), l.Origin(s.Key)
		if p := field.String(); p != "" && !filepath.IsAbs(p) && (from == originDefault || strings.HasPrefix(from, l.File+":")) {
			field.SetString(filepath.Join(filepath.Dir(l.File), p))
		}
	}
	for name, t := range l.Config.Trunks {
		if p := t.Register.SecretFile; p != "" && !filepath.IsAbs(p) && strings.HasPrefix(l.Origin("trunks."+name+".register.secret_file"), l.File+":") {
			t.Register.SecretFile = filepath.Join(filepath.Dir(l.File), p)
			l.Config.Trunks[name] = t
		}
	}
	if o := &l.Config.Overlay; o.Document == "" {
		o.Document = filepath.Join(o.Identity, "overlay.xml")
	}
}

// check finds what a type can not say.
func (l *Loaded) check() error {
	var errs []error
	l.Config.check(func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s E0104 %s: %s", l.place(key), key, fmt.Sprintf(format, args...)))
	})
	return errors.Join(errs...)
}

// place is where a key was set, or the first of a group of keys; the file when nothing was.
func (l *Loaded) place(key string) string {
	for k := key; k != ""; k = k[:max(strings.LastIndexAny(k, ".["), 0)] {
		if o := l.origins[k]; strings.ContainsAny(k, ".[") && strings.HasPrefix(o, l.File) {
			return o // below a list or a name
		}
	}
	for _, s := range settings {
		if o := l.origins[s.Key]; o != "" && (s.Key == key || strings.HasPrefix(s.Key, key+".")) {
			if !strings.HasPrefix(o, l.File) {
				o += ":"
			}
			return o
		}
	}
	return l.File + ":"
}
