package overlay

import (
	"encoding/binary"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// event counts and logs what the node reports.
func (p *Peer) event(e node.Event) {
	level := zerolog.DebugLevel
	switch e.Type {
	case node.EventDropped:
		p.count.drop(e.Text)
	case node.EventRefused, node.EventStoreRefused, node.EventValueRefused:
		p.count.event(string(e.Type))
		p.count.reason(string(e.Type), e.Text)
	case node.EventStoreAhead, node.EventLinkRefused, node.EventAnswerRefused, node.EventAttachFailed, node.EventReplicaRefused:
		p.count.event(string(e.Type))
	case node.EventUncertain:
		level = zerolog.WarnLevel
		p.count.event(string(e.Type))
		select {
		case p.uncertain <- struct{}{}:
		default: // it is known already
		}
	case node.EventJoinFailed:
		level = zerolog.WarnLevel
		if p.cfg.First {
			level = zerolog.InfoLevel // it begins without the others
		}
		p.count.event(string(e.Type))
	case node.EventFirst, node.EventJoined:
		p.joinedOnce()
		fallthrough
	default: // a change of state that an operator acts on
		level = zerolog.InfoLevel
		p.count.event(string(e.Type))
	}
	log := p.cfg.Log.WithLevel(level).Str("component", "overlay")
	if !e.Peer.IsZero() {
		log = log.Str("peer_id", e.Peer.Short())
	}
	if e.Code != 0 {
		log = log.Str("method", wire.CodeName(e.Code))
	}
	if e.Text != "" {
		log = log.Str("detail", e.Text)
	}
	if e.Type == node.EventJoinFailed {
		log = log.Str("code", codeNotEntered)
	}
	log.Msg(string(e.Type))
}

// codeNotEntered stands beside each attempt to join that has come to nothing.
const codeNotEntered = "E0309"

// joinedOnce runs on the loop's goroutine.
func (p *Peer) joinedOnce() {
	select {
	case <-p.joined:
	default:
		close(p.joined)
	}
}

// message counts one message on a link, and logs it at debug level.
func (p *Peer) message(direction string, id node.LinkID, raw []byte) {
	method := methodOf(raw)
	p.count.message(direction, method)
	if e := p.cfg.Log.Debug(); e.Enabled() {
		e.Str("component", "overlay").Uint64("link_id", uint64(id)).Str("method", method).Int("size_bytes", len(raw)).
			Msg("message " + direction)
	}
}

// methodOf is the method of a message, by its name: a closed set. A fragment other than the first does not tell.
func methodOf(raw []byte) string {
	h, n, err := wire.ParseHeader(raw)
	if err != nil || len(raw) < n+2 || h.Fragment&fragmentOffset != 0 {
		return "unknown"
	}
	return wire.CodeName(wire.MessageCode(binary.BigEndian.Uint16(raw[n:])))
}

// stalled takes the early warning of a link: the node routes around it (RFC 6940 §6.6.5).
func (l *loop) stalled(now time.Time, id node.LinkID, stalled bool) {
	c, ok := l.links[id]
	if !ok {
		return
	}
	name := eventLinkRestored
	if stalled {
		name = eventLinkStalled
	}
	l.p.count.event(name)
	l.p.logLink(id, c.Peer().Node).Msg(name)
	l.node.LinkStalled(now, id, stalled)
}

func (p *Peer) logLink(id node.LinkID, peer wire.NodeID) *zerolog.Event {
	return p.cfg.Log.Info().Str("component", "link").Uint64("link_id", uint64(id)).Str("peer_id", peer.Short())
}
