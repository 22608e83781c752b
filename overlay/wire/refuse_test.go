package wire

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// example is a message with a body of the given method and octets, signed by nobody.
func example(tb testing.TB, code MessageCode, body string) []byte {
	tb.Helper()
	h := Header{Version: Version, TTL: 100, Fragment: Unfragmented, Destinations: NewDestinationList(ToNode(nodeN(tb)))}
	m := Message{Header: h, Body: &Unknown{code, unhex(tb, body)}, Security: SecurityBlock{Signature: Unsigned()}}
	return m.AppendTo(nil)
}

const bodyOffset = HeaderFixedLen + 18 + 2 + 4 // of example: header, code, length

// bad is the error about a field, "Struct.field".
func bad(name string, offset int, err error) SyntaxError {
	s, field, _ := strings.Cut(name, ".")
	return SyntaxError{Struct: s, Field: field, Offset: offset, Err: err}
}

// refused checks that err is a SyntaxError about name at offset.
func refused(t *testing.T, what string, err error, want SyntaxError) {
	t.Helper()
	var got *SyntaxError
	if !errors.As(err, &got) || *got != want {
		t.Errorf("%s: %v, want %v", what, err, &want)
	}
}

// Conformance: B-12 B-13 B-20 B-22 B-23
func TestRefusedBodies(t *testing.T) {
	var s Schema
	zeros, stored := strings.Repeat("00", 16), "00000002"+"0000"
	for _, v := range []struct {
		what string
		code MessageCode
		body string
		want SyntaxError
	}{
		{"a Boolean of 2", CodeAttachReq, "000000000002", bad("AttachReqAns.send_update", 5, ErrBoolean)},
		{"an octet too much", CodePingReq, "000000", bad("MessageContents.message_body", 2, ErrTrailing)},
		{"15 octets of Node-ID", CodeRouteQueryAns, zeros[2:], bad("RouteQueryAns.next_peer", 0, ErrTruncated)},
		{"the Node-ID 0", CodeRouteQueryAns, zeros, bad("RouteQueryAns.next_peer", 0, ErrNodeID)},
		{"half a Node-ID in a list", CodeUpdateReq, "0000000002" + "0012" + hexN + "0102" + "0000",
			bad("ChordUpdate.predecessors", 23, ErrTruncated)},
		{"a ChordUpdate of type 4", CodeUpdateReq, "0000000004", bad("ChordUpdate.type", 4, ErrSelector)},
		{"an empty Resource-ID", CodeFetchReq, "000000", bad("FetchReq.resource", 0, ErrResource)},
		{"a Resource-ID of 255 octets", CodeFetchReq, "ff" + strings.Repeat("01", 255) + "0000", bad("FetchReq.resource", 0, ErrResource)},
		{"a candidate of type 3", CodeAttachReq, "000000" + "000f" + "0106c000020117c4" + "04" + "00" + "00000000" + "03",
			bad("IceCandidate.type", 19, ErrSelector)},
		{"an IPv4 address of 5 octets", CodeAttachReq, "000000" + "0007" + "0105c000020117", bad("IceCandidate.addr_port", 5, ErrAddress)},
		{"a list that goes on behind the body", CodeStoreReq, "0101" + "00" + "00000001", bad("StoreReq.kind_data", 7, ErrTruncated)},
		{"half a value", CodeStoreReq, "010100" + "00000016" + "00000002" + zeros[:16] + "00000006" + stored,
			bad("StoredData.storage_time", 27, ErrTruncated)},
		{"a probe value of 3 octets", CodeProbeAns, "0005" + "0103010203", bad("ProbeInformation.value", 4, ErrTruncated)},
		{"a probe value of 5 octets", CodeProbeAns, "0007" + "01050102030405", bad("ProbeInformation.value", 8, ErrTrailing)},
		{"Kind-IDs of 3 octets", CodeFindReq, "0101" + "03010203", bad("FindReq.kinds", 3, ErrTruncated)},
		{"a length of 2^32-1", CodeConfigUpdateReq, "01ffffffff000000", bad("ConfigUpdateReq.length", 5, ErrTruncated)},
		{"a list within a list that is longer", CodeConfigUpdateReq, "0200000005" + "000003" + "0000",
			bad("ConfigUpdateReq.kinds", 8, ErrTruncated)},
		{"a destination of no octets", CodeRouteQueryReq, "00", bad("RouteQueryReq.destination", 1, ErrTruncated)},
		{"a destination of type 0", CodeRouteQueryReq, "000000" + "0000", bad("RouteQueryReq.destination", 1, ErrSelector)},
	} {
		v.want.Offset += bodyOffset
		_, err := s.Parse(example(t, v.code, v.body))
		refused(t, v.what, err, v.want)
	}
}

// TestRFC6940_7_4_1_2_StoreAnsHasRoom: a StoreReq may not name more Kinds than an answer can hold.
func TestRFC6940_7_4_1_2_StoreAnsHasRoom(t *testing.T) {
	var s Schema
	request, answer := &StoreReq{Resource: "r"}, &StoreAns{}
	for range maxStoreKinds {
		request.Kinds = append(request.Kinds, StoreKindData{Kind: KindSIPRegistration})
		answer.Kinds = append(answer.Kinds, StoreKindResponse{Replicas: []NodeID{Wildcard(20), Wildcard(20), Wildcard(20)}})
	}
	m := Message{Header: Header{Fragment: Unfragmented}, Body: request, Security: SecurityBlock{Signature: Unsigned()}}
	if _, err := s.Parse(m.AppendTo(nil)); err != nil {
		t.Error(err)
	}
	answer.appendTo(nil) // would panic
	request.Kinds = append(request.Kinds, StoreKindData{})
	if _, err := s.Parse(m.AppendTo(nil)); !errors.Is(err, ErrSize) {
		t.Errorf("%d Kinds: %v", maxStoreKinds+1, err)
	}
}

// header is an encoded header with the given lists and a fitting length.
func header(tb testing.TB, via, dest, options string) []byte {
	tb.Helper()
	h := Header{Version: Version, Via: unhex(tb, via), Destinations: unhex(tb, dest), Options: unhex(tb, options)}
	return patched(h.AppendTo(nil))
}

// Conformance: B-08 B-09 B-10 B-11 B-13
func TestRefusedHeaders(t *testing.T) {
	node, resource := "0110"+hexN, "021110"+hexAlice
	if _, n, err := ParseHeader(header(t, node+"8123"+"0901ff", node+resource, "010500036f7074")); err != nil || n != 38+18+2+3+18+19+7 {
		t.Fatalf("%d octets, error %v", n, err)
	}
	for _, v := range []struct {
		what              string
		via, dest, option string
		want              SyntaxError
	}{
		{"a resource in the Via List", resource, node, "", bad("ForwardingHeader.via_list", 38, ErrResourcePlace)},
		{"a resource before a node", "", resource + node, "", bad("ForwardingHeader.destination_list", 38, ErrResourcePlace)},
		{"a Node-ID of 15 octets", "", "010f" + hexN[2:], "", bad("ForwardingHeader.destination_list", 38, ErrNodeID)},
		{"a Node-ID of 21 octets", "", "0115" + hexN + "0102030405", "", bad("ForwardingHeader.destination_list", 38, ErrNodeID)},
		{"the Node-ID 0", "0110" + strings.Repeat("00", 16), "", "", bad("ForwardingHeader.via_list", 38, ErrNodeID)},
		{"a resource whose lengths differ", "", "021111" + hexAlice, "", bad("ForwardingHeader.destination_list", 38, ErrDestination)},
		{"an empty resource", "", "020100", "", bad("ForwardingHeader.destination_list", 38, ErrDestination)},
		{"an opaque ID without its length", "", "0300", "", bad("ForwardingHeader.destination_list", 38, ErrDestination)},
		{"type 0", "0000", "", "", bad("ForwardingHeader.via_list", 38, ErrSelector)},
		{"half a short opaque ID", "81", "", "", bad("ForwardingHeader.via_list", 38, ErrTruncated)},
		{"an entry that goes on behind the list", "0110" + hexN[2:], "ff", "", bad("ForwardingHeader.via_list", 38, ErrTruncated)},
		{"an option that goes on", "", "", "01050004414243", bad("ForwardingOption.option", 42, ErrTruncated)},
	} {
		_, _, err := ParseHeader(header(t, v.via, v.dest, v.option))
		refused(t, v.what, err, v.want)
	}
}

// TestRFC6940_6_3_2_LengthsAreTheMessages: "length: The count in bytes of the size of the message, including the
// header".
//
// Conformance: B-05 B-08
func TestRFC6940_6_3_2_LengthsAreTheMessages(t *testing.T) {
	good := header(t, "", "0110"+hexN, "")
	for delta := -1; delta <= 1; delta += 2 {
		b := append([]byte(nil), good...)
		binary.BigEndian.PutUint32(b[16:], uint32(len(b)+delta))
		h, n, err := ParseHeader(b)
		if n != len(b) || h.Destinations.Len() != 1 {
			t.Errorf("with a wrong length the header is %d octets: %v", n, h)
		}
		refused(t, "length", err, bad("ForwardingHeader.length", 16, ErrLength))
		var s Schema
		_, err = s.Parse(b)
		refused(t, "length of a message", err, bad("ForwardingHeader.length", 16, ErrLength))
	}
	for at, list := range map[int]string{32: "via_list_length", 34: "destination_list_length", 36: "options_length"} {
		for _, n := range []uint16{0xffff, maxListLen + 1} {
			b := append([]byte(nil), good...)
			binary.BigEndian.PutUint16(b[at:], n)
			_, _, err := ParseHeader(b)
			refused(t, list, err, bad("ForwardingHeader."+list, at, ErrSize))
		}
	}
}

// TestRFC6940_6_3_2_TokenIsChecked, but the overlay, the version and the rest are not: the node decides what to answer.
//
// Conformance: B-01
func TestRFC6940_6_3_2_TokenIsChecked(t *testing.T) {
	b := header(t, "", "0110"+hexN, "")
	for bit := range 32 {
		b[bit/8] ^= 1 << (bit % 8)
		_, _, err := ParseHeader(b)
		refused(t, "token", err, bad("ForwardingHeader.relo_token", 0, ErrToken))
		b[bit/8] ^= 1 << (bit % 8)
	}
	h := Header{Overlay: 1, Version: 0x0b, TTL: 255, Fragment: 0, Length: HeaderFixedLen}
	got, _, err := ParseHeader(h.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "header", got, h)
}

// Conformance: B-17 B-38
func TestRFC6940_6_7_OnlyWholeMessagesParse(t *testing.T) {
	var s Schema
	for fragment, want := range map[uint32]error{
		0xc0000000: nil, 0xff000000: nil, 0x80000000: ErrFragment, 0x40000000: ErrFragment, 0: ErrFragment, 0xc0000100: ErrFragment,
	} {
		b := example(t, CodeLeaveAns, "")
		binary.BigEndian.PutUint32(b[12:], fragment)
		if _, err := s.Parse(b); !errors.Is(err, want) {
			t.Errorf("fragment %#x: %v, want %v", fragment, err, want)
		}
	}
}

func TestSyntaxErrorText(t *testing.T) {
	err := &SyntaxError{Struct: "StoredData", Field: "value", Offset: 34, Err: ErrTruncated}
	if got, want := err.Error(), "wire: StoredData.value: truncated at byte 34"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	err.Field = ""
	if got, want := err.Error(), "wire: StoredData: truncated at byte 34"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRFC6940_6_3_1_1_NodeIdLength: "The length is set on a per-overlay basis within the range of 16-20 bytes".
//
// Conformance: B-12
func TestRFC6940_6_3_1_1_NodeIdLength(t *testing.T) {
	long := Schema{NodeIDLen: 20}
	id := Wildcard(20)
	m := Message{
		Header: Header{Fragment: Unfragmented, Destinations: NewDestinationList(ToNode(id))}, Body: &RouteQueryAns{NextPeer: id},
		Security: SecurityBlock{Signature: Unsigned()},
	}
	got, err := long.Parse(m.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	sameBody(t, got.Body, m.Body)
	var short Schema
	_, err = short.Parse(m.AppendTo(nil))
	refused(t, "a destination of another overlay", err, bad("ForwardingHeader.destination_list", HeaderFixedLen, ErrNodeID))
}

// Conformance: B-25 D-04 D-11
func TestRFC6940_7_4_1_2_ErrorInfo(t *testing.T) {
	var s Schema
	var kinds []KindID
	for k := range KindID(70) {
		kinds = append(kinds, k)
	}
	got, err := NewUnknownKind(kinds).UnknownKinds()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "unknown kinds", got, kinds[:63])
	want := &StoreAns{Kinds: []StoreKindResponse{{Kind: KindSIPRegistration, Generation: 9}}}
	e := NewGenerationTooLow(want)
	sameOctets(t, "error_info", e.Info, unhex(t, "000e0000000100000000000000090000"))
	answer, err := s.ParseGenerationTooLow(e)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "generation", answer, want)
	for _, bad := range []string{"", "03010203", "04010203", "0000000000"} {
		if _, err := (&Error{Info: unhex(t, bad)}).UnknownKinds(); err == nil {
			t.Errorf("unknown_kinds %s is accepted", bad)
		}
	}
	if _, err := s.ParseGenerationTooLow(NewError(ErrorGenerationCounterTooLow, "text")); err == nil {
		t.Error("a text is taken for a StoreAns")
	}
	if n := len(NewError(ErrorForbidden, strings.Repeat("x", 5000)).Info); n != maxErrorText {
		t.Errorf("a text of %d octets", n)
	}
}

// Conformance: H-03 H-05
func TestRFC7904_3_2_RefusedSipRegistrations(t *testing.T) {
	for octets, want := range map[string]error{
		"01000400030061":          ErrTruncated, // the URI is longer than the rest
		"0100020000" + "00":       ErrTrailing,  // an octet behind
		"0200060000" + "00028123": ErrTruncated, // destination_list<3..2^16-1>
		"02002900000025" + "021110" + hexAlice + "0110" + hexN: ErrResourcePlace,
	} {
		if _, err := ParseSipRegistration(unhex(t, octets)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", octets, err, want)
		}
	}
}

// TestRFC6940_6_3_4_NoIdentityIsEmpty: "case none: /* empty */".
func TestRFC6940_6_3_4_NoIdentityIsEmpty(t *testing.T) {
	_, err := ParseSecurityBlock(unhex(t, "0000"+"0000"+"030001ff"+"0000"))
	refused(t, "an octet of identity", err, bad("SignerIdentity.identity", 7, ErrTrailing))
}

// Conformance: A-44
func TestFramesThatAreNone(t *testing.T) {
	for octets, want := range map[string]error{"00": ErrFrame, "82": ErrFrame, "d2454c4f": ErrFrame, "8000000000000000": ErrFrame} {
		if _, _, err := ParseFrame(unhex(t, octets), 5000); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", octets, err, want)
		}
	}
	f, n, err := ParseFrame(AppendData(nil, 7, make([]byte, 5001))[:20], 5000)
	if !errors.Is(err, ErrFrameSize) || n != 5009 || len(f.Message) != 12 || f.Sequence != 7 {
		t.Errorf("a message that is too large: %d octets, %d of the message, %v", n, len(f.Message), err)
	}
	if _, _, err := ParseFrame(AppendData(nil, 7, make([]byte, 5000)), 5000); err != nil {
		t.Errorf("the largest message: %v", err)
	}
}

// TestHandMadeListsDoNotPanic: a DestinationList that ParseHeader has not seen may hold anything.
func TestHandMadeListsDoNotPanic(t *testing.T) {
	for _, octets := range []string{"01", "0110", "0000", "81", "020100", "0110" + hexN + "02"} {
		l := DestinationList(unhex(t, octets))
		for range l.All() {
		}
		_, _ = l.First()
		_, _ = l.Last()
		_, _, _ = l.Len(), l.Rest(), l.Reversed()
		if _, err := ParseDestinationList(l); err == nil {
			t.Errorf("%s is accepted", octets)
		}
	}
}

// TestAppendDoesNotWriteBehindAList: a list aliases the octets that were received, with others behind it.
func TestAppendDoesNotWriteBehindAList(t *testing.T) {
	var s Schema
	ping := example(t, CodePingReq, "000401020304")
	m, err := s.Parse(ping)
	if err != nil {
		t.Fatal(err)
	}
	kept := string(ping)
	_ = append(m.Body.(*PingReq).Padding, 1, 2, 3)
	if string(ping) != kept {
		t.Error("the octets of a message were overwritten")
	}
	b := header(t, "8123", "0110"+hexN, "")
	before := string(b)
	h, _, err := ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(h.Via, 1, 2, 3)
	if l := h.Via.Append(ToNode(nodeN(t))); l.Len() != 2 {
		t.Errorf("%d entries", l.Len())
	}
	if string(b) != before {
		t.Error("the received octets were overwritten")
	}
}

func TestEncodingPanicsWhenALengthDoesNotFit(t *testing.T) {
	defer func() {
		if s, _ := recover().(string); s != "wire: PingReq.padding: 65536 octets do not fit a length of 2 octets" {
			t.Errorf("panic %q", s)
		}
	}()
	(&PingReq{Padding: make([]byte, 65536)}).appendTo(nil)
}

// TestRFC6940_6_3_1_1_AddressOfUnknownTypeIsSkipped: its length says where the next field begins, so the other candidates count.
//
// Conformance: B-24
func TestRFC6940_6_3_1_1_AddressOfUnknownTypeIsSkipped(t *testing.T) {
	var s Schema
	unknown := "0703aabbcc" + "04" + "0131" + "00000001" + "01" + "0000"
	known := "0106c000020117c4" + "04" + "0131" + "00000002" + "01" + "0000"
	m, err := s.Parse(example(t, CodeAttachReq, "000000"+"0021"+unknown+known+"00"))
	if err != nil {
		t.Fatal(err)
	}
	got := m.Body.(*AttachReq).Candidates
	if len(got) != 2 || got[0].Address.IsValid() || got[1].Address.String() != "192.0.2.1:6084" || got[1].Priority != 2 {
		t.Errorf("%+v", got)
	}
}
