package gateway

import "testing"

// Who writes an IPv6 address as in a URI means the same address, and not one with brackets twice.
//
// Feature: NAT-06
func TestWhatASIPListenerAdvertisesIsAHost(t *testing.T) {
	for _, c := range []struct {
		options, advertise, want string // want "": it is refused
	}{
		{"", "", "-"},
		{"?advertise=pbx.example.org", "", "pbx.example.org"},
		{"", "192.0.2.1", "192.0.2.1"},
		{"", "2001:db8::1", "2001:db8::1"},
		{"", "[2001:db8::1]", "2001:db8::1"},
		{"?advertise=[2001:db8::1]", "192.0.2.1", "2001:db8::1"},
		{"?advertise=pbx.example.org:5060", "", ""},
		{"", "192.0.2.1:5060", ""},
		{"", "[2001:db8::1]:5060", ""},
		{"", "[192.0.2.1]", ""},
	} {
		l, err := sipListener("udp://0.0.0.0:5060"+c.options, SIPConfig{Advertise: c.advertise})
		if got := l.AdvertiseHost; (err != nil) != (c.want == "") || err == nil && got != c.want && got+"-" != c.want {
			t.Errorf("%q, %q: %q, %v", c.options, c.advertise, got, err)
		}
	}
}
