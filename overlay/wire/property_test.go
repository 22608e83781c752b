package wire

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var comparers = cmp.Options{
	cmp.Comparer(func(a, b NodeID) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.IgnoreUnexported(Message{}),
	cmpopts.EquateEmpty(),
}

func same(tb rapid.TB, what string, got, want any) {
	tb.Helper()
	if d := cmp.Diff(want, got, comparers); d != "" {
		tb.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func sameBody(tb rapid.TB, got, want Body) {
	tb.Helper()
	same(tb, want.Code().String(), got, want)
}

func drawBytes(t *rapid.T, max int) []byte {
	return rapid.SliceOfN(rapid.Byte(), 0, max).Draw(t, "octets")
}
func drawText(t *rapid.T, max int) string { return string(drawBytes(t, max)) }
func drawBool(t *rapid.T) bool            { return rapid.Bool().Draw(t, "boolean") }

func draw[T any](t *rapid.T, f func(*rapid.T) T) []T {
	return rapid.SliceOfN(rapid.Custom(f), 0, 3).Draw(t, "list")
}

func drawNode(t *rapid.T) NodeID {
	id, _ := nodeIDFrom(append([]byte{1}, rapid.SliceOfN(rapid.Byte(), 15, 15).Draw(t, "node")...))
	return id
}

func drawResource(t *rapid.T) ResourceID {
	return ResourceID(rapid.SliceOfN(rapid.Byte(), 1, MaxResourceIDLen).Draw(t, "resource"))
}

// drawHop is any destination but a resource.
func drawHop(t *rapid.T) Destination {
	switch d := (Destination{Type: rapid.SampledFrom([]DestinationType{DestNode, DestOpaque, DestShortOpaque, 9}).Draw(t, "type")}); d.Type {
	case DestNode:
		return ToNode(drawNode(t))
	case DestShortOpaque:
		d.Opaque = string([]byte{0x80 | rapid.Byte().Draw(t, "high"), rapid.Byte().Draw(t, "low")})
		return d
	default:
		d.Opaque = drawText(t, 254)
		return d
	}
}

func drawDestinations(t *rapid.T) DestinationList {
	l := NewDestinationList(draw(t, drawHop)...)
	if drawBool(t) {
		l = l.Append(ToResource(drawResource(t)))
	}
	return l
}

func drawAddress(t *rapid.T) (netip.AddrPort, []byte) {
	port := rapid.Uint16().Draw(t, "port")
	switch rapid.IntRange(0, 3).Draw(t, "address") {
	case 0:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4"))), port), nil
	case 1:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6"))), port), nil
	case 2: // an IPv6 address that holds an IPv4 address stays one
		return netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), port), nil
	}
	return netip.AddrPort{}, appendVec([]byte{7}, 1, drawBytes(t, 255), "")
}

func drawCandidate(t *rapid.T) (i IceCandidate) {
	i.Address, i.RawAddress = drawAddress(t)
	i.Link = LinkType(rapid.Byte().Draw(t, "link"))
	i.Foundation = drawText(t, 255)
	i.Priority = rapid.Uint32().Draw(t, "priority")
	i.Type = rapid.SampledFrom([]CandidateType{CandidateHost, CandidateSrflx, CandidateRelay}).Draw(t, "type")
	if i.Type != CandidateHost {
		i.Related, i.RawRelated = drawAddress(t)
	}
	i.Extensions = draw(t, func(t *rapid.T) IceExtension { return IceExtension{drawText(t, 9), drawText(t, 9)} })
	return i
}

func drawSignature(t *rapid.T) Signature {
	s := Signature{Hash: rapid.Byte().Draw(t, "hash"), Algorithm: rapid.Byte().Draw(t, "algorithm"), Value: drawBytes(t, 40)}
	s.Identity.Type = rapid.Uint8Range(1, 5).Draw(t, "identity")
	if s.Identity.Type != IdentityNone {
		s.Identity.CertHash = drawText(t, 40)
	}
	if s.Identity.Type < IdentityNone {
		s.Identity.Hash = rapid.Byte().Draw(t, "hash")
	}
	return s
}

// drawKind is a Kind and its data model; 0 for one that is not known.
func drawKind(t *rapid.T) (KindID, DataModel) {
	k := rapid.SampledFrom([]KindID{KindSIPRegistration, KindTURNService, KindCertificateByNode, KindSIPGateway}).Draw(t, "kind")
	m, _ := RegisteredModel(k)
	return k, m
}

func drawPosition(t *rapid.T, m DataModel) (index uint32, key string) {
	switch m {
	case Array:
		index = rapid.Uint32().Draw(t, "index")
	case Dictionary:
		key = drawText(t, 20)
	}
	return index, key
}

func drawStored(m DataModel) func(t *rapid.T) StoredData {
	return func(t *rapid.T) StoredData {
		d := StoredData{StorageTime: rapid.Uint64().Draw(t, "time"), Lifetime: rapid.Uint32().Draw(t, "lifetime"), Signature: drawSignature(t)}
		d.Value = StoredValue{Model: m, Exists: drawBool(t), Data: drawBytes(t, 40)}
		d.Value.Index, d.Value.Key = drawPosition(t, m)
		return d
	}
}

func drawMeta(m DataModel) func(t *rapid.T) StoredMetaData {
	return func(t *rapid.T) StoredMetaData {
		d := StoredMetaData{
			StorageTime: rapid.Uint64().Draw(t, "time"), Lifetime: rapid.Uint32().Draw(t, "lifetime"), Model: m, Exists: drawBool(t),
			ValueLength: rapid.Uint32().Draw(t, "length"), Hash: rapid.Byte().Draw(t, "hash"), HashValue: drawBytes(t, 255),
		}
		d.Index, d.Key = drawPosition(t, m)
		return d
	}
}

func drawValues(t *rapid.T) (k StoreKindData) {
	var m DataModel
	k.Generation = rapid.Uint64().Draw(t, "generation")
	if k.Kind, m = drawKind(t); m == 0 {
		k.Raw = drawBytes(t, 40)
		return k
	}
	k.Values = draw(t, drawStored(m))
	return k
}

func drawSpecifier(t *rapid.T) (s Specifier) {
	s.Kind, s.Model = drawKind(t)
	s.Generation = rapid.Uint64().Draw(t, "generation")
	switch s.Model {
	case Array:
		s.Ranges = draw(t, func(t *rapid.T) ArrayRange {
			return ArrayRange{rapid.Uint32().Draw(t, "first"), rapid.Uint32().Draw(t, "last")}
		})
	case Dictionary:
		s.Keys = draw(t, func(t *rapid.T) string { return drawText(t, 20) })
	}
	s.Raw = drawBytes(t, 5)
	return s
}

func drawAttach(t *rapid.T) Attach {
	return Attach{drawText(t, 255), drawText(t, 255), drawText(t, 255), draw(t, drawCandidate), drawBool(t)}
}

func drawAppAttach(t *rapid.T) AppAttach {
	a := drawAttach(t)
	return AppAttach{a.Ufrag, a.Password, ApplicationID(rapid.Uint16().Draw(t, "application")), a.Role, a.Candidates}
}

func drawUpdate(t *rapid.T) Body {
	u := &UpdateReq{Uptime: rapid.Uint32().Draw(t, "uptime"), Type: ChordUpdateType(rapid.Uint8Range(1, 3).Draw(t, "type"))}
	if u.Type >= ChordNeighbors {
		u.Predecessors, u.Successors = draw(t, drawNode), draw(t, drawNode)
	}
	if u.Type == ChordFull {
		u.Fingers = draw(t, drawNode)
	}
	return u
}

func drawConfigUpdate(t *rapid.T) Body {
	u := &ConfigUpdateReq{Type: rapid.Uint8Range(1, 3).Draw(t, "type")}
	switch u.Type {
	case ConfigUpdateConfig:
		u.Config = drawBytes(t, 99)
	case ConfigUpdateKind:
		u.Kinds = draw(t, func(t *rapid.T) []byte { return drawBytes(t, 9) })
	default:
		u.Raw = drawBytes(t, 99)
	}
	return u
}

func drawProbeInfo(t *rapid.T) ProbeInfo {
	i := ProbeInfo{Type: rapid.Byte().Draw(t, "type")}
	if numeric(i.Type) {
		i.Value = rapid.Uint32().Draw(t, "value")
	} else {
		i.Raw = drawBytes(t, 9)
	}
	return i
}

// drawBody holds every method of this package.
var drawBody = map[MessageCode]func(t *rapid.T) Body{
	CodeProbeReq:     func(t *rapid.T) Body { return &ProbeReq{drawBytes(t, 255)} },
	CodeProbeAns:     func(t *rapid.T) Body { return &ProbeAns{draw(t, drawProbeInfo)} },
	CodeAttachReq:    func(t *rapid.T) Body { return &AttachReq{drawAttach(t)} },
	CodeAttachAns:    func(t *rapid.T) Body { return &AttachAns{drawAttach(t)} },
	CodeAppAttachReq: func(t *rapid.T) Body { return &AppAttachReq{drawAppAttach(t)} },
	CodeAppAttachAns: func(t *rapid.T) Body { return &AppAttachAns{drawAppAttach(t)} },
	CodeStoreReq: func(t *rapid.T) Body {
		return &StoreReq{drawResource(t), rapid.Byte().Draw(t, "replica"), draw(t, drawValues)}
	},
	CodeStoreAns: func(t *rapid.T) Body {
		return &StoreAns{draw(t, func(t *rapid.T) StoreKindResponse {
			k, _ := drawKind(t)
			return StoreKindResponse{k, rapid.Uint64().Draw(t, "generation"), draw(t, drawNode)}
		})}
	},
	CodeFetchReq: func(t *rapid.T) Body { return &FetchReq{drawResource(t), draw(t, drawSpecifier)} },
	CodeFetchAns: func(t *rapid.T) Body {
		return &FetchAns{draw(t, func(t *rapid.T) FetchKindResponse { return FetchKindResponse(drawValues(t)) })}
	},
	CodeStatReq: func(t *rapid.T) Body { return &StatReq{drawResource(t), draw(t, drawSpecifier)} },
	CodeStatAns: func(t *rapid.T) Body {
		return &StatAns{draw(t, func(t *rapid.T) (r StatKindResponse) {
			var m DataModel
			if r.Kind, m = drawKind(t); m == 0 {
				r.Raw = drawBytes(t, 40)
				return r
			}
			r.Values = draw(t, drawMeta(m))
			return r
		})}
	},
	CodeFindReq: func(t *rapid.T) Body {
		return &FindReq{drawResource(t), draw(t, func(t *rapid.T) KindID { k, _ := drawKind(t); return k })}
	},
	CodeFindAns: func(t *rapid.T) Body {
		return &FindAns{draw(t, func(t *rapid.T) FindKindData {
			k, _ := drawKind(t)
			return FindKindData{k, ResourceID(drawText(t, 99))}
		})}
	},
	CodeJoinReq:   func(t *rapid.T) Body { return &JoinReq{drawNode(t), drawBytes(t, 9)} },
	CodeJoinAns:   func(t *rapid.T) Body { return &JoinAns{drawBytes(t, 9)} },
	CodeLeaveReq:  func(t *rapid.T) Body { return &LeaveReq{drawNode(t), drawBytes(t, 9)} },
	CodeLeaveAns:  func(*rapid.T) Body { return &LeaveAns{} },
	CodeUpdateReq: drawUpdate,
	CodeUpdateAns: func(*rapid.T) Body { return &UpdateAns{} },
	CodeRouteQueryReq: func(t *rapid.T) Body {
		d, _ := NewDestinationList(drawHop(t)).First()
		return &RouteQueryReq{drawBool(t), d, drawBytes(t, 9)}
	},
	CodeRouteQueryAns:   func(t *rapid.T) Body { return &RouteQueryAns{drawNode(t)} },
	CodePingReq:         func(t *rapid.T) Body { return &PingReq{drawBytes(t, 99)} },
	CodePingAns:         func(t *rapid.T) Body { return &PingAns{rapid.Uint64().Draw(t, "id"), rapid.Uint64().Draw(t, "time")} },
	CodeConfigUpdateReq: drawConfigUpdate,
	CodeConfigUpdateAns: func(*rapid.T) Body { return &ConfigUpdateAns{} },
	CodePathTrackReq: func(t *rapid.T) Body {
		d, _ := NewDestinationList(drawHop(t)).First()
		return &PathTrackReq{d, drawDiagnosticsRequest(t)}
	},
	CodePathTrackAns: func(t *rapid.T) Body {
		return &PathTrackAns{ToNode(drawNode(t)), drawDiagnosticsResponse(t)}
	},
	CodeError: func(t *rapid.T) Body {
		return &Error{ErrorCode(rapid.Uint16().Draw(t, "code")), drawBytes(t, 99)}
	},
	0x99: func(t *rapid.T) Body { return &Unknown{0x99, drawBytes(t, 99)} },
}

func drawMessage(t *rapid.T, code MessageCode) *Message {
	return &Message{
		Header: Header{
			Overlay: OverlayID(rapid.Uint32().Draw(t, "overlay")), ConfigSequence: rapid.Uint16().Draw(t, "sequence"),
			Version: rapid.Byte().Draw(t, "version"), TTL: rapid.Byte().Draw(t, "ttl"), Fragment: Unfragmented,
			Transaction:       TransactionID(rapid.Uint64().Draw(t, "transaction")),
			MaxResponseLength: rapid.Uint32().Draw(t, "max_response_length"),
			Via:               NewDestinationList(draw(t, drawHop)...), Destinations: drawDestinations(t),
			Options: NewOptionList(draw(t, func(t *rapid.T) ForwardingOption {
				return ForwardingOption{rapid.Byte().Draw(t, "type"), rapid.Byte().Draw(t, "flags"), drawBytes(t, 9)}
			})...),
		},
		Body: drawBody[code](t),
		Extensions: draw(t, func(t *rapid.T) Extension {
			return Extension{rapid.Uint16().Draw(t, "type"), drawBool(t), drawBytes(t, 9)}
		}),
		Security: SecurityBlock{draw(t, func(t *rapid.T) Certificate {
			return Certificate{rapid.Byte().Draw(t, "type"), drawBytes(t, 99)}
		}), drawSignature(t)},
	}
}

// TestEveryBodyComesBack encodes random messages of every method, parses them, compares, and cuts them short.
//
// Conformance: B-20
func TestEveryBodyComesBack(t *testing.T) {
	for code := range bodies {
		if drawBody[code] == nil {
			t.Errorf("no generator for %v", code)
		}
	}
	for code := range drawBody {
		t.Run(code.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { comesBack(t, drawMessage(t, code)) })
		})
	}
}

func comesBack(t *rapid.T, m *Message) {
	var s Schema
	b := m.AppendTo(nil)
	got, err := s.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Length = uint32(len(b))
	same(t, "message", got, m)
	if again := fresh(got).AppendTo(nil); string(again) != string(b) {
		t.Fatalf("encoded again:\ngot  %x\nwant %x", again, b)
	}
	cut := rapid.IntRange(HeaderFixedLen, len(b)-1).Draw(t, "cut")
	if _, err := s.Parse(patched(b[:cut])); err == nil {
		t.Errorf("the first %d of %d octets are accepted", cut, len(b))
	}
	if _, err := s.Parse(patched(append(b, 0))); err == nil {
		t.Error("an octet behind the message is accepted")
	}
}

// TestRFC6940_6_2_2_ReversesTheViaList checks the operations on lists against slices.
//
// Conformance: C-16
func TestRFC6940_6_2_2_ReversesTheViaList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := draw(t, drawHop)
		l := NewDestinationList(entries...)
		if l.Len() != len(entries) {
			t.Fatalf("%d entries, want %d", l.Len(), len(entries))
		}
		var reversed []Destination
		for d := range l.Reversed().All() {
			reversed = append([]Destination{d}, reversed...)
		}
		same(t, "reversed twice", reversed, entries)
		if first, ok := l.First(); ok != (len(entries) > 0) || ok && first != entries[0] {
			t.Errorf("first %v %v of %v", first, ok, entries)
		}
		if last, ok := l.Last(); ok != (len(entries) > 0) || ok && last != entries[len(entries)-1] {
			t.Errorf("last %v %v of %v", last, ok, entries)
		}
		if ok := len(entries) > 0; ok && l.Rest().Len() != len(entries)-1 {
			t.Errorf("rest has %d entries", l.Rest().Len())
		}
	})
}
