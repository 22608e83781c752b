package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Five nodes. The next document is put beside one of them, which gets a SIGHUP: all five write it down, and calls go on.
//
// Conformance: C-27 C-30
func TestProcessesFollowADocumentGivenToOne(t *testing.T) {
	r, phones, _ := fiveHomes(t, "tls", program(t, ""))

	overlay := filepath.Join(r.dir, "overlay")
	if _, err := identity.Publish(overlay, func(o *config.Overlay) { o.ChordUpdateInterval = time.Minute }, time.Now()); err != nil {
		t.Fatal(err)
	}
	next, err := os.ReadFile(filepath.Join(overlay, identity.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	file := func(k int) string { return filepath.Join(r.dir, fmt.Sprintf("gw%d", k), identity.DocumentFile) }
	if err := identity.ReplaceDocument(file(2), next); err != nil {
		t.Fatal(err)
	}
	if err := r.members[2].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.callAround(t, -1, phones)
	eventually(t, "all to have the document", func() error {
		for k := range r.members {
			b, err := os.ReadFile(file(k))
			if err != nil {
				return err
			}
			if !bytes.Equal(b, next) {
				return fmt.Errorf("node %d has another document", k)
			}
		}
		return nil
	})
	r.callAround(t, -1, phones)
}
