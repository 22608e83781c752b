package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/media"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/proxy"
)

// MediaConfig is the relay for the media of calls.
type MediaConfig struct {
	Relay     string        `yaml:"relay"`     // none | auto | always
	Ports     string        `yaml:"ports"`     // "30000-39999"
	Address   List          `yaml:"address"`   // that phones are told: one of IPv4, one of IPv6; empty: sip.advertise, or the listeners'
	Timeout   time.Duration `yaml:"timeout"`   // without a packet
	Limit     int           `yaml:"limit"`     // calls at a time; 0: as many as there are ports
	Exhausted string        `yaml:"exhausted"` // what a call gets for which there are no ports: continue | refuse
	Strict    bool          `yaml:"strict"`    // the first packet must come from where the signalling came from, or where the description says
}

// What is relayed.
const (
	relayNone   = "none"
	relayAuto   = "auto"
	relayAlways = "always"
)

func defaultMedia() MediaConfig {
	return MediaConfig{Relay: relayNone, Ports: "30000-39999", Timeout: time.Minute, Exhausted: "continue", Strict: true}
}

// minMediaTimeout: phones send RTCP every 5 s (RFC 3550 §6.2), but may lose some.
const minMediaTimeout = 15 * time.Second

// checkMedia finds what is wrong.
func (c *Config) checkMedia(bad func(key, format string, args ...any)) {
	m := &c.Media
	if m.Relay != relayNone && m.Relay != relayAuto && m.Relay != relayAlways {
		bad("media.relay", "%q is none of none, auto, always", m.Relay)
	}
	if m.Exhausted != "continue" && m.Exhausted != "refuse" {
		bad("media.exhausted", "%q is none of continue, refuse", m.Exhausted)
	}
	if first, last, err := portRange(m.Ports); err != nil {
		bad("media.ports", "%v", err)
	} else if last-first < 4 {
		bad("media.ports", "%q: a call needs four ports", m.Ports)
	}
	if m.Timeout < minMediaTimeout {
		bad("media.timeout", "%v: want %v or more", m.Timeout, minMediaTimeout)
	}
	if m.Limit < 0 {
		bad("media.limit", "%d: want 0 or more", m.Limit)
	}
	if _, err := c.mediaAddresses(); err != nil && (m.Relay != relayNone || len(m.Address) > 0) {
		bad("media.address", "%v", err)
	}
}

// mediaAddresses are what phones are told: at most one of each family.
func (c *Config) mediaAddresses() (out []netip.Addr, err error) {
	have := map[bool]bool{}
	add := func(s string) bool {
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		a = a.Unmap()
		if err != nil || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			return false
		}
		if !have[a.Is4()] {
			have[a.Is4()] = true
			out = append(out, a)
		}
		return true
	}
	for _, s := range c.Media.Address {
		if !add(s) {
			return nil, fmt.Errorf("%q: want an IP address that phones reach", s)
		}
	}
	if len(out) < len(c.Media.Address) {
		return nil, fmt.Errorf("%s: want at most one address of IPv4 and one of IPv6", strings.Join(c.Media.Address, ", "))
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, s := range c.SIP.Listen {
		l, err := sipListener(s, c.SIP)
		if err != nil {
			continue
		}
		host := l.AdvertiseHost
		if host == "" {
			host, _, _ = strings.Cut(hostport(s), "]")
			if !strings.HasPrefix(host, "[") {
				host, _, _ = strings.Cut(host, ":")
			}
		}
		add(host)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("missing, and neither sip.advertise nor sip.listen is an address that phones reach")
	}
	return out, nil
}

// openMedia opens the relay, if there is to be one.
func (g *Gateway) openMedia() error {
	c := g.o.Config.Media
	if c.Relay == relayNone || g.o.Config.Role == RoleRedirect {
		return nil
	}
	addresses, err := g.o.Config.mediaAddresses()
	if err != nil {
		return fmt.Errorf("E0104 media.address: %w", err)
	}
	mc := media.Config{Always: c.Relay == relayAlways, Addresses: addresses, Timeout: c.Timeout, Limit: c.Limit, Refuse: c.Exhausted == "refuse",
		Strict: c.Strict, Behind: g.behindNAT, Report: g.mediaEvent}
	mc.First, mc.Last, _ = portRange(c.Ports) // checked when the configuration was read
	g.media, err = media.New(mc)
	return err
}

// relay is what the proxy is given: nil, and not a nil in an interface, when there is none.
func (g *Gateway) relay() proxy.Media {
	if g.media == nil {
		return nil
	}
	return g.media
}

// behindNAT reports whether a phone whose messages come from there is behind a NAT, when it says that its address is own.
func (g *Gateway) behindNAT(from location.Hop, own netip.Addr) bool {
	source := from.Remote.Addr().Unmap()
	return source.IsValid() && own != source && !contains(g.inForce().lan, source)
}

func (g *Gateway) mediaEvent(e media.Event) {
	g.refusals.Warn().Str("component", "media").Str("code", e.Code).Str("call_id", e.CallID).Msg(e.Text)
}

// keepMedia moves the relay's clock on until ctx ends.
func (g *Gateway) keepMedia(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			g.media.Sweep(now)
		}
	}
}

// MediaReport is GET /api/v1/media: the calls whose media this node relays.
type MediaReport struct {
	Relay      string            `json:"relay"` // none, auto, always
	Ports      int               `json:"ports"` // pairs with calls
	PortsTotal int               `json:"ports_total"`
	Calls      []MediaCallReport `json:"calls"`
	Dropped    map[string]uint64 `json:"dropped"` // packets, by reason
	Ended      map[string]uint64 `json:"ended"`   // calls, by reason
	Skipped    map[string]uint64 `json:"skipped"` // calls that were left alone, by reason
}

// MediaCallReport is a call that is relayed.
type MediaCallReport struct {
	CallID       string              `json:"call_id"`
	Answered     bool                `json:"answered"`
	Hold         bool                `json:"hold"`
	AgeSeconds   int64               `json:"age_seconds"`
	QuietSeconds int64               `json:"quiet_seconds"` // since a packet came
	Streams      []MediaStreamReport `json:"streams"`
}

// MediaStreamReport is one of its streams.
type MediaStreamReport struct {
	Media  string          `json:"media"` // audio, video
	Caller MediaSideReport `json:"caller"`
	Callee MediaSideReport `json:"callee"`
}

// MediaSideReport is what faces one side of a stream, RTP and RTCP together.
type MediaSideReport struct {
	Local   string `json:"local"`            // what the side was told
	Remote  string `json:"remote,omitempty"` // where it takes packets; absent: nowhere
	Latched bool   `json:"latched"`          // its packets come from there
	Packets uint64 `json:"packets"`          // that came from it
	Octets  uint64 `json:"octets"`
	Dropped uint64 `json:"dropped"`
}

func (g *Gateway) mediaReport() MediaReport {
	r := MediaReport{Relay: relayNone, Calls: []MediaCallReport{}, Dropped: map[string]uint64{}, Ended: map[string]uint64{}, Skipped: map[string]uint64{}}
	if g.media == nil {
		return r
	}
	s := g.media.Stats()
	r.Relay, r.Ports, r.PortsTotal, r.Dropped, r.Ended, r.Skipped = g.o.Config.Media.Relay, s.Ports, s.PortsTotal, s.Dropped, s.Ended, s.Skipped
	for _, c := range g.media.Sessions() {
		call := MediaCallReport{CallID: c.CallID, Answered: c.Answered, Hold: c.Hold, AgeSeconds: int64(c.Age.Seconds()), QuietSeconds: int64(c.Quiet.Seconds())}
		for _, st := range c.Streams {
			call.Streams = append(call.Streams, MediaStreamReport{st.Media, mediaSide(st.Sides[0]), mediaSide(st.Sides[1])})
		}
		r.Calls = append(r.Calls, call)
	}
	return r
}

func mediaSide(s media.Side) MediaSideReport {
	r := MediaSideReport{Local: s.Local.String(), Latched: s.Latched, Packets: s.Packets, Octets: s.Octets, Dropped: s.Dropped}
	if s.Remote.IsValid() {
		r.Remote = s.Remote.String()
	}
	return r
}

// mediaGauges are the relay's numbers; nil when there is none.
func (g *Gateway) mediaGauges() *metrics.Media {
	if g.media == nil {
		return nil
	}
	s := g.media.Stats()
	return &metrics.Media{Sessions: s.Sessions, Ports: s.Ports, PortsTotal: s.PortsTotal, Begun: s.Begun, Exhausted: s.Exhausted, Packets: s.Packets,
		Octets: s.Octets, Dropped: s.Dropped, Ended: s.Ended, Skipped: s.Skipped}
}

// mediaSource is the part of an adminSource that tells of the relay.
type mediaSource interface{ mediaReport() MediaReport }

func handleMedia(mux *http.ServeMux, s mediaSource) {
	mux.HandleFunc("GET /api/v1/media", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.mediaReport()) })
}
