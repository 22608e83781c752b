package gateway

import (
	"context"
	"crypto/rand"
	"math"
	"net/netip"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// NATConfig is what is done for phones behind NATs.
type NATConfig struct {
	Keepalive KeepaliveConfig `yaml:"keepalive"`
	LAN       List            `yaml:"lan"` // CIDRs whose phones are behind no NAT, whatever their Contact says
}

// KeepaliveConfig says how often a phone behind a NAT hears from us, so that its NAT does not forget the way in.
type KeepaliveConfig struct {
	UDP    time.Duration `yaml:"udp"`    // 0: never
	Stream time.Duration `yaml:"stream"` // TCP and TLS; 0: never
	Method string        `yaml:"method"` // over UDP: options, which the phone answers, or crlf
}

// keepaliveTick is the grain of the pace: what is due in an interval is spread over its ticks.
const keepaliveTick = 100 * time.Millisecond

func defaultNAT() NATConfig {
	return NATConfig{Keepalive: KeepaliveConfig{UDP: 25 * time.Second, Stream: 90 * time.Second, Method: "options"}}
}

func (c *NATConfig) check(bad func(key, format string, args ...any)) {
	if m := c.Keepalive.Method; m != "options" && m != "crlf" {
		bad("nat.keepalive.method", "%q is none of options, crlf", m)
	}
	for key, d := range map[string]time.Duration{"udp": c.Keepalive.UDP, "stream": c.Keepalive.Stream} {
		if d != 0 && d < time.Second {
			bad("nat.keepalive."+key, "%v: want at least a second, or 0 for never", d)
		}
	}
}

// Why a phone is taken to be behind a NAT, as the list of registrations shows it; "" for one that is not.
const (
	natNone      = ""
	natAddress   = "address"   // its Contact has another address than its REGISTER came from
	natName      = "name"      // its Contact has a name, which nobody looked up
	natWebSocket = "websocket" // a page knows no address; the WebSocket's own pings keep it open
)

// natOf finds out whether a phone is behind a NAT. The port is no sign: phones that send from one port and listen on another are common, and
// are taken at their word.
func natOf(b location.Binding, lan []netip.Prefix) string {
	source := b.Hop.Remote.Addr().Unmap()
	uri, err := message.ParseURI(b.Contact)
	switch {
	case err != nil || len(b.Path) > 0 || contains(lan, source):
		return natNone
	case b.Hop.Transport == flow.WS || b.Hop.Transport == flow.WSS:
		return natWebSocket
	}
	if a, ok := message.Addr(uri.Host); !ok {
		return natName
	} else if a.Unmap() != source {
		return natAddress
	}
	return natNone
}

// keepalives keeps the ways to phones behind NATs open.
type keepalives struct {
	KeepaliveConfig
	lan      []netip.Prefix
	domain   string
	bindings *location.Bindings
	flows    *flow.Table
	sender   sip.Sender
}

// run goes on until ctx ends.
func (k *keepalives) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.pace(ctx, k.Stream, false)
	}()
	k.pace(ctx, k.UDP, true)
	<-done
}

// pace has each phone of a kind hear from us once in every interval, evenly spread.
func (k *keepalives) pace(ctx context.Context, every time.Duration, udp bool) {
	if every == 0 {
		return
	}
	ticks := int(every / keepaliveTick)
	var due []location.Binding
	for n := 0; ; {
		if n%ticks == 0 {
			due = k.due(udp)
		}
		share := int(math.Ceil(float64(len(due)) / float64(ticks-n%ticks)))
		for _, b := range due[:share] {
			k.send(b)
		}
		due = due[share:]
		step := 1
		if len(due) == 0 { // there is nothing to wake up for in this interval
			step = ticks - n%ticks
		}
		n += step
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(step) * keepaliveTick):
		}
	}
}

// due are the bindings whose phones want to hear from us.
func (k *keepalives) due(udp bool) (list []location.Binding) {
	for _, set := range k.bindings.All(time.Now()) {
		for _, b := range set {
			if nat := natOf(b, k.lan); nat != natNone && nat != natWebSocket && (b.Hop.Transport == flow.UDP) == udp {
				list = append(list, b)
			}
		}
	}
	return list
}

// send lets one phone hear from us. Nobody waits for an answer: what does not get through this time may the next.
func (k *keepalives) send(b location.Binding) {
	switch {
	case b.Hop.Transport != flow.UDP:
		// RFC 5626 §4.4.1 has pings from the client alone; a CRLF before a message means nothing to any (RFC 3261 §7.5).
		if k.flows.Alive(b.Hop) {
			_ = k.flows.Send(b.Hop, []byte("\r\n"), nil)
		}
	case k.Method == "crlf":
		_ = k.flows.Send(b.Hop, []byte("\r\n\r\n"), nil)
	default:
		_ = k.sender.SendStateless(k.options(b), b.Hop, "")
	}
}

// options is a question whose answer opens the NAT from inside, which some NATs want.
func (k *keepalives) options(b location.Binding) *message.Message {
	m := &message.Message{Method: "OPTIONS", RequestURI: b.Contact}
	m.Add(message.MaxForwards, "70")
	m.Add(message.From, "<sip:"+k.domain+">;tag="+rand.Text())
	m.Add(message.To, "<"+b.Contact+">")
	m.Add(message.CallID, rand.Text())
	m.Add(message.CSeq, "1 OPTIONS")
	return m
}

// keepPhones keeps the ways to phones open until ctx ends, as the configuration in force says.
func (g *Gateway) keepPhones(ctx context.Context) {
	for ctx.Err() == nil {
		f := g.inForce()
		k := keepalives{f.config.NAT.Keepalive, f.lan, g.o.Config.Domain, g.bindings, g.flows, g.layer}
		running, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.run(running)
		}()
		select {
		case <-ctx.Done():
		case <-f.over:
		}
		stop()
		<-ended
	}
}
