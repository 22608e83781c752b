package sipusage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var (
	errOurselves = errors.New("this is our own node")
	errProbing   = errors.New("the node did not answer lately and is being tried already")
	errOtherNode = errors.New("the certificate is not that of the node")
)

// Dial opens a connection that carries SIP to the node that gr leads to (RFC 7904 §5.1). gr is the value of a GRUU's gr parameter. The
// error wraps location.ErrNotFound when gr names no node, location.ErrUnavailable when it did not answer. A node that timed
// out within the last minute is tried by one caller at a time: the others learn at once that it is in doubt.
func (s *Service) Dial(ctx context.Context, gr string) (overlay.AppConn, error) {
	dest, err := ParseGR(gr, s.self.Len())
	if err != nil {
		return overlay.AppConn{}, err
	}
	id, _ := Terminal(dest)
	if id == s.self {
		return overlay.AppConn{}, unavailable("connect to "+id.Short(), errOurselves)
	}
	if !s.suspects.enter(id) {
		return overlay.AppConn{}, unavailable("connect to "+id.Short(), errProbing)
	}
	conn, err := s.attach(ctx, id, dest)
	s.suspects.leave(id, err)
	if err != nil {
		return overlay.AppConn{}, unavailable("connect to "+id.Short(), err)
	}
	// RFC 7904 §5.1: "the responding Peer MUST present a certificate with a Node-ID matching the terminal entry in the destination list.
	// Otherwise, the connection MUST NOT be used and MUST be closed."
	if conn.Peer.Node != id && !slices.Contains(conn.Peer.Nodes, id) {
		_ = conn.Close()
		return overlay.AppConn{}, unavailable("connect to "+id.Short(), errOtherNode)
	}
	return conn, nil
}

// attach asks for SIP or SIPS. RFC 7904 §5.1: "The "application" field MUST be either 5060 to indicate SIP or 5061 to indicate SIPS", and
// a caller "SHOULD follow a preference indicated by the callee". Both are the same to us: a connection that the overlay set up is TLS
// or DTLS with the certificates of both sides. So who takes one of them only is asked for that one then.
func (s *Service) attach(ctx context.Context, id wire.NodeID, dest wire.DestinationList) (overlay.AppConn, error) {
	first, second := wire.ApplicationSIP, wire.ApplicationSIPS
	if s.secure.prefers(id) {
		first, second = second, first
	}
	conn, err := s.peer.AppAttach(ctx, dest, first)
	var refused *overlay.RemoteError
	if errors.As(err, &refused) && refused.Code == wire.ErrorNotFound { // RFC 6940 §6.5.2.2: the Application-ID is not supported
		return s.peer.AppAttach(ctx, dest, second)
	}
	return conn, err
}

// secure are the gateways whose records prefer SIPS.
type secure struct {
	mu    sync.Mutex
	nodes *cache[string, bool]
}

func newSecure() *secure { return &secure{nodes: newCache[string, bool](maxSecure)} }

func (s *secure) note(id wire.NodeID, sips bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sips {
		s.nodes.put(id.String(), true, time.Now(), secureFor)
	} else {
		s.nodes.remove(id.String())
	}
}

func (s *secure) prefers(id wire.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sips, _ := s.nodes.get(id.String(), time.Now())
	return sips
}

// suspects are nodes that did not answer lately. RELOAD drops what is addressed to an absent node in silence (RFC 6940 §6.1.1), so each
// attempt costs the whole 15 s.
type suspects struct {
	mu    sync.Mutex
	nodes *cache[string, *suspect]
}

type suspect struct {
	since   time.Time
	probing bool
}

func newSuspects() *suspects { return &suspects{nodes: newCache[string, *suspect](maxSuspects)} }

// enter reports whether the caller may try id; leave must follow then.
func (s *suspects) enter(id wire.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.nodes.get(id.String(), time.Now())
	if !ok {
		return true
	}
	may := !x.probing
	x.probing = true
	return may
}

// leave tells what came of an attempt. Only silence makes a node suspect.
func (s *suspects) leave(id wire.NodeID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case errors.Is(err, overlay.ErrTimeout) || errors.Is(err, context.DeadlineExceeded):
		s.nodes.put(id.String(), &suspect{since: now}, now, suspectFor)
	case err == nil:
		s.nodes.remove(id.String())
	default:
		if x, ok := s.nodes.get(id.String(), now); ok {
			x.probing = false
		}
	}
}

// seen tells that id stored something at the time at: it is there again when that is after it fell silent.
func (s *suspects) seen(id wire.NodeID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x, ok := s.nodes.get(id.String(), time.Now()); ok && at.After(x.since) {
		s.nodes.remove(id.String())
	}
}

// prefer leaves out the suspects among nodes. When none is left and they are all there is, it returns them nevertheless.
func (s *suspects) prefer(nodes []node, all bool) []node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes.empty() {
		return nodes
	}
	now := time.Now()
	var good []node
	for _, n := range nodes {
		if _, bad := s.nodes.get(n.id.String(), now); !bad {
			good = append(good, n)
		}
	}
	if len(good) == 0 && all {
		return nodes
	}
	return good
}

var _ interface {
	Remote(context.Context, location.AOR) ([]location.Remote, error)
	RemoteCached(location.AOR) ([]location.Remote, bool)
} = (*Service)(nil)
