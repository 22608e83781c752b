package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
)

func (fakeNode) mediaReport() MediaReport { return MediaReport{Relay: relayAuto, PortsTotal: 7} }

func TestMediaIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*MediaConfig)
		want   string // key; "": all is well
	}{
		"default":            {func(*MediaConfig) {}, ""},
		"auto":               {func(c *MediaConfig) { c.Relay = relayAuto }, ""},
		"word":               {func(c *MediaConfig) { c.Relay = "yes" }, "media.relay"},
		"exhausted":          {func(c *MediaConfig) { c.Exhausted = "busy" }, "media.exhausted"},
		"range":              {func(c *MediaConfig) { c.Ports = "5-4" }, "media.ports"},
		"too small a range":  {func(c *MediaConfig) { c.Ports = "30000-30002" }, "media.ports"},
		"timeout":            {func(c *MediaConfig) { c.Timeout = time.Second }, "media.timeout"},
		"limit":              {func(c *MediaConfig) { c.Limit = -1 }, "media.limit"},
		"address":            {func(c *MediaConfig) { c.Address = List{"sip.example.org"} }, "media.address"},
		"any address":        {func(c *MediaConfig) { c.Address = List{"0.0.0.0"} }, "media.address"},
		"two of one family":  {func(c *MediaConfig) { c.Address = List{"192.0.2.1", "192.0.2.2"} }, "media.address"},
		"one of each family": {func(c *MediaConfig) { c.Address = List{"192.0.2.1", "2001:db8::1"} }, ""},
	} {
		config := DefaultConfig()
		config.SIP.Listen = List{"udp://192.0.2.7:5060"}
		c.change(&config.Media)
		var keys []string
		config.checkMedia(func(key, _ string, _ ...any) { keys = append(keys, key) })
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("%s: complains of %q, want %q", name, got, c.want)
		}
	}
}

// Where nothing is said, phones send their media where they send their messages.
func TestAddressesOfTheRelay(t *testing.T) {
	for _, c := range []struct {
		listen    List
		advertise string
		want      string
	}{
		{List{"udp://192.0.2.7:5060", "tcp://192.0.2.8:5060", "udp://[2001:db8::7]:5060"}, "", "[192.0.2.7 2001:db8::7]"},
		{List{"udp://0.0.0.0:5060"}, "192.0.2.9", "[192.0.2.9]"},
		{List{"udp://0.0.0.0:5060?advertise=192.0.2.10"}, "", "[192.0.2.10]"},
		{List{"udp://0.0.0.0:5060"}, "sip.example.org", "[]"},
	} {
		config := DefaultConfig()
		config.SIP.Listen, config.SIP.Advertise = c.listen, c.advertise
		got, err := config.mediaAddresses()
		if fmt.Sprint(got) != c.want || (err == nil) != (len(got) > 0) {
			t.Errorf("%v, %q: %v, %v; want %s", c.listen, c.advertise, got, err, c.want)
		}
	}
}

func TestWhoIsBehindANAT(t *testing.T) {
	g := &Gateway{}
	g.current.Store(&inForce{lan: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}})
	for _, c := range []struct {
		source, own string
		want        bool
	}{
		{"198.51.100.1:5060", "10.0.0.1", true}, {"198.51.100.1:5060", "198.51.100.1", false}, {"[::ffff:198.51.100.1]:5060", "198.51.100.1", false}, {"192.0.2.1:5060", "10.0.0.1", false},
	} {
		if got := g.behindNAT(location.Hop{Remote: netip.MustParseAddrPort(c.source)}, netip.MustParseAddr(c.own)); got != c.want {
			t.Errorf("%s at %s: %v", c.own, c.source, got)
		}
	}
	if g.behindNAT(location.Hop{Node: "x"}, netip.MustParseAddr("10.0.0.1")) {
		t.Error("another gateway is behind a NAT")
	}
}
