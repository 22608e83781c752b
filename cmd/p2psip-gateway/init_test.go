package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Conformance: J-15
func TestInitSelfTuning(t *testing.T) {
	for _, ice := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "overlay")
		args := []string{"init", "--self-tuning", "--domain", "example.org", "--dir", dir}
		if ice {
			args = append(args, "--ice")
		}
		if code, text, errs := runCommand(t, args...); code != exitOK || errs != "" {
			t.Fatalf("init: %d\n%s%s", code, text, errs)
		}
		o, _, err := identity.LoadDocument(filepath.Join(dir, identity.DocumentFile), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !o.SelfTuning() || o.ChordReactive || o.PeersToProbe != config.DefaultPeersToProbe || o.Supported() != nil ||
			!slices.Contains(o.MandatoryExtensions, config.NamespaceSelfTuning) {
			t.Errorf("%+v", o)
		}
	}
}
