package sipusage

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: H-01 H-04
func TestRFC7904_7_RecordOfAGateway(t *testing.T) {
	v := route(nodeN(t))
	if got := hex.EncodeToString(v.Data); got != "02001600000012011000112233445566778899aabbccddeeff" {
		t.Errorf("SipRegistration %s", got)
	}
	// RFC 7904 §7: "The dictionary key is the Node-ID of the Storing Peer."
	if v.Model != wire.Dictionary || hex.EncodeToString([]byte(v.Key)) != "00112233445566778899aabbccddeeff" || !v.Exists {
		t.Errorf("%+v", v)
	}
	if g := gone(v); g.Exists || len(g.Data) != 0 || g.Key != v.Key || g.Model != v.Model {
		t.Errorf("tombstone %+v", g)
	}
	if got := resource("alice@dht.example.org").String(); got != "90966b01081c98be2c7e87a0b9a016ac" {
		t.Errorf("Resource-ID %s", got)
	}
}

// Conformance: H-03 H-05 H-16
func TestReadSortsWhatWasFetched(t *testing.T) {
	self := nodeN(t)
	other, err := wire.NodeIDFromBytes([]byte("other-node-id-16"))
	if err != nil {
		t.Fatal(err)
	}
	value := func(data []byte) overlay.Value {
		return overlay.Value{StoredData: wire.StoredData{Lifetime: 10, Value: wire.StoredValue{Model: wire.Dictionary, Exists: true, Data: data}}}
	}
	reg := func(r wire.SipRegistration) overlay.Value { return value(r.AppendTo(nil)) }
	to := func(d ...wire.Destination) overlay.Value {
		return reg(wire.SipRegistration{Type: wire.SipRegistrationRoute, ContactPrefs: "(sip.schemes=SIP", Destinations: wire.NewDestinationList(d...)})
	}
	third, err := wire.NodeIDFromBytes([]byte("third-node-id-16"))
	if err != nil {
		t.Fatal(err)
	}
	expired, absent := to(wire.ToNode(third)), to(wire.ToNode(third))
	expired.Lifetime, absent.Value.Exists = 0, false
	e := read([]overlay.Value{
		expired, absent, value(nil), value([]byte{2, 0, 9}), reg(wire.SipRegistration{Type: 9, Raw: []byte("later")}),
		to(wire.ToResource("0123456789abcdef")), to(wire.ToNode(wire.Wildcard(16))),
		to(wire.ToNode(self)), to(wire.ToNode(other)), to(wire.ToNode(other)), to(wire.ToNode(self), wire.ToNode(other)),
		reg(wire.SipRegistration{Type: wire.SipRegistrationURI, URI: "carol@example.org"}),
		reg(wire.SipRegistration{Type: wire.SipRegistrationURI, URI: "sip:carol@example.org"}),
	}, self)
	var grs []string
	for _, n := range e.nodes {
		grs = append(grs, n.gr)
	}
	if d := cmp.Diff([]string{NodeGR(other), GR(wire.NewDestinationList(wire.ToNode(self), wire.ToNode(other)))}, grs); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"sip:carol@example.org"}, e.uris); d != "" || !e.here {
		t.Error(d, e.here)
	}
	var many []overlay.Value
	for i := range 100 {
		many = append(many, reg(wire.SipRegistration{Type: wire.SipRegistrationURI, URI: "u" + string(rune('0'+i)) + "@example.org"}))
	}
	if e := read(many, self); len(e.uris) > maxTargets {
		t.Errorf("%d targets", len(e.uris))
	}
}

// Conformance: H-07
func TestRFC7904_3_2_URIWithAndWithoutScheme(t *testing.T) {
	for in, want := range map[string]string{
		"carol@dht.example.org":          "sip:carol@dht.example.org",
		"sip:carol@dht.example.org":      "sip:carol@dht.example.org",
		"SIPS:carol@dht.example.org;x=y": "sips:carol@dht.example.org;x=y",
		"carol@dht.example.org:5070":     "sip:carol@dht.example.org:5070",
		"tel:+4930123456":                "tel:+4930123456",
		"mailto:carol@example.org":       "",
		"http://example.org/":            "",
		"carol":                          "",
		"@example.org":                   "",
		"sip:":                           "",
		"":                               "",
		"sip:a@b>\r\nContact: <sip:evil@example.net": "",
		"sip:a@b <x>":     "",
		"sip:é@b":         "",
		"sip:a@b?c=%0d":   "sip:a@b?c=%0d",
		"sip:a\x00b@c":    "",
		"sip:a@b;c=\"d\"": "",
	} {
		if got, ok := normalize(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, ok, want)
		}
	}
	if _, ok := normalize("sip:" + string(make([]byte, maxURI)) + "@b"); ok {
		t.Error("too long a URI")
	}
}
