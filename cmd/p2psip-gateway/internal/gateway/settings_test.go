package gateway

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each key of the schema has its line in settings.tsv, and each line its key.
func TestEachSettingIsDescribed(t *testing.T) {
	fields := fieldsOf(reflect.TypeFor[Config](), "", nil)
	for prefix, group := range map[string]reflect.Type{"overlay.turn.servers[].": reflect.TypeFor[TURNServer](), "trunks.NAME.": reflect.TypeFor[TrunkConfig](),
		"trunks.NAME.inbound[].": reflect.TypeFor[NumberConfig](), "trunks.NAME.outbound[].": reflect.TypeFor[NumberConfig](),
		"routes[].": reflect.TypeFor[RouteConfig]()} {
		for k := range fieldsOf(group, prefix, nil) {
			fields[k] = nil
		}
	}
	env := map[string]string{}
	for _, s := range Settings() {
		if _, ok := fields[s.Key]; !ok {
			t.Errorf("settings.tsv: %s is no key, or stands there twice", s.Key)
		}
		if s.Meaning != "" {
			delete(fields, s.Key)
		}
		if len(s.Meaning) < 10 || s.Values == "" {
			t.Errorf("settings.tsv: %s is not described", s.Key)
		}
		if name := EnvName(s.Key); env[name] != "" {
			t.Errorf("%s and %s have one environment variable", s.Key, env[name])
		} else {
			env[name] = s.Key
		}
		words := strings.Split(s.Values, ", ")
		if d := strings.Trim(s.Default, `"`); s.index != nil && len(words) > 1 && d != "" && !strings.ContainsAny(s.Values, " :0") && !slices.Contains(words, d) {
			t.Errorf("settings.tsv: the default of %s, %s, is none of %s", s.Key, d, s.Values)
		}
	}
	for k := range fields {
		t.Errorf("settings.tsv: nothing of %s", k)
	}
	lines := strings.Count(strings.TrimSpace(settingsTable), "\n") + 1
	if strings.Count(settingsTable, "\treload\t")+strings.Count(settingsTable, "\trestart\t") != lines {
		t.Error("settings.tsv: a line says neither reload nor restart")
	}
}

// What the example file shows is the default, as it says, unless it is marked; and it mentions every key.
//
// Feature: CFG-07
func TestTheExampleShowsDefaultsAndEveryKey(t *testing.T) {
	path := filepath.Join("..", "..", "..", "..", "deploy", "gateway.example.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	l := loaded(t, Source{File: path})
	defaults := DefaultConfig()
	for _, s := range Settings() {
		name := s.Key[strings.LastIndex(s.Key, ".")+1:]
		if !strings.Contains(string(b), name+":") {
			t.Errorf("%s is not in the example", s.Key)
		}
		from := l.origins[s.Key]
		if from == "" {
			continue
		}
		line := lines[atoi(t, strings.Split(strings.TrimPrefix(from, path+":"), ":")[0])-1]
		marked := strings.Contains(line, "(example)")
		if same := defaults.Value(s) == l.Config.Value(s); s.Values != "directory" && !marked && !same {
			t.Errorf("%s: %s is not the default, %s: mark it: %s", s.Key, l.Config.Value(s), defaults.Value(s), line)
		}
	}
}
