package config_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// jing validates documents against the grammar of RFC 6940 §11.1.1 with a program that knows nothing of ours.
func jing(t *testing.T, docs ...[]byte) {
	t.Helper()
	path, err := exec.LookPath("jing")
	if err != nil {
		t.Fatal("this test needs the Debian package jing: apt-get install jing")
	}
	args := []string{"-c", filepath.Join("testdata", "reload.rnc")}
	for i, d := range docs {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.xml", i))
		if err := os.WriteFile(file, d, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("jing: %v\n%s\n%s", err, out, bytes.Join(docs, []byte("\n")))
	}
}

func write(o *config.Overlay, blocks ...config.KindBlock) []byte {
	c := config.Configuration{Signed: config.AppendConfiguration(nil, o, blocks...), Signatures: [][]byte{[]byte("signature")}}
	return config.AppendDocument(nil, c)
}

// Conformance: F-28
func TestRFC6940_11_1_1_WrittenDocumentsFollowTheGrammar(t *testing.T) {
	full := mustParse(t, everyElement(t))
	o := full.Overlay
	o.InstanceName = "signed.example.org"
	d, err := config.NewDomainRestriction(true, `a&b<c>"\.example`)
	if err != nil {
		t.Fatal(err)
	}
	o.Domains = d
	blocks := []config.KindBlock{}
	for _, k := range o.Kinds {
		blocks = append(blocks, config.KindBlock{Kind: k, Signed: config.AppendKind(nil, o, k), Signature: bytes.Repeat([]byte("s"), 100)})
	}
	jing(t, everyElement(t), write(config.New("a.example")), write(config.WithSelfTuning(config.New("b.example"))), write(o, blocks...))
}

func TestWrittenKindsKeepTheirOctetsAndSignature(t *testing.T) {
	o := config.New("example.org")
	k, _ := config.Registered(wire.KindSIPRegistration)
	k.MaxCount, k.MaxSize = 9, 900
	o.Kinds = []config.Kind{k}
	blob := []byte("<kind  name='SIP-REGISTRATION' ><max-size>900</max-size><max-count>9</max-count></kind>")
	c := mustParse(t, write(o, config.KindBlock{Kind: o.Kinds[0], Signed: blob, Signature: []byte("sig")}))
	want := []config.KindBlock{{Kind: k, Signed: blob, Signature: []byte("sig")}}
	if !cmp.Equal(c.Blocks, want) {
		t.Errorf("%+v", c.Blocks)
	}
	if c = mustParse(t, write(o)); c.Blocks[0].Signature != nil || !bytes.Equal(c.Blocks[0].Signed, config.AppendKind(nil, o, o.Kinds[0])) {
		t.Errorf("%s", c.Blocks[0].Signed)
	}
}

// drawOverlay makes any overlay that a document can describe.
func drawOverlay(roots []*x509.Certificate) *rapid.Generator[*config.Overlay] {
	return rapid.Custom(func(t *rapid.T) *config.Overlay {
		name := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,10}){0,3}`)
		text := rapid.StringMatching(`[!-~äß][ -~äß]{0,20}[!-~]`)
		o := config.New(name.Draw(t, "name"))
		length := rapid.IntRange(16, 20).Draw(t, "length")
		node := rapid.Custom(func(t *rapid.T) wire.NodeID {
			id, _ := wire.NodeIDFromBytes(rapid.SliceOfN(rapid.Byte(), length, length).Draw(t, "id"))
			return id
		})
		o.NodeIDLength = length
		o.Sequence = rapid.Uint16Range(0, config.MaxSequence).Draw(t, "sequence")
		if rapid.Bool().Draw(t, "expires") {
			o.Expiration = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "expiration"), 0).UTC()
		}
		o.RootCerts = roots[:rapid.IntRange(0, len(roots)).Draw(t, "roots")]
		o.SelfSignedPermitted = rapid.Bool().Draw(t, "self-signed")
		if o.SelfSignedPermitted {
			o.SelfSignedDigest = rapid.SampledFrom([]string{"sha1", "sha256"}).Draw(t, "digest")
		}
		for range rapid.IntRange(0, 3).Draw(t, "bootstrap") {
			n := config.BootstrapNode{Address: name.Draw(t, "address"), Port: rapid.Uint16Min(1).Draw(t, "port")}
			o.Bootstrap = append(o.Bootstrap, n)
		}
		o.TurnDensity, o.InitialTTL = rapid.Byte().Draw(t, "density"), rapid.ByteMin(1).Draw(t, "ttl")
		o.ClientsPermitted, o.NoICE = rapid.Bool().Draw(t, "clients"), rapid.Bool().Draw(t, "no-ice")
		o.ChordReactive = rapid.Bool().Draw(t, "reactive")
		if rapid.Bool().Draw(t, "self-tuning") {
			config.WithSelfTuning(o).PeersToProbe = rapid.IntRange(0, 64).Draw(t, "probe")
		}
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			s := numbers.Shape{Prefix: rapid.IntRange(1, numbers.MaxLen).Draw(t, "prefix"), Digits: rapid.IntRange(1, numbers.MaxLen+1).Draw(t, "digits")}
			if s.Digits > numbers.MaxLen {
				s.Digits = numbers.AnyDigits
			}
			o.Ranges = numbers.NewPlan(append(o.Ranges, s)...)
		}
		if rapid.Bool().Draw(t, "secret?") {
			o.SharedSecret = text.Draw(t, "secret")
		}
		o.MaxMessageSize = rapid.IntRange(38, 1<<30).Draw(t, "size")
		o.ReliabilityTimer = time.Duration(rapid.IntRange(200, 1e6).Draw(t, "timer")) * time.Millisecond
		o.ChordPingInterval = time.Duration(rapid.IntRange(1, 1e6).Draw(t, "ping")) * time.Second
		o.ChordUpdateInterval = time.Duration(rapid.IntRange(1, 1e6).Draw(t, "update")) * time.Second
		o.LinkProtocols = rapid.SliceOfN(text, 1, 3).Draw(t, "protocols")
		o.MandatoryExtensions = rapid.SliceOfN(text, 0, 3).Draw(t, "extensions")
		o.KindSigners = rapid.SliceOfN(node, 0, 3).Draw(t, "kind-signers")
		o.ConfigurationSigners = rapid.SliceOfN(node, 0, 3).Draw(t, "signers")
		o.BadNodes = rapid.SliceOfN(node, 0, 3).Draw(t, "bad")
		for _, k := range rapid.SliceOfN(rapid.Uint16(), 0, 2).Draw(t, "diagnostics") {
			o.DiagnosticKinds = append(o.DiagnosticKinds, config.DiagnosticAccess{
				Kind: wire.DiagnosticKind(k), Nodes: rapid.SliceOfN(node, 1, 3).Draw(t, "access"),
			})
		}
		ids := rapid.SliceOfNDistinct(rapid.Uint32Range(0xf0000001, 0xfffffffe), 0, 3, rapid.ID[uint32]).Draw(t, "kinds")
		for _, id := range ids {
			policies := []config.AccessControl{config.UserMatch, config.NodeMatch, config.NodeMultiple}
			k := config.Kind{ID: wire.KindID(id), Model: rapid.SampledFrom([]wire.DataModel{1, 2, 3}).Draw(t, "model"),
				Access:   rapid.SampledFrom(policies).Draw(t, "access"),
				MaxCount: rapid.IntRange(1, 1000).Draw(t, "count"), MaxSize: rapid.IntRange(1, 1e6).Draw(t, "size")}
			if k.Access == config.NodeMultiple {
				k.MaxNodeMultiple = rapid.IntRange(1, 100).Draw(t, "multiple")
			}
			o.Kinds = append(o.Kinds, k)
		}
		if rapid.Bool().Draw(t, "redir?") {
			o.WithRedir(64, 512)
			o.Kinds[len(o.Kinds)-1].BranchingFactor = rapid.IntRange(2, 65536).Draw(t, "branching")
		}
		return o
	})
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	roots := mustParse(t, everyElement(t)).Overlay.RootCerts
	overlays := drawOverlay(roots)
	rapid.Check(t, func(t *rapid.T) {
		want := overlays.Draw(t, "overlay")
		doc := write(want)
		d, err := config.Parse(doc)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		c := d.Configurations[0]
		if diff := cmp.Diff(want, c.Overlay, compare); diff != "" {
			t.Fatalf("%s\n%s", diff, doc)
		}
		if !bytes.Equal(c.Signed, config.AppendConfiguration(nil, want)) || string(c.Signatures[0]) != "signature" {
			t.Fatalf("signed octets differ:\n%s", c.Signed)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(everyElement(f))
	f.Add(write(config.New("a.example")))
	f.Add(document(kind(`name="TURN-SERVICE"`, limits)))
	f.Add([]byte("<"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := config.Parse(doc)
		if err != nil {
			return
		}
		for _, c := range d.Configurations {
			if !bytes.HasPrefix(c.Signed, []byte("<")) || !bytes.HasSuffix(c.Signed, []byte(">")) {
				t.Fatalf("signed octets %q", c.Signed)
			}
			if c.Overlay.Supported() != nil {
				continue
			}
			again, err := config.Parse(write(c.Overlay))
			if err != nil {
				t.Fatalf("written document is refused: %v\n%s", err, write(c.Overlay))
			}
			if diff := cmp.Diff(c.Overlay, again.Configurations[0].Overlay, compare); diff != "" {
				t.Fatal(strings.ReplaceAll(diff, "\u00a0", " "))
			}
		}
	})
}
