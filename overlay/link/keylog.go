//go:build keylog

package link

import (
	"io"
	"os"
	"sync"
)

// captured leaves out ChaCha20-Poly1305 over DTLS: Wireshark 4.0 decrypts its records over TLS only. AES-GCM, which takes its
// place, has random nonces here (CVE-2026-26014): a build for captures is not for use.
const captured = true

// keyLog writes TLS secrets to the file that SSLKEYLOGFILE names, for captures. Only builds with the tag keylog have it.
var keyLog = sync.OnceValue(func() io.Writer {
	name := os.Getenv("SSLKEYLOGFILE")
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil
	}
	return f
})
