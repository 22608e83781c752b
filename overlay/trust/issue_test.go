package trust_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// RFC 6940 §11.3: "One or more Node-IDs".
func TestRFC6940_11_3_SeveralNodeIDs(t *testing.T) {
	now := time.Now()
	a, err := trust.NewAuthority("example.org", trust.P256, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []wire.NodeID
	for range 3 {
		n, err := a.NewNodeID()
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	cert, err := a.IssueNodes(now, "alice@example.org", nodes, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := trust.ParseIdentity("example.org", cert)
	if err != nil || len(id.Nodes) != 3 || id.Nodes[0] != nodes[0] || id.Nodes[2] != nodes[2] {
		t.Errorf("%v, want %v; %v", id.Nodes, nodes, err)
	}
	for name, nodes := range map[string][]wire.NodeID{"none": nil, "the same twice": {nodes[0], nodes[0]}} {
		if _, err := a.IssueNodes(now, "alice@example.org", nodes, key.Public()); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

// The certificate of the HTTPS server is good for its names, and in the overlay for nothing.
func TestIssueServer(t *testing.T) {
	now := time.Now()
	a, err := trust.NewAuthority("example.org", trust.P256, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.IssueServer(now, time.Hour, []string{"example.org", "192.0.2.1", "2001:db8::1"}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	for host, want := range map[string]bool{"example.org": true, "192.0.2.1": true, "[2001:db8::1]": true, "example.net": false, "192.0.2.2": false} {
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now}); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := trust.ParseIdentity("example.org", cert); err == nil {
		t.Error("taken for a node's certificate")
	}
	if got := cert.NotAfter.Sub(now); got > time.Hour || bytes.Equal(cert.RawSubject, []byte{0x30, 0}) || cert.IsCA {
		t.Errorf("%v %s", got, cert.Subject)
	}
}
