package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func TestWhyNobodyWasReachedInAFewWords(t *testing.T) {
	refused := fmt.Errorf("overlay: tls 192.0.2.1:1: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	for want, err := range map[string]error{
		"connection refused":                        errors.Join(refused, refused),
		"connection refused; no answer":             errors.Join(refused, fmt.Errorf("overlay: dtls: %w", context.DeadlineExceeded)),
		"no answer":                                 &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"the name does not resolve: no such host":   fmt.Errorf("overlay: %w", &net.DNSError{Err: "no such host", Name: "gw.example.org", IsNotFound: true}),
		"its certificate is not believed: wrong_ca": fmt.Errorf("overlay: x: link: handshake: %w", &trust.RefusalError{Reason: trust.WrongCA, Err: errors.New("x509: long")}),
		"no usable address":                         errNoAddress,
	} {
		d := &dialError{err}
		if d.Error() != want || !errors.Is(d, err) {
			t.Errorf("%q, want %q", d, want)
		}
	}
	if !errors.Is(&dialError{node.ErrSelf}, node.ErrSelf) {
		t.Error("what it is has got lost")
	}
}
