package overlay

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Errors that happen to us. What a peer answered is a *RemoteError.
var (
	ErrTimeout   = errors.New("overlay: no answer in time")
	ErrNotJoined = errors.New("overlay: not joined")
	ErrOverload  = errors.New("overlay: too much to do")
	ErrUntrusted = errors.New("overlay: the answer could not be verified")
	ErrClosed    = errors.New("overlay: peer stopped")
)

var (
	errNoAddress  = errors.New("overlay: no usable address")
	errUnexpected = errors.New("overlay: answer of another kind than the request's")
)

// RemoteError is what a peer answered instead (RFC 6940 §6.3.3.1).
type RemoteError struct {
	Code wire.ErrorCode
	Info []byte
}

func (e *RemoteError) Error() string {
	return "overlay: the peer answered " + e.Code.String()
}

// ownError is an error of the node as callers of a Peer know it.
func ownError(err error) error {
	var refusal *trust.RefusalError
	switch {
	case errors.Is(err, node.ErrTimeout), errors.Is(err, node.ErrLinkDown):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, node.ErrNotJoined):
		return ErrNotJoined
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case errors.Is(err, node.ErrOverload), errors.Is(err, ErrOverload):
		return ErrOverload
	case errors.Is(err, node.ErrUntrusted), errors.As(err, &refusal):
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	default:
		return fmt.Errorf("overlay: %w", err)
	}
}

// result is the metric label of an error: a closed set.
func result(err error) string {
	var remote *RemoteError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &remote):
		return "refused"
	case errors.Is(err, ErrUntrusted):
		return "untrusted"
	case errors.Is(err, ErrOverload):
		return "overload"
	case errors.Is(err, ErrNotJoined):
		return "not_joined"
	case errors.Is(err, ErrClosed):
		return "closed"
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "failed"
	}
}
