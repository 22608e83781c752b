package store

import (
	"errors"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: D-41 D-42 D-43 D-44
func TestRFC6940_7_3_Policies(t *testing.T) {
	nodeRes := wire.ResourceIDOf(string(alice.Node.Bytes()))
	multiple := func(i byte) wire.ResourceID { return wire.ResourceIDOf(string(append(alice.Node.Bytes(), i))) }
	second := alice.Identity // a certificate of two Node-IDs, the other one indicated
	second.Node, second.Nodes = nodeID(0x22), []wire.NodeID{nodeID(0x11), nodeID(0x22)}
	nobody := trust.Identity{}
	hashedKey := alice.entry("x", 1, 1)
	hashedKey.Value.Key = string(nodeRes)
	reg, one := alice.entry("x", 1, 1), alice.single("x", 1, 1)
	for _, c := range []struct {
		name   string
		kind   wire.KindID
		res    wire.ResourceID
		d      wire.StoredData
		signer trust.Identity
		want   *refusal
	}{
		{"USER-MATCH own", kindSingle, alice.resource(), one, alice.Identity, nil},
		{"USER-MATCH own, other node", kindSingle, alice.resource(), one, alice2.Identity, nil},
		{"USER-MATCH other", kindSingle, bob.resource(), one, alice.Identity, errUser},
		{"USER-MATCH no user", kindSingle, wire.ResourceIDOf(""), one, nobody, errUser},
		{"NODE-MATCH own", wire.KindSIPGateway, nodeRes, one, alice.Identity, nil},
		{"NODE-MATCH other", wire.KindSIPGateway, nodeRes, one, peer.Identity, errNode},
		{"NODE-MATCH user's", wire.KindSIPGateway, alice.resource(), one, alice.Identity, errNode},
		{"NODE-MATCH other Node-ID of the certificate", wire.KindSIPGateway, nodeRes, one, second, errNode},
		{"NODE-MATCH no node", wire.KindSIPGateway, wire.ResourceIDOf(""), one, nobody, errNode},
		{"USER-NODE-MATCH own", sipReg, alice.resource(), reg, alice.Identity, nil},
		{"USER-NODE-MATCH other user", sipReg, bob.resource(), reg, alice.Identity, errUser},
		{"USER-NODE-MATCH other node's key", sipReg, alice.resource(), reg, alice2.Identity, errKey},
		{"USER-NODE-MATCH hashed key", sipReg, alice.resource(), hashedKey, alice.Identity, errKey},
		{"USER-NODE-MATCH other Node-ID of the certificate", sipReg, alice.resource(), reg, second, errKey},
		{"NODE-MULTIPLE 0", wire.KindTURNService, multiple(0), one, alice.Identity, errNode},
		{"NODE-MULTIPLE 1", wire.KindTURNService, multiple(1), one, alice.Identity, nil},
		{"NODE-MULTIPLE 20", wire.KindTURNService, multiple(20), one, alice.Identity, nil},
		{"NODE-MULTIPLE 21", wire.KindTURNService, multiple(21), one, alice.Identity, errNode},
		{"NODE-MULTIPLE other", wire.KindTURNService, multiple(1), one, peer.Identity, errNode},
		{"NODE-MULTIPLE no node", wire.KindTURNService, wire.ResourceIDOf("\x01"), one, nobody, errNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOverlay()
			k, _ := o.Kind(c.kind)
			err := CheckAccess(o, k, c.res, &c.d, c.signer)
			if (c.want == nil) != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// Conformance: D-43
func TestRFC6940_7_3_3_OnlyDictionaries(t *testing.T) {
	d := alice.single("x", 1, 1)
	k := config.Kind{ID: kindSingle, Model: wire.SingleValue, Access: config.UserNodeMatch}
	if err := CheckAccess(testOverlay(), k, alice.resource(), &d, alice.Identity); !errors.Is(err, errPolicy) {
		t.Fatal(err)
	}
	k.Access = config.NodeIDMatch
	if err := CheckAccess(testOverlay(), k, alice.resource(), &d, alice.Identity); !errors.Is(err, errPolicy) {
		t.Fatal(err)
	}
	k.Access = "NODE-NO-MATCH"
	err := CheckAccess(testOverlay(), k, alice.resource(), &d, alice.Identity)
	if !errors.Is(err, errPolicy) || err.Error() != "store: the access control policy of the Kind is not supported" {
		t.Fatal(err)
	}
}

// Conformance: H-09
func TestRFC7904_3_3_RefusesForeignDomains(t *testing.T) {
	stranger := newHolder("mallory@evil-dht.example.org", 0x33)
	pattern, err := config.NewDomainRestriction(true, `dht\.example\.org`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		restrict *config.DomainRestriction
		refused  bool
	}{{"none", nil, false}, {"own name", &config.DomainRestriction{}, true}, {"pattern", pattern, true}} {
		t.Run(c.name, func(t *testing.T) {
			o := testOverlay()
			o.Domains = c.restrict
			s := New(o)
			mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
			d := stranger.entry("x", 1, hour)
			m := storeReq(stranger, stranger.resource(), 0, kindData(sipReg, 0, d)).Message()
			_, e := s.Put(at0(0), trust.Assume(m, stranger.Identity, trust.ValueSigner{Identity: stranger.Identity}), true)
			if !c.refused && e != nil {
				t.Fatalf("refused: %s", e.Info)
			}
			if c.refused {
				refused(t, e, wire.ErrorForbidden, "domain")
			}
		})
	}
}

// Conformance: H-09
func TestRFC7904_3_3_StoringPeerForbids(t *testing.T) {
	otherKey := alice.entry("x", 1, hour)
	otherKey.Value.Key = peer.key()
	for reason, c := range map[string]struct {
		res wire.ResourceID
		d   wire.StoredData
	}{"user_mismatch": {bob.resource(), alice.entry("x", 1, hour)}, "key_mismatch": {alice.resource(), otherKey}} {
		_, e := New(testOverlay()).Put(at0(0), storeReq(alice, c.res, 0, kindData(sipReg, 0, c.d)), true)
		refused(t, e, wire.ErrorForbidden, reason)
	}
}
