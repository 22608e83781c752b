package sim

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Client is a node without a node.Node: a link with a host, over which a test sends what it likes and sees what comes.
// For the host it is a client in the sense of RFC 6940 §4.2, until it sends an Update.
type Client struct {
	*Host
	Got []*wire.Message // that came, answers and requests

	peer *Host
}

// NewClient links a client with a host.
func (w *World) NewClient(peer *Host) *Client {
	h := w.AddHost()
	return w.client(h, peer)
}

// NewClientAt is NewClient for a given Node-ID.
func (w *World) NewClientAt(id [16]byte, peer *Host) *Client { return w.client(w.AddHostAt(id), peer) }

// NewClientAlso is NewClient with a certificate that has further Node-IDs.
func (w *World) NewClientAlso(peer *Host, also ...wire.NodeID) *Client {
	h := w.AddHost()
	h.Also = also
	return w.client(h, peer)
}

// SignAs has the client sign with another Node-ID from now on.
func (c *Client) SignAs(id wire.NodeID) {
	c.gateway = c.w.trust.issue("gw@"+c.w.c.Overlay.InstanceName, id)
}

func (w *World) client(h, peer *Host) *Client {
	w.hosts = w.hosts[:len(w.hosts)-1] // it is no part of the ring
	h.Index = -1
	c := &Client{Host: h, peer: peer}
	h.life, h.Up, h.linked = 1, true, true
	h.links = links{}
	h.receive = func(_ node.LinkID, raw []byte) {
		if m, err := w.schema.Parse(raw); err == nil {
			c.Got = append(c.Got, m)
			c.answer(m)
		} else {
			w.violate("client got %v", err)
		}
	}
	w.connect(h, peer, 0)
	w.Run(10 * w.c.MaxDelay)
	return c
}

// answer keeps the host content.
func (c *Client) answer(m *wire.Message) {
	var body wire.Body
	switch m.Body.(type) {
	case *wire.PingReq:
		body = &wire.PingAns{}
	case *wire.UpdateReq:
		body = &wire.UpdateAns{}
	default:
		return
	}
	a := c.Message(body, wire.ToNode(c.peer.ID))
	a.Header.Transaction = m.Header.Transaction
	c.Send(c.Seal(a, nil))
}

// Message is a request of the client with the given body, to be changed before it is sent.
func (c *Client) Message(body wire.Body, to ...wire.Destination) *wire.Message {
	return c.w.message(body, to...)
}

func (w *World) message(body wire.Body, to ...wire.Destination) *wire.Message {
	return &wire.Message{Header: wire.Header{
		Overlay:        w.c.Overlay.ID(),
		ConfigSequence: w.c.Overlay.Sequence,
		Version:        wire.Version,
		TTL:            w.c.Overlay.InitialTTL,
		Fragment:       wire.Unfragmented,
		Transaction:    wire.TransactionID(w.rand.Uint64()),
		Destinations:   wire.NewDestinationList(to...),
	}, Body: body}
}

// Seal signs m as the client or, when by is not nil, as the owner of a record.
func (c *Client) Seal(m *wire.Message, by *Record) []byte {
	id := c.gateway
	if by != nil {
		id = by.by
	}
	return id.seal(m)
}

// Send sends octets to the host.
func (c *Client) Send(raw []byte) {
	for _, id := range c.links.ids() { // there is one
		c.send(node.Forward{Link: id, Raw: raw})
	}
}

// Call sends a message and returns the answer: nil when there is none within 5 s.
func (c *Client) Call(m *wire.Message) *wire.Message {
	c.Send(c.Seal(m, nil))
	return c.Answer(m.Header.Transaction)
}

// Answer waits for the answer to a transaction.
func (c *Client) Answer(tx wire.TransactionID) *wire.Message {
	seen := len(c.Got)
	var found *wire.Message
	c.w.RunUntil(5*time.Second, time.Millisecond, func() bool {
		for ; seen < len(c.Got); seen++ {
			if m := c.Got[seen]; m.Header.Transaction == tx && !m.Body.Code().IsRequest() {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// Hangup closes the link, and the client is no more.
func (c *Client) Hangup() {
	for _, id := range c.links.ids() {
		c.links.get(id).down(c.Host, 0)
	}
	c.Up, c.linked = false, false
}

// Connected reports whether the client has its link.
func (c *Client) Connected() bool { return len(c.links.ids()) > 0 }

// Link is the client's link as the host names it.
func (c *Client) Link() node.LinkID {
	for _, id := range c.links.ids() { // there is one
		_, far := c.links.get(id).sides(c.Host)
		return far.id
	}
	return 0
}
