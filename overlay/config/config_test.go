package config_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b *x509.Certificate) bool { return a.Equal(b) }),
	cmp.AllowUnexported(wire.NodeID{}),
	cmpopts.IgnoreUnexported(config.DomainRestriction{}),
	cmpopts.IgnoreFields(config.Overlay{}, "KindBlocks"),
	cmpopts.EquateEmpty(),
}

func mustNode(t testing.TB, s string) wire.NodeID {
	t.Helper()
	id, err := wire.ParseNodeID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func everyElement(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/every-element.xml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// document is a document with one configuration that holds body.
func document(body string) []byte {
	return []byte(`<overlay xmlns="` + config.NamespaceBase + `" xmlns:chord="` + config.NamespaceChord + `" xmlns:sip="` +
		config.NamespaceSIP + `"><configuration instance-name="example.org">` + body + `</configuration></overlay>`)
}

func mustParse(t testing.TB, doc []byte) *config.Configuration {
	t.Helper()
	d, err := config.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &d.Configurations[0]
}

// Conformance: F-27 F-28
func TestRFC6940_11_1_Defaults(t *testing.T) {
	got := mustParse(t, document("")).Overlay
	want := &config.Overlay{
		InstanceName: "example.org", TopologyPlugin: "CHORD-RELOAD", NodeIDLength: 16, SelfSignedDigest: "sha1", TurnDensity: 1,
		ClientsPermitted: true, MaxMessageSize: 5000, InitialTTL: 100, ReliabilityTimer: 3 * time.Second, LinkProtocols: []string{"TLS"},
		ChordPingInterval: time.Hour, ChordUpdateInterval: 10 * time.Minute, ChordReactive: true, PeersToProbe: 4,
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, config.New("example.org"), compare); d != "" {
		t.Error(d)
	}
}

// Conformance: F-26 F-28 F-29 F-30 F-33
func TestRFC6940_11_1_EveryElement(t *testing.T) {
	doc := everyElement(t)
	d, err := config.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	got := d.Configurations[0].Overlay
	want := &config.Overlay{
		InstanceName: "overlay.example.org", Sequence: 22, Expiration: time.Date(2035, 10, 10, 7, 0, 0, 0, time.UTC),
		TopologyPlugin: "CHORD-RELOAD", NodeIDLength: 17, RootCerts: got.RootCerts,
		EnrollmentServers:   []string{"https://enroll.example.org/one", "https://enroll.example.org/two"},
		SelfSignedPermitted: true, SelfSignedDigest: "sha256",
		Bootstrap:   []config.BootstrapNode{{Address: "192.0.2.1", Port: 6084}, {Address: "2001:db8::1", Port: 6085}},
		TurnDensity: 20, NoICE: true, SharedSecret: "password", MaxMessageSize: 4000, InitialTTL: 30,
		ReliabilityTimer: 200 * time.Millisecond, LinkProtocols: []string{"TLS", "EXP-LINK"},
		KindSigners:          []wire.NodeID{mustNode(t, "b1a2030405060708090a0b0c0d0e0f1011")},
		ConfigurationSigners: []wire.NodeID{mustNode(t, "a1a2030405060708090a0b0c0d0e0f1011")},
		BadNodes:             []wire.NodeID{mustNode(t, "0102030405060708090a0b0c0d0e0f1011")},
		MandatoryExtensions:  []string{"urn:example:ext"},
		Kinds: []config.Kind{
			{ID: 1, Name: "SIP-REGISTRATION", Model: wire.Dictionary, Access: config.UserNodeMatch, MaxCount: 1, MaxSize: 100},
			{ID: 0xf0000002, Model: wire.Array, Access: config.NodeMultiple, MaxCount: 22, MaxSize: 4, MaxNodeMultiple: 3},
		},
		Domains:           &config.DomainRestriction{Enable: true, Patterns: []string{`dht\.example\.com`, `.*\.my\.example`}},
		ChordPingInterval: 30 * time.Second, ChordUpdateInterval: 400 * time.Second, PeersToProbe: 4,
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
	if len(got.RootCerts) != 1 || got.RootCerts[0].Subject.CommonName != "test CA" {
		t.Errorf("root certificates: %v", got.RootCerts)
	}
	if len(d.Configurations) != 2 || d.Configurations[1].Overlay.InstanceName != "other.example.net" {
		t.Errorf("%d configurations", len(d.Configurations))
	}
}

// RFC 6940 §11.1: "starting from, and including, the first < at the start of <configuration> up to and including the > in
// </configuration> and treating this as a binary blob".
//
// Conformance: F-32 F-35
func TestRFC6940_11_1_SignedOctetsAreExact(t *testing.T) {
	doc := everyElement(t)
	for name, doc := range map[string][]byte{"plain": doc, "byte order mark": append([]byte("\ufeff"), doc...)} {
		d, err := config.Parse(doc)
		if err != nil {
			t.Fatal(name, err)
		}
		c := d.Configurations[0]
		cut := func(from, to string) []byte {
			i := bytes.Index(doc, []byte(from))
			return doc[i : i+bytes.Index(doc[i:], []byte(to))+len(to)]
		}
		if want := cut("<configuration instance-name=\"overlay", "</configuration>"); !bytes.Equal(c.Signed, want) {
			t.Errorf("%s: configuration:\n%s", name, c.Signed)
		}
		if want := cut(`<kind name="SIP-REGISTRATION"`, "</kind>"); !bytes.Equal(c.Blocks[0].Signed, want) {
			t.Errorf("%s: kind:\n%s", name, c.Blocks[0].Signed)
		}
		if want := cut(`<kind id="4026531842"`, "</kind>"); !bytes.Equal(c.Blocks[1].Signed, want) {
			t.Errorf("%s: second kind:\n%s", name, c.Blocks[1].Signed)
		}
		if want := [][]byte{[]byte("one"), []byte("two")}; !cmp.Equal(c.Signatures, want) {
			t.Errorf("%s: signatures %q", name, c.Signatures)
		}
		if !bytes.Equal(d.Configurations[1].Signed, []byte(`<configuration instance-name="other.example.net"></configuration>`)) ||
			string(d.Configurations[1].Signatures[0]) != "three" {
			t.Errorf("%s: second configuration: %s", name, d.Configurations[1].Signed)
		}
		if string(c.Blocks[0].Signature) != "This is not right!\n" || string(c.Blocks[1].Signature) != "two" {
			t.Errorf("%s: kind signatures %q %q", name, c.Blocks[0].Signature, c.Blocks[1].Signature)
		}
	}
}

func kind(head, body string) string {
	return "<required-kinds><kind-block><kind " + head + ">" + body + "</kind></kind-block></required-kinds>"
}

const limits = "<max-count>4</max-count><max-size>400</max-size>"

// Conformance: F-29 F-33 F-39
func TestErrorsNameElementAndValue(t *testing.T) {
	const full = limits + "<data-model>SINGLE</data-model><access-control>NODE-MATCH</access-control>"
	for body, want := range map[string][2]string{
		"<node-id-length>15</node-id-length>":                              {"node-id-length", "15"},
		"<node-id-length>21</node-id-length>":                              {"node-id-length", "21"},
		"<turn-density>256</turn-density>":                                 {"turn-density", "256"},
		"<turn-density>-1</turn-density>":                                  {"turn-density", "-1"},
		"<overlay-reliability-timer>199</overlay-reliability-timer>":       {"overlay-reliability-timer", "199"},
		"<initial-ttl>0</initial-ttl>":                                     {"initial-ttl", "0"},
		"<initial-ttl>256</initial-ttl>":                                   {"initial-ttl", "256"},
		"<max-message-size>x</max-message-size>":                           {"max-message-size", "x"},
		"<no-ice>TRUE</no-ice>":                                            {"no-ice", "TRUE"},
		"<clients-permitted></clients-permitted>":                          {"clients-permitted", ""},
		"<no-ice>true</no-ice><no-ice>true</no-ice>":                       {"no-ice", ""},
		"<root-cert> YmFkIGNlcnQK </root-cert>":                            {"root-cert", ""},
		"<root-cert>%%%</root-cert>":                                       {"root-cert", "%%%"},
		"<enrollment-server>http://a.example</enrollment-server>":          {"enrollment-server", "http://a.example"},
		"<self-signed-permitted>true</self-signed-permitted>":              {"self-signed-permitted/@digest", ""},
		`<self-signed-permitted digest="md5">true</self-signed-permitted>`: {"self-signed-permitted/@digest", "md5"},
		`<bootstrap-node address="a b"/>`:                                  {"bootstrap-node/@address", "a b"},
		`<bootstrap-node address="192.0.2.1" port="65536"/>`:               {"bootstrap-node/@port", "65536"},
		`<bootstrap-node port="6084"/>`:                                    {"bootstrap-node/@address", ""},
		"<chord:chord-ping-interval>0</chord:chord-ping-interval>":         {"chord-ping-interval", "0"},
		"<topology-plugin/>":                                               {"topology-plugin", ""},
		"<overlay-link-protocol> </overlay-link-protocol>":                 {"overlay-link-protocol", ""},
		kind(`name="SIP-REGISTRATION"`, "<max-count>4</max-count>"):        {"kind", ""},
		kind(`name="SIP-REGISTRATION"`, "<max-count>0</max-count>"):        {"max-count", "0"},
		kind(`id="4026531842"`, limits):                                    {"kind", ""},
		kind(`id="4026531842"`, limits+"<data-model>ARRAY</data-model><access-control>NODE-MULTIPLE</access-control>"): {"kind", ""},
		kind(`id="0"`, full):                             {"kind/@id", "0"},
		kind(`id="4294967296"`, full):                    {"kind/@id", "4294967296"},
		kind("", full):                                   {"kind", ""},
		kind(`name="TURN-SERVICE" id="2"`, full):         {"kind", ""},
		"<required-kinds><kind-block/></required-kinds>": {"kind-block", ""},
		"<sip:domain-restriction enable='yes'/>":         {"domain-restriction/@enable", "yes"},
		"<sip:domain-restriction><sip:pattern>(</sip:pattern></sip:domain-restriction>": {"domain-restriction", ""},
	} {
		_, err := config.Parse(document(body))
		var e *config.ElementError
		if !errors.As(err, &e) || e.Element != want[0] || e.Value != want[1] {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Conformance: F-25 F-27 F-39
func TestErrorsOfAttributes(t *testing.T) {
	for attrs, want := range map[string]string{
		``:                                   "instance-name",
		`instance-name="two words"`:          "instance-name",
		`instance-name="a..b"`:               "instance-name",
		`instance-name="a" sequence="65535"`: "sequence",
		`instance-name="a" sequence="-1"`:    "sequence",
		`instance-name="a" expiration="2035-10-10T07:00:00+02:00"`: "expiration",
		`instance-name="a" expiration="2035-10-10"`:                "expiration",
	} {
		doc := fmt.Sprintf(`<overlay xmlns=%q><configuration %s/></overlay>`, config.NamespaceBase, attrs)
		var e *config.ElementError
		if _, err := config.Parse([]byte(doc)); !errors.As(err, &e) || e.Element != "configuration/@"+want {
			t.Errorf("%s: %v", attrs, err)
		}
	}
}

// Conformance: F-26
func TestRefusesWhatIsNoDocument(t *testing.T) {
	const base = config.NamespaceBase
	for name, doc := range map[string]string{
		"empty":               "",
		"text":                "hello",
		"cut":                 string(document("<no-ice>true</no-ice>")[:200]),
		"no configuration":    `<overlay xmlns="` + base + `"/>`,
		"no namespace":        `<overlay><configuration instance-name="a"/></overlay>`,
		"other namespace":     `<overlay xmlns="urn:x"><configuration instance-name="a"/></overlay>`,
		"two roots":           string(document("")) + string(document("")),
		"document type":       `<!DOCTYPE overlay [<!ENTITY a "b">]>` + string(document("")),
		"entity":              string(document("<shared-secret>&a;</shared-secret>")),
		"not UTF-8":           string(document("<shared-secret>\xff</shared-secret>")),
		"other encoding":      `<?xml version="1.0" encoding="ISO-8859-1"?>` + string(document("")),
		"too deep":            string(document(strings.Repeat("<a>", 30) + strings.Repeat("</a>", 30))),
		"too many":            string(document(strings.Repeat("<a/>", 30000))),
		"too large":           string(document(strings.Repeat(" ", 1<<20))),
		"signature first":     `<overlay xmlns="` + base + `"><signature>YQ==</signature><configuration instance-name="a"/></overlay>`,
		"signature no base64": `<overlay xmlns="` + base + `"><configuration instance-name="a"/><signature>!</signature></overlay>`,
		"prefix rebound":      `<overlay xmlns="` + base + `" xmlns:chord="urn:x"><configuration instance-name="a"/></overlay>`,
	} {
		if _, err := config.Parse([]byte(doc)); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "config: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 6940 §11.1: "If the Kind is registered with IANA ... clients MUST ignore them in favor of the IANA versions."
//
// Conformance: D-47 H-01
func TestRFC6940_11_1_IANAWins(t *testing.T) {
	o := mustParse(t, document(kind(`name="CERTIFICATE_BY_USER"`,
		limits+"<data-model>DICTIONARY</data-model><access-control>NODE-MATCH</access-control>"))).Overlay
	want := config.Kind{ID: 16, Name: "CERTIFICATE_BY_USER", Model: wire.Array, Access: config.UserMatch, MaxCount: 4, MaxSize: 400}
	if got, ok := o.Kind(wire.KindCertificateByUser); !ok || got != want {
		t.Errorf("%+v", got)
	}
	// Kinds that the document does not name are known all the same.
	if k, ok := o.Kind(wire.KindSIPRegistration); !ok || k.Access != config.UserNodeMatch || k.MaxCount == 0 || k.MaxSize == 0 {
		t.Errorf("%+v %v", k, ok)
	}
	for _, id := range []wire.KindID{0, 0x7fffffff, wire.KindSIPGateway} {
		if k, ok := o.Kind(id); ok {
			t.Errorf("Kind %#x is known: %+v", uint32(id), k)
		}
	}
}

func TestSchema(t *testing.T) {
	o := mustParse(t, document(kind(`id="4026531841"`,
		limits+"<data-model>SINGLE</data-model><access-control>NODE-MATCH</access-control>"))).Overlay
	s := o.Schema()
	for id, want := range map[wire.KindID]wire.DataModel{
		wire.KindSIPGateway: wire.SingleValue, wire.KindSIPRegistration: wire.Dictionary, wire.KindCertificateByNode: wire.Array,
	} {
		if m, ok := s.Model(id); !ok || m != want {
			t.Errorf("Kind %#x: %v %v", uint32(id), m, ok)
		}
	}
	if _, ok := s.Model(0xf0000009); ok || s.NodeIDLen != 16 {
		t.Errorf("%+v", s)
	}
	if o.ID() != wire.OverlayIDOf("example.org") {
		t.Errorf("overlay field %#x", uint32(o.ID()))
	}
}

// RFC 6940 §11.1: booleans are xsd:boolean, and white space around a value does not count.
//
// Conformance: F-29
func TestRFC6940_11_1_BooleansAndWhiteSpace(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "1": true, "\n\t true ": true, " 1\n": true, "false": false, "0": false, " false\r\n": false} {
		if got := mustParse(t, document("<no-ice>"+text+"</no-ice>")).Overlay.NoICE; got != want {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// RFC 6940 §11.1: a Kind that is not registered has an id of the private range.
//
// Conformance: F-33
func TestRFC6940_11_1_KindIDOutsideThePrivateRange(t *testing.T) {
	const rest = limits + "<data-model>SINGLE</data-model><access-control>NODE-MATCH</access-control>"
	for id, warnings := range map[string]int{"2000": 1, "4026531841": 0} {
		c := mustParse(t, document(kind(`id="`+id+`"`, rest)))
		if len(c.Warnings) != warnings || warnings == 1 && !strings.Contains(c.Warnings[0], id) || len(c.Overlay.Kinds) != 1 {
			t.Errorf("%s: %+v, warnings %q", id, c.Overlay.Kinds, c.Warnings)
		}
	}
}

// Conformance: F-32 G-11
func TestUnknownElementsAreTolerated(t *testing.T) {
	c := mustParse(t, document(`<multicast-bootstrap address="224.0.0.1" port="6084"/><x:y xmlns:x="urn:x"><no-ice>true</no-ice></x:y>`+
		`<topology-plug-in>CHORD-RELOAD</topology-plug-in>`+
		`<enrollment-server> <url> https://a.example </url> </enrollment-server><bad-node>47112162e84c69ba</bad-node>`))
	if c.Overlay.NoICE || len(c.Overlay.BadNodes) != 0 || !cmp.Equal(c.Overlay.EnrollmentServers, []string{"https://a.example"}) {
		t.Errorf("%+v", c.Overlay)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0], "multicast-bootstrap") || !strings.Contains(c.Warnings[1], "47112162e84c69ba") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Conformance: A-02 A-40 C-43 D-46 F-31 F-40
func TestRFC6940_11_1_NotSupported(t *testing.T) {
	for _, noICE := range []bool{false, true} {
		o := config.New("a")
		o.NoICE = noICE
		if err := o.Supported(); err != nil {
			t.Error(err)
		}
	}
	known := config.New("a")
	known.LinkProtocols, known.MandatoryExtensions = []string{"EXP-PROTOCOL", "TLS"}, []string{config.NamespaceSIP}
	if err := known.Supported(); err != nil {
		t.Error("one link protocol of two is known: ", err)
	}
	for want, change := range map[string]func(*config.Overlay){
		"EXP-OVERLAY":     func(o *config.Overlay) { o.TopologyPlugin = "EXP-OVERLAY" },
		"node-id-length":  func(o *config.Overlay) { o.NodeIDLength = 20 },
		"EXP-PROTOCOL":    func(o *config.Overlay) { o.LinkProtocols = []string{"EXP-PROTOCOL"} },
		"urn:x":           func(o *config.Overlay) { o.MandatoryExtensions = []string{config.NamespaceSIP, "urn:x"} },
		"shared-secret":   func(o *config.Overlay) { o.SharedSecret = "hush" },
		"FANCY":           func(o *config.Overlay) { o.Kinds = []config.Kind{{Name: "FANCY"}} },
		"USER-CHAIN-ACL":  func(o *config.Overlay) { o.Kinds = []config.Kind{{ID: 4, Model: wire.Array, Access: "USER-CHAIN-ACL"}} },
		"overlay.example": func(o *config.Overlay) { o.InstanceName, o.NodeIDLength = "overlay.example", 17 },
	} {
		o := config.New("a")
		change(o)
		err := o.Supported()
		if !errors.Is(err, config.ErrUnsupported) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestExpired(t *testing.T) {
	o := config.New("a")
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if o.Expired(now) {
		t.Error("a document without expiration expired")
	}
	o.Expiration = now
	if !o.Expired(now) || o.Expired(now.Add(-time.Second)) {
		t.Error("expiration is not the first moment at which the document is no longer valid")
	}
}

// Conformance: C-29
func TestNewerCountsModulo65535(t *testing.T) {
	for _, c := range []struct {
		b, a uint16
		want bool
	}{
		{1, 0, true}, {0, 1, false}, {7, 7, false}, {0, 65534, true},
		{65534, 0, false}, {32767, 0, true}, {32768, 0, false}, {0, 32768, true},
	} {
		if got := config.Newer(c.b, c.a); got != c.want {
			t.Errorf("Newer(%d, %d) = %v", c.b, c.a, got)
		}
	}
}

// Conformance: F-44 H-10
func TestRFC7904_3_4_DomainRestriction(t *testing.T) {
	const element = `<sip:domain-restriction%s><sip:pattern>dht\.example\.com</sip:pattern>` +
		`<sip:pattern>.*\.my\.example</sip:pattern></sip:domain-restriction>`
	absent := mustParse(t, document("")).Overlay
	off := mustParse(t, document(fmt.Sprintf(element, ""))).Overlay
	on := mustParse(t, document(kind(`name="SIP-REGISTRATION"`, limits+fmt.Sprintf(element, ` enable="1"`)))).Overlay
	for _, c := range []struct {
		user            string
		absent, off, on bool
	}{
		{"a@example.org", true, true, false},
		{"a@EXAMPLE.org", true, true, false},
		{"a@dht.example.com", true, false, true},
		{"a@DHT.Example.com", true, false, true},
		{"a@x.my.example", true, false, true},
		{"a@my.example", true, false, false},
		{"a@dht.example.com.evil", true, false, false},
		{"a@xdht.example.com", true, false, false},
		{"a@dhtxexample.com", true, false, false},
		{"nobody", true, false, false},
	} {
		if absent.AllowsUser(c.user) != c.absent || off.AllowsUser(c.user) != c.off || on.AllowsUser(c.user) != c.on {
			t.Errorf("%s: %v %v %v", c.user, absent.AllowsUser(c.user), off.AllowsUser(c.user), on.AllowsUser(c.user))
		}
	}
}

// RFC 6940 §13.6.5: initial-ttl "SHOULD be set to a value slightly larger than the longest expected path through the network".
//
// Conformance: C-23
func TestRFC6940_13_6_5_InitialTTLThatDoesNotFit(t *testing.T) {
	for ttl, want := range map[string]string{"3": "more than 1 nodes", "12": "more than 128 nodes", "30": "", "100": "", "200": "round in circles"} {
		doc := bytes.Replace(write(config.New("example.org")), []byte("<initial-ttl>100<"), []byte("<initial-ttl>"+ttl+"<"), 1)
		got := strings.Join(mustParse(t, doc).Warnings, " ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", ttl, got, want)
		}
	}
}
