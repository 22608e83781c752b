package store

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const (
	kindSingle = wire.KindID(0xf0000010) // SINGLE, USER-MATCH
	kindArray  = wire.KindID(0xf0000011) // ARRAY, USER-MATCH
	kindAbsent = wire.KindID(0xf0000099)

	hour = 3600
)

var epoch = time.UnixMilli(1_700_000_000_000)

func at0(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

func testOverlay() *config.Overlay {
	return &config.Overlay{
		InstanceName: "dht.example.org",
		Kinds: []config.Kind{
			{ID: wire.KindSIPRegistration, Model: wire.Dictionary, Access: config.UserNodeMatch, MaxCount: 4, MaxSize: 100},
			{ID: wire.KindTURNService, Model: wire.SingleValue, Access: config.NodeMultiple, MaxCount: 1, MaxSize: 100, MaxNodeMultiple: 20},
			{ID: wire.KindSIPGateway, Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 100},
			{ID: kindSingle, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 100},
			{ID: kindArray, Model: wire.Array, Access: config.UserMatch, MaxCount: 4, MaxSize: 100},
		},
	}
}

// holder is somebody with a certificate, which is any octets: nothing here parses it.
type holder struct {
	trust.Identity
	cert wire.Certificate
}

func nodeID(b byte) wire.NodeID {
	octets := make([]byte, 16)
	for i := range octets {
		octets[i] = b
	}
	id, err := wire.NodeIDFromBytes(octets)
	if err != nil {
		panic(err)
	}
	return id
}

func newHolder(user string, node byte) holder {
	id := nodeID(node)
	return holder{
		Identity: trust.Identity{Node: id, Nodes: []wire.NodeID{id}, User: user},
		cert:     wire.Certificate{Data: []byte("certificate of " + user + " at " + id.String())},
	}
}

var (
	alice  = newHolder("alice@dht.example.org", 0x11)
	alice2 = newHolder("alice@dht.example.org", 0x22)
	bob    = newHolder("bob@dht.example.org", 0x11)
	peer   = newHolder("gw9@dht.example.org", 0x99)
)

func (h holder) resource() wire.ResourceID { return wire.ResourceIDOf(h.User) }
func (h holder) key() string               { return string(h.Node.Bytes()) }

func (h holder) signature(over []byte) wire.Signature {
	hash := sha256.Sum256(h.cert.Data)
	sig := sha256.Sum256(append([]byte(h.User), over...))
	return wire.Signature{Hash: 4, Algorithm: 1, Value: sig[:],
		Identity: wire.SignerIdentity{Type: 1, Hash: 4, CertHash: string(hash[:])}}
}

// value is signed by h; storage time t in ms after the epoch, lifetime in seconds.
func (h holder) value(v wire.StoredValue, t uint64, lifetime uint32) wire.StoredData {
	d := wire.StoredData{StorageTime: uint64(epoch.UnixMilli()) + t, Lifetime: lifetime, Value: v}
	over := binary.BigEndian.AppendUint64([]byte(v.Key), d.StorageTime)
	if v.Exists {
		over = append(over, 1)
	}
	d.Signature = h.signature(append(over, v.Data...))
	return d
}

// entry is a dictionary entry of h under its own Node-ID; no data is a tombstone.
func (h holder) entry(data string, t uint64, lifetime uint32) wire.StoredData {
	return h.value(wire.StoredValue{Model: wire.Dictionary, Key: h.key(), Exists: data != "", Data: []byte(data)}, t, lifetime)
}

func (h holder) single(data string, t uint64, lifetime uint32) wire.StoredData {
	return h.value(wire.StoredValue{Model: wire.SingleValue, Exists: data != "", Data: []byte(data)}, t, lifetime)
}

func (h holder) element(index uint32, data string, t uint64, lifetime uint32) wire.StoredData {
	return h.value(wire.StoredValue{Model: wire.Array, Index: index, Exists: data != "", Data: []byte(data)}, t, lifetime)
}

func kindData(kind wire.KindID, generation uint64, values ...wire.StoredData) wire.StoreKindData {
	return wire.StoreKindData{Kind: kind, Generation: generation, Values: values}
}

// storeReq is a verified StoreReq of sender. Every value is taken as signed by the one of holders whose certificate it names.
func storeReq(sender holder, res wire.ResourceID, replica uint8, kinds ...wire.StoreKindData) trust.Verified {
	m := &wire.Message{Body: &wire.StoreReq{Resource: res, Replica: replica, Kinds: kinds}}
	m.Security.Signature = sender.signature(nil)
	var signers []trust.ValueSigner
	for _, h := range []holder{alice, alice2, bob, peer} {
		m.Security.Certificates = append(m.Security.Certificates, h.cert)
	}
	for _, k := range kinds {
		for _, d := range k.Values {
			signers = append(signers, signerOf(d))
		}
	}
	return trust.Assume(m, sender.Identity, signers...)
}

func signerOf(d wire.StoredData) trust.ValueSigner {
	for _, h := range []holder{alice, alice2, bob, peer} {
		if h.signature(nil).Identity == d.Signature.Identity {
			return trust.ValueSigner{Identity: h.Identity}
		}
	}
	return trust.ValueSigner{}
}

// mustPut stores as the owner and returns the generation counter of the first Kind.
func mustPut(t testing.TB, s *Store, now time.Time, sender holder, kinds ...wire.StoreKindData) uint64 {
	t.Helper()
	ans, e := s.Put(now, storeReq(sender, sender.resource(), 0, kinds...), true)
	if e != nil {
		t.Fatalf("Put: %v %s", e.ErrorCode, e.Info)
	}
	return ans.Kinds[0].Generation
}

func refused(t testing.TB, e *wire.Error, code wire.ErrorCode, reason string) {
	t.Helper()
	switch {
	case e == nil:
		t.Fatalf("accepted, want error %#x %s", uint16(code), reason)
	case e.ErrorCode != code || RefusalReason(e) != reason:
		t.Fatalf("error %#x %s (%q), want %#x %s", uint16(e.ErrorCode), RefusalReason(e), e.Info, uint16(code), reason)
	}
}

func fetchReq(res wire.ResourceID, specs ...wire.Specifier) *wire.FetchReq {
	return &wire.FetchReq{Resource: res, Specifiers: specs}
}

func wildcard(kind wire.KindID) wire.Specifier {
	return wire.Specifier{Kind: kind, Model: wire.Dictionary}
}

func single(kind wire.KindID) wire.Specifier {
	return wire.Specifier{Kind: kind, Model: wire.SingleValue}
}

func ranges(r ...wire.ArrayRange) wire.Specifier {
	return wire.Specifier{Kind: kindArray, Model: wire.Array, Ranges: r}
}

// fetched returns the values of the first Kind.
func fetchOne(t testing.TB, s *Store, now time.Time, res wire.ResourceID, spec wire.Specifier) []wire.StoredData {
	t.Helper()
	ans, _, e := s.Fetch(now, fetchReq(res, spec))
	if e != nil {
		t.Fatalf("Fetch: %#x %s", uint16(e.ErrorCode), e.Info)
	}
	return ans.Kinds[0].Values
}

// texts is the data of values, "-" for those that do not exist, "?" for those made up.
func texts(values []wire.StoredData) []string {
	out := []string{}
	for _, d := range values {
		switch {
		case d.Signature.Identity.Type == wire.IdentityNone:
			out = append(out, "?")
		case !d.Value.Exists:
			out = append(out, "-")
		default:
			out = append(out, string(d.Value.Data))
		}
	}
	return out
}
