package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// The second set of vectors: one overlay, one node, one record, every octet written out by hand. Inputs: overlay
// dht.example.org, node N, the "certificate" of 16 ASCII octets, a dummy signature.
const (
	hexN        = "00112233445566778899aabbccddeeff"
	hexAlice    = "90966b01081c98be2c7e87a0b9a016ac"
	hexIdentity = "010022042052e6a94793e2f34cfcf40646b31650cb9d72ebda7a063024c385a5cad3ef353e"
	hexSigned   = "0401" + hexIdentity + "0004deadbeef"
	hexRoute    = "02001600000012011000112233445566778899aabbccddeeff"
	hexValue    = "001000112233445566778899aabbccddeeff0100000019" + hexRoute
	hexStored   = "000000690000018bcfe5680000000e10" + hexValue + hexSigned
	hexTCP      = "00120106c000020117c40401317effffff010000" // candidates: one
	certificate = "test-certificate"
)

func nodeN(tb testing.TB) NodeID {
	tb.Helper()
	id, err := ParseNodeID(hexN)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// repeated is a Node-ID of one octet.
func repeated(octet byte) NodeID {
	id, _ := nodeIDFrom(bytes.Repeat([]byte{octet}, 16))
	return id
}

func dummyIdentity() SignerIdentity {
	sum := sha256.Sum256([]byte(certificate))
	return SignerIdentity{Type: IdentityCertHash, Hash: HashSHA256, CertHash: string(sum[:])}
}

func dummySignature() Signature {
	return Signature{Hash: HashSHA256, Algorithm: SignatureRSA, Identity: dummyIdentity(), Value: []byte{0xde, 0xad, 0xbe, 0xef}}
}

func dummyStored(tb testing.TB) StoredData {
	return StoredData{
		StorageTime: 1700000000000, Lifetime: 3600, Signature: dummySignature(),
		Value: StoredValue{Model: Dictionary, Key: string(nodeN(tb).Bytes()), Exists: true, Data: unhex(tb, hexRoute)},
	}
}

// appenders of the vectors' structures, and the bodies, whose encoding is compared both ways.
//
// Conformance: B-02 B-09 B-30 E-01 H-01
func TestByteVectorsOfStructures(t *testing.T) {
	n, alice := nodeN(t), ResourceIDOf("alice@dht.example.org")
	stored := dummyStored(t)
	gap := StoredData{Value: StoredValue{Model: Dictionary, Key: stored.Value.Key}, Signature: Unsigned()}
	leave := ChordLeave{Type: LeaveFromSucc, Nodes: []NodeID{repeated(0x22)}}
	security := SecurityBlock{Certificates: []Certificate{{Data: []byte(certificate)}}, Signature: dummySignature()}
	sum := sha256.Sum256(append(n.Bytes(), certificate...))
	withNode := SignerIdentity{Type: IdentityCertHashNodeID, Hash: HashSHA256, CertHash: string(sum[:])}
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"overlay", append32(nil, OverlayIDOf("dht.example.org")), "d794d26a"},
		{"overlay", append32(nil, OverlayIDOf("overlay.example.org")), "9aa32b8d"},
		{"alice", []byte(alice), hexAlice},
		{"bob", []byte(ResourceIDOf("bob@dht.example.org")), "b11c1fd18216e13f940e02ae7df84ec9"},
		{"not alice", []byte(ResourceIDOf("sip:alice@dht.example.org")), "3d8919f349a11acb2521d400cfcd5a4f"},
		{"resource of N", []byte(ResourceIDOf(string(n.Bytes()))), "739e0e8490eacbcb2ea11d4a5dbefbae"},
		{"destination node", ToNode(n).AppendTo(nil), "0110" + hexN},
		{"destination resource", ToResource(alice).AppendTo(nil), "021110" + hexAlice},
		{"data frame header", AppendData(nil, 0, make([]byte, 12))[:8], "800000000000000c"},
		{"identity", dummyIdentity().AppendTo(nil), hexIdentity},
		{"identity with Node-ID", withNode.AppendTo(nil), "020022042056a00ea290430e572261424bd00c8520979db7b1c8c2489033c31d976011b85e"},
		{"security", security.AppendTo(nil), "0013000010" + hex.EncodeToString([]byte(certificate)) + hexSigned},
		{"stored", stored.AppendTo(nil), hexStored},
		{"gap", gap.AppendTo(nil), "0000002a" + strings.Repeat("00", 12) + "0010" + hexN + "0000000000" + "00000300000000"},
		{"leave", leave.AppendTo(nil), "01001022222222222222222222222222222222"},
		{"unknown kinds", NewUnknownKind([]KindID{0xf0000001, 0xf0000002}).appendTo(nil), "000c000908f0000001f0000002"},
	} {
		sameOctets(t, v.name, v.got, unhex(t, v.want))
	}
}

// Conformance: B-12 E-14 H-14
func TestByteVectorsOfBodies(t *testing.T) {
	n, alice := nodeN(t), ResourceID(unhex(t, hexAlice))
	host := func(hexBody string, b Body) { bothWays(t, hexBody, b) }
	var s Schema
	c := s.cursor(unhex(t, hexTCP))
	candidates := c.candidates("")
	attach := Attach{Ufrag: "abcd", Password: strings.Repeat("p", 22), Role: RolePassive, Candidates: candidates, SendUpdate: true}
	app := AppAttach{attach.Ufrag, attach.Password, ApplicationSIP, RolePassive, candidates}
	credentials := "0461626364" + "16" + strings.Repeat("70", 22)
	host(credentials+"0770617373697665"+hexTCP+"01", &AttachReq{attach})
	host(credentials+"13c4"+"0770617373697665"+hexTCP, &AppAttachReq{app})
	host("10"+hexAlice+"000000007d0000000100000000000000000000006d"+hexStored,
		&StoreReq{Resource: alice, Kinds: []StoreKindData{{Kind: KindSIPRegistration, Values: []StoredData{dummyStored(t)}}}})
	host("002e000000010000000000000001"+"0020"+strings.Repeat("11", 16)+strings.Repeat("22", 16),
		&StoreAns{[]StoreKindResponse{{KindSIPRegistration, 1, []NodeID{repeated(0x11), repeated(0x22)}}}})
	host("10"+hexAlice+"001000000001000000000000000000020000",
		&FetchReq{Resource: alice, Specifiers: []Specifier{{Kind: KindSIPRegistration, Model: Dictionary}}})
	host("0000000702"+"0010"+strings.Repeat("11", 16)+"0020"+strings.Repeat("22", 16)+strings.Repeat("33", 16), &UpdateReq{
		Uptime: 7, Type: ChordNeighbors, Predecessors: []NodeID{repeated(0x11)}, Successors: []NodeID{repeated(0x22), repeated(0x33)},
	})
	host(hexN+"0013"+"01001022222222222222222222222222222222",
		&LeaveReq{Leaving: n, OverlaySpecific: unhex(t, "01001022222222222222222222222222222222")})
}

// bothWays checks that b encodes to the octets and that they parse to it again.
func bothWays(t *testing.T, octets string, b Body) {
	t.Helper()
	sameOctets(t, b.Code().String(), b.appendTo(nil), unhex(t, octets))
	var s Schema
	c := s.cursor(unhex(t, octets))
	got := newBody(b.Code())
	got.parse(&c)
	if err := c.done("body"); err != nil {
		t.Error(err)
	}
	sameBody(t, got, b)
}

// Conformance: B-28 D-06 D-07
func TestByteVectorsOfSignatures(t *testing.T) {
	h := Header{
		Overlay: OverlayIDOf("dht.example.org"), ConfigSequence: 1, Version: Version, TTL: 100, Fragment: Unfragmented, Length: 134,
		Transaction: 0x0102030405060708, Destinations: NewDestinationList(ToNode(Wildcard(16))),
	}
	sameOctets(t, "header", h.AppendTo(nil), unhex(t, "d2454c4fd794d26a00010a64c0000000000000860102030405060708"+
		"000000000000001200000110"+strings.Repeat("ff", 16)))
	m := Message{Header: h, Body: &PingReq{}}
	sameOctets(t, "contents", m.Contents(), unhex(t, "001700000002000000000000"))
	stored, array := dummyStored(t), StoredData{StorageTime: 1700000000000}
	removed := stored
	removed.StorageTime++
	removed.Value.Exists, removed.Value.Data = false, nil
	array.Value = StoredValue{Model: Array, Index: 0xffffffff, Exists: true, Data: []byte(certificate)}
	id, alice := dummyIdentity(), ResourceID(unhex(t, hexAlice))
	for _, v := range []struct {
		name   string
		octets []byte
		sum    string
	}{
		{"message", m.SignedOctets(nil, id), "5457564e80e6b33b76794ab0ca1c972fa01cfdd5b9176c11962a3595b3dafbee"},
		{"data", stored.SignedOctets(nil, alice, KindSIPRegistration, id), "b851da28b2775de6686ffc15b3e011bbd438deabf7ce208ee6e0af0f706d2b50"},
		{"tombstone", removed.SignedOctets(nil, alice, KindSIPRegistration, id), "2e2311312a5cf0409a643a248664fdea27841bec4de654085e6615919f43fd6e"},
		{"array", array.SignedOctets(nil, ResourceIDOf(string(nodeN(t).Bytes())), KindCertificateByNode, id),
			"1ee2794093ab763e73f49ec50e9c0442f6eec07eb8cf18d4c4739896aa02967d"},
	} {
		sum := sha256.Sum256(v.octets)
		sameOctets(t, v.name, sum[:], unhex(t, v.sum))
	}
}

// Conformance: H-03 H-06
func TestByteVectorsOfSipRegistrations(t *testing.T) {
	route := NewDestinationList(ToNode(nodeN(t)))
	for octets, want := range map[string]SipRegistration{
		hexRoute: {Type: SipRegistrationRoute, Destinations: route},
		"0200270011287369702e736368656d65733d534950290012" + "0110" + hexN: {
			Type: SipRegistrationRoute, ContactPrefs: "(sip.schemes=SIP)", Destinations: route,
		},
		"01001700156361726f6c406468742e6578616d706c652e6f7267": {Type: SipRegistrationURI, URI: "carol@dht.example.org"},
		"0900020102": {Type: 9, Raw: []byte{1, 2}},
	} {
		b := unhex(t, octets)
		got, err := ParseSipRegistration(b)
		if err != nil {
			t.Errorf("%s: %v", octets, err)
		}
		same(t, octets, got, want)
		sameOctets(t, "encoding", want.AppendTo(nil), b)
		for n := range b {
			if _, err := ParseSipRegistration(b[:n]); err == nil {
				t.Errorf("the first %d octets of %s are accepted", n, octets)
			}
		}
	}
}

// TestRFC6940_6_6_2_Received is the acknowledgement of 5 after 1, 3, 4 and 5, and what is outside of the window.
//
// Conformance: A-11 A-13
func TestRFC6940_6_6_2_Received(t *testing.T) {
	var r Received
	var mask uint32
	for _, seq := range []uint32{1, 3, 4, 5} {
		mask = r.Add(seq)
	}
	sameOctets(t, "ack", AppendAck(nil, 5, mask), unhex(t, "81000000050000000b"))
	var wrap Received
	wrap.Add(0xffffffff)
	if got := wrap.Add(0); got != 1 {
		t.Errorf("the number before 0 is at %#x, want bit 0", got)
	}
	if got := wrap.Add(0); got != 1 {
		t.Errorf("a number twice: %#x", got)
	}
	if got := wrap.Add(30); got != 1<<29|1<<30 {
		t.Errorf("30 and 31 before: %#x", got)
	}
	if got := wrap.Add(31); got != 1|1<<30 {
		t.Errorf("32 before is outside of the mask: %#x", got)
	}
	var long Received
	for seq := range uint32(1000) {
		mask = long.Add(seq)
	}
	if mask != 1<<31-1 {
		t.Errorf("after 1000 numbers in order: %#x, want 31 bits", mask)
	}
	var late Received
	late.Add(100)
	for range receivedWindow {
		late.Add(500)
	}
	if got := late.Add(101); got != 0 {
		t.Errorf("the 33rd last number is remembered: %#x", got)
	}
}
