package overlay

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// dialError says in a few words why nobody was reached: for logs and operators, who know the address.
type dialError struct{ err error }

func (e *dialError) Error() string {
	var list []string
	for _, err := range leaves(e.err) {
		if text := brief(err); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

func (e *dialError) Unwrap() error { return e.err }

// leaves are the errors of the ways that were tried, one for each.
func leaves(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	return joined.Unwrap()
}

func brief(err error) string {
	var (
		refusal *trust.RefusalError
		name    *net.DNSError
		call    *os.SyscallError
		timed   net.Error
	)
	switch {
	case errors.As(err, &refusal):
		return "its certificate is not believed: " + string(refusal.Reason)
	case errors.As(err, &name):
		return "the name does not resolve: " + name.Err
	case errors.As(err, &call):
		return call.Err.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return "no answer"
	}
	return strings.TrimPrefix(err.Error(), "overlay: ")
}
