package config

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

// What costs nodes their place, and what does not.
//
// Conformance: F-42
func TestDisruptions(t *testing.T) {
	root := &x509.Certificate{Raw: []byte{1}}
	base := func() *Overlay {
		o := New("example.org")
		o.NoICE, o.RootCerts, o.SelfSignedPermitted = true, []*x509.Certificate{root}, true
		return o
	}
	for element, change := range map[string]func(*Overlay){
		"instance-name":                 func(o *Overlay) { o.InstanceName = "example.net" },
		"topology-plugin":               func(o *Overlay) { o.TopologyPlugin = "EXP-OVERLAY" },
		"node-id-length":                func(o *Overlay) { o.NodeIDLength = 20 },
		"no-ice":                        func(o *Overlay) { o.NoICE = false },
		"overlay-link-protocol":         func(o *Overlay) { o.LinkProtocols = []string{"DTLS", "TLS"} },
		"shared-secret":                 func(o *Overlay) { o.SharedSecret = "x" },
		"mandatory-extension":           func(o *Overlay) { o.MandatoryExtensions = []string{"urn:x"} },
		"root-cert":                     func(o *Overlay) { o.RootCerts = []*x509.Certificate{{Raw: []byte{2}}} },
		"self-signed-permitted":         func(o *Overlay) { o.SelfSignedPermitted = false },
		"self-signed-permitted/@digest": func(o *Overlay) { o.SelfSignedDigest = DigestSHA256 },
		"": func(o *Overlay) {
			o.Sequence, o.Expiration, o.ChordUpdateInterval, o.MaxMessageSize = 9, time.Now(), time.Hour, 9000
			o.RootCerts = append(slices.Clone(o.RootCerts), &x509.Certificate{Raw: []byte{2}})
			o.Bootstrap = []BootstrapNode{{"a", 1}}
		},
	} {
		o := base()
		change(o)
		list := Disruptions(base(), o)
		d, rejoin := Rejoin(base(), o)
		switch {
		case element == "" && len(list) > 0 || element != "" && (len(list) != 1 || list[0].Element != element || list[0].Why == ""):
			t.Errorf("%q: %v", element, list)
		case rejoin != (element != "" && list[0].Why == whyRejoin) || rejoin && d.Element != element:
			t.Errorf("%q: rejoin %v %v", element, rejoin, d)
		}
	}
}
