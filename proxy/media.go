package proxy

import (
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Media is told of what passes, and may write other places into the session descriptions. Its methods must not block, and may replace the body
// of a message and nothing else; messages are as they are about to be sent. leg is a number that a request has on one branch, whichever
// hop it is sent to.
type Media interface {
	// Request takes a request other than ACK. ok is false when it is not to be sent, for want of ports.
	Request(leg uint64, m *message.Message, from, to location.Hop) (ok bool)
	// Response takes a response to it; leg is 0 for a 2xx to an INVITE behind the first, which most often repeats it.
	Response(leg uint64, m *message.Message)
	// End tells that nothing more will come for it.
	End(leg uint64)
	// ACK takes an ACK for a 2xx.
	ACK(m *message.Message, from, to location.Hop)
}

// mediaRequest shows a request to the Media.
func (c *call) mediaRequest(l *leg, m *message.Message, to location.Hop) bool {
	if c.p.c.Media == nil {
		return true
	}
	if l.media == 0 {
		l.media = c.p.mediaLegs.Add(1)
	}
	return c.p.c.Media.Request(l.media, m, c.in.src, to)
}

// mediaResponse shows it a response.
func (c *call) mediaResponse(l *leg, m *message.Message) {
	if c.p.c.Media != nil {
		c.p.c.Media.Response(l.media, m)
	}
}

// mediaEnd tells it that no branch is left.
func (c *call) mediaEnd() {
	if c.p.c.Media == nil {
		return
	}
	for i := range c.legs {
		if l := &c.legs[i]; l.media != 0 {
			c.p.c.Media.End(l.media)
		}
	}
}
