package main

import (
	"strings"
	"testing"
	"time"
)

// A short run: real processes in real namespaces, one fault of each of the first kinds, nothing acknowledged lost.
func TestEndurance(t *testing.T) {
	out := t.TempDir()
	c := config{peers: 5, sites: 3, users: 40, registers: 20, lookups: 40, span: 38 * time.Second, grace: 8 * time.Second, hold: 4 * time.Second,
		calm: time.Second, seed: 7, out: out}
	r, err := run(t.Context(), c, t.Output())
	if err != nil {
		if r != nil {
			t.Log(r.text())
		}
		t.Fatal(err)
	}
	if len(r.Faults) < 2 || r.Figures.Lookups < 500 || r.Figures.Swept < 2*c.users {
		t.Errorf("too little was done:\n%s", r.text())
	}
	if text := r.text(); !strings.Contains(text, "violations: 0") {
		t.Error(text)
	}
}

// What cannot be run is refused before anything is made.
func TestEnduranceRefuses(t *testing.T) {
	if _, err := run(t.Context(), config{peers: 3, sites: 2, users: 1, registers: 1, lookups: 1, hold: time.Second}, t.Output()); err == nil {
		t.Error("a ring of three peers is run, though two of them are killed at once")
	}
}
