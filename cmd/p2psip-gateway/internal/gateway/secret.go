package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// secretLen is the length of the secret that protects route tokens, in octets.
const secretLen = 32

// loadSecret reads the secret that is kept in the file at path, or makes one: with the same secret after a restart, dialogs go on.
func loadSecret(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) == secretLen {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data: %w", err)
	}
	b = make([]byte, secretLen)
	_, _ = rand.Read(b) // never fails
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return b, nil
}
