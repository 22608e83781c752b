package identity_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// made is an overlay directory and a request for an identity in it.
func made(t *testing.T, kt trust.KeyType) identity.Request {
	t.Helper()
	dir := t.TempDir()
	o, err := identity.New(identity.Template("example.org"), kt, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := identity.Request{Dir: filepath.Join(dir, "overlay"), Out: filepath.Join(dir, "gw1"), Name: "gw1",
		Users: []string{"1001", "bob@EXAMPLE.org", "+49*"}}
	if err := o.Save(r.Dir); err != nil {
		t.Fatal(err)
	}
	return r
}

func issue(t *testing.T, r identity.Request) identity.Issued {
	t.Helper()
	done, err := identity.Issue(r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func load(t *testing.T, dir string) (*config.Overlay, *trust.Signer) {
	t.Helper()
	o, warnings, err := identity.LoadDocument(filepath.Join(dir, identity.DocumentFile), time.Now())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	node, err := identity.LoadNode(dir, o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return o, node
}

func wantCode(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	var e *identity.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestTemplate(t *testing.T) {
	o := identity.Template("example.org")
	if !o.NoICE || !o.ClientsPermitted || o.ReliabilityTimer != 3*time.Second || o.MaxMessageSize != 65000 || o.Supported() != nil {
		t.Errorf("%+v", o)
	}
	for id, want := range map[wire.KindID]config.Kind{
		wire.KindSIPRegistration:   {Name: "SIP-REGISTRATION", Model: wire.Dictionary, Access: config.UserNodeMatch, MaxCount: 32, MaxSize: 1000},
		wire.KindCertificateByNode: {Name: "CERTIFICATE_BY_NODE", Model: wire.Array, Access: config.NodeMatch, MaxCount: 32, MaxSize: 2048},
		wire.KindCertificateByUser: {Name: "CERTIFICATE_BY_USER", Model: wire.Array, Access: config.UserMatch, MaxCount: 32, MaxSize: 2048},
		wire.KindSIPGateway:        {Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 1000},
		wire.KindAccountLease:      {Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 64},
	} {
		want.ID = id
		if k, ok := o.Kind(id); !ok || k != want {
			t.Errorf("%+v", k)
		}
	}
}

// Conformance: F-24
func TestIdentityDirectory(t *testing.T) {
	for _, kt := range []trust.KeyType{trust.P256, trust.RSA2048} {
		t.Run(string(kt), func(t *testing.T) {
			r := made(t, kt)
			done := issue(t, r)
			users := []string{"+49*@example.org", "1001@example.org", "bob@example.org"}
			if done.Renewed || done.Node.User != "gw1@example.org" || !cmp.Equal(done.Users, users) {
				t.Errorf("%+v", done)
			}
			o, node := load(t, r.Out)
			if got, err := trust.KeyTypeOf(node.Key().Public()); got != kt || err != nil || node.Identity().Node != done.Node.Node {
				t.Errorf("%s %v %+v", got, err, node.Identity())
			}
			ring := identity.OpenKeyring(r.Out, o, node)
			for _, aor := range done.Users {
				s, err := ring.Signer(aor)
				if err != nil {
					t.Fatal(err)
				}
				if id := s.Identity(); id.User != aor || id.Node != node.Identity().Node || s.Key() != node.Key() {
					t.Errorf("%+v", id)
				}
				if again, _ := ring.Signer(aor); again != s {
					t.Error("loaded twice")
				}
				sealAndVerify(t, o, s)
			}
			if _, err := ring.Signer("1002@example.org"); !errors.Is(err, identity.ErrNoCertificate) {
				t.Error(err)
			}
		})
	}
}

func sealAndVerify(t *testing.T, o *config.Overlay, s *trust.Signer) {
	t.Helper()
	header := wire.Header{Overlay: o.ID(), Version: wire.Version, TTL: 1, Fragment: wire.Unfragmented}
	m := &wire.Message{Header: header, Body: &wire.PingReq{}}
	raw, err := s.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = o.Schema().Parse(raw); err != nil {
		t.Fatal(err)
	}
	v, err := trust.NewVerifier(o).Verify(time.Now(), m, "")
	if err != nil || v.Sender().User != s.Identity().User {
		t.Errorf("%+v %v", v.Sender(), err)
	}
}

func TestModes(t *testing.T) {
	r := made(t, trust.P256)
	issue(t, r)
	for path, want := range map[string]fs.FileMode{
		r.Dir: 0o700 | fs.ModeDir, r.Out: 0o700 | fs.ModeDir, r.Out + "/users": 0o700 | fs.ModeDir,
		r.Dir + "/ca.key": 0o600, r.Dir + "/signer.key": 0o600, r.Out + "/node.key": 0o600, r.Out + "/node.crt": 0o644,
	} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
	}
	for _, dir := range []string{r.Dir, r.Out, r.Out + "/users"} {
		if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if _, err := os.Stat(r.Out + "/ca.key"); err == nil {
		t.Error("the authority's key is in the identity of a gateway")
	}
}

// Conformance: F-04
func TestIssueAgainKeepsKeyAndNodeID(t *testing.T) {
	r := made(t, trust.P256)
	first := issue(t, r)
	key, err := os.ReadFile(r.Out + "/node.key")
	if err != nil {
		t.Fatal(err)
	}
	r.Users, r.AllUsers, r.Lifetime = []string{"1002"}, true, time.Hour
	second := issue(t, r)
	key2, err := os.ReadFile(r.Out + "/node.key")
	if err != nil || string(key) != string(key2) || !second.Renewed || second.Node.Node != first.Node.Node {
		t.Errorf("%v %+v", err, second)
	}
	if !cmp.Equal(second.Users, []string{"+49*@example.org", "1001@example.org", "1002@example.org", "bob@example.org"}) {
		t.Errorf("%q", second.Users)
	}
	o, node := load(t, r.Out)
	for _, aor := range second.Users {
		s, err := identity.OpenKeyring(r.Out, o, node).Signer(aor)
		if err != nil || time.Until(s.Identity().Cert.NotAfter) > time.Hour {
			t.Errorf("%s was not renewed: %v", aor, err)
		}
	}
	r.Name = "gw2"
	_, err = identity.Issue(r, time.Now())
	wantCode(t, err, identity.CodeExists, r.Out, "gw1@example.org", "--out")
}

// Each failure says what, where, why and what to do.
func TestErrors(t *testing.T) {
	r := made(t, trust.P256)
	issue(t, r)
	o, node := load(t, r.Out)
	again, err := identity.New(identity.Template("example.org"), trust.P256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, again.Save(r.Dir), identity.CodeExists, r.Dir, "try:")
	_, err = identity.LoadNode(t.TempDir(), o, time.Now())
	wantCode(t, err, identity.CodeUnreadable, "node.key", "no such file", "identity issue")
	_, _, err = identity.LoadDocument(r.Dir+"/nowhere.xml", time.Now())
	wantCode(t, err, identity.CodeUnreadable, "nowhere.xml", "p2psip-gateway init")
	_, err = identity.LoadNode(r.Out, o, time.Now().Add(2*trust.DefaultLifetime))
	wantCode(t, err, identity.CodeCertificate, "expired", "node.crt", "identity issue")
	_, err = identity.LoadNode(r.Out, again.Config, time.Now())
	wantCode(t, err, identity.CodeCertificate, "wrong_ca")
	for _, name := range []string{"", "@example.org", "sip:1001", "a b"} {
		bad := r
		bad.Out, bad.Name = t.TempDir(), name
		_, err = identity.Issue(bad, time.Now())
		wantCode(t, err, identity.CodeUserName)
		bad.Name, bad.Users = "gw1", []string{name}
		_, err = identity.Issue(bad, time.Now())
		wantCode(t, err, identity.CodeUserName)
	}
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bob, err := os.ReadFile(r.Out + "/users/bob@example.org.crt")
	if err != nil {
		t.Fatal(err)
	}
	put(r.Out+"/users/1001@example.org.crt", string(bob))
	_, err = identity.OpenKeyring(r.Out, o, node).Signer("1001@example.org")
	wantCode(t, err, identity.CodeMalformed, "1001@example.org", "bob@example.org")
	put(r.Out+"/node.crt", "rubbish")
	_, err = identity.LoadNode(r.Out, o, time.Now())
	wantCode(t, err, identity.CodeMalformed, "node.crt")
	put(r.Out+"/node.key", "rubbish")
	_, err = identity.LoadNode(r.Out, o, time.Now())
	wantCode(t, err, identity.CodeMalformed, "node.key")
	put(r.Out+"/file", "")
	bad := r
	bad.Out = r.Out + "/file"
	_, err = identity.Issue(bad, time.Now())
	wantCode(t, err, identity.CodeUnwritable, "/file")
	put(r.Dir+"/ca.crt", string(bob))
	_, _, err = identity.LoadAuthority(r.Dir, time.Now())
	wantCode(t, err, identity.CodeMalformed, r.Dir)
}

// Conformance: F-25
func TestDocumentsThatCannotBeUsed(t *testing.T) {
	r := made(t, trust.P256)
	path := r.Dir + "/overlay.xml"
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(change func(*config.Overlay)) string {
		o := config.New("example.org")
		o.NoICE = true
		change(o)
		return string(config.AppendDocument(nil, config.Configuration{Signed: config.AppendConfiguration(nil, o)}))
	}
	for want, doc := range map[string]string{
		"bad_signature": strings.Replace(string(good), "<initial-ttl>100", "<initial-ttl>99", 1),
		"initial-ttl":   strings.Replace(string(good), "<initial-ttl>100", "<initial-ttl>x", 1),
		"2 configurations": strings.Replace(string(good), "</overlay>",
			`<configuration instance-name="other.example"></configuration></overlay>`, 1),
		"EXP-OVERLAY": plain(func(o *config.Overlay) { o.TopologyPlugin = "EXP-OVERLAY" }),
		"expired":     plain(func(o *config.Overlay) { o.Expiration = time.Now().Add(-time.Hour) }),
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := identity.LoadDocument(path, time.Now())
		wantCode(t, err, identity.CodeDocument, want, path)
	}
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = identity.LoadDocument(path, time.Now())
	wantCode(t, err, identity.CodeMalformed, path)
}

func TestIssuingKeyring(t *testing.T) {
	for _, kt := range []trust.KeyType{trust.P256, trust.RSA2048} {
		o, err := identity.New(identity.Template("example.org"), kt, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		node, err := identity.NewNode(o.Authority, "gw1@example.org", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ring := identity.IssuingKeyring(o.Authority, node)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := ring.Signer(fmt.Sprintf("%d@example.org", i%3))
				if err != nil || s.Identity().Node != node.Identity().Node {
					t.Errorf("%v %v", s, err)
					return
				}
				sealAndVerify(t, o.Config, s)
			})
		}
		wg.Wait()
		if _, err := ring.Signer("nobody"); err == nil {
			t.Error("a name without domain was certified")
		}
	}
}

// Feature: REG-15
func TestReadUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	text := "# users\n\n1001 secret-1001\n  1002\tx y\nbob@example.org z\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := identity.ReadUsers(path)
	if err != nil || !cmp.Equal(got, []string{"1001", "1002", "bob@example.org"}) {
		t.Errorf("%q %v", got, err)
	}
	_, err = identity.ReadUsers(path + "x")
	wantCode(t, err, identity.CodeUnreadable)
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = identity.ReadUsers(path)
	wantCode(t, err, identity.CodeMalformed)
}

// A file with the configurations of several overlays, each with its signatures: each node takes its own (RFC 6940 §11.1).
//
// Conformance: F-26
func TestRFC6940_11_1_OursIsFoundByItsName(t *testing.T) {
	var all []config.Configuration
	for _, name := range []string{"one.example", "two.example"} {
		o, err := identity.New(identity.Template(name), trust.P256, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d, err := config.Parse(o.Document)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Configurations[0])
	}
	path := filepath.Join(t.TempDir(), "overlay.xml")
	if err := os.WriteFile(path, config.AppendDocument(nil, all...), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"one.example", "TWO.example"} {
		o, octets, _, err := identity.OpenDocument(path, name, time.Now())
		if err != nil || !strings.EqualFold(o.InstanceName, name) {
			t.Fatal(err)
		}
		alone, err := config.Parse(octets)
		if err != nil || len(alone.Configurations) != 1 || string(alone.Configurations[0].Signed) != string(all[i].Signed) {
			t.Errorf("%v: %d configurations", err, len(alone.Configurations))
		}
	}
	_, _, _, err := identity.OpenDocument(path, "three.example", time.Now())
	wantCode(t, err, identity.CodeDocument, "of one.example, two.example")
	_, _, _, err = identity.OpenDocument(path, "", time.Now())
	wantCode(t, err, identity.CodeDocument, "2 configurations")
}
