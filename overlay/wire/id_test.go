package wire

import (
	"bytes"
	"strings"
	"testing"
)

func TestNodeID(t *testing.T) {
	n := nodeN(t)
	if n.String() != hexN || n.Short() != hexN[:8] || n.Len() != 16 || n.IsZero() || n.IsWildcard() {
		t.Errorf("%v %s %d %v %v", n, n.Short(), n.Len(), n.IsZero(), n.IsWildcard())
	}
	if a := n.Array16(); !bytes.Equal(a[:], n.Bytes()) {
		t.Errorf("%x of %v", a, n)
	}
	copied, err := NodeIDFromBytes(n.Bytes())
	if err != nil || copied != n {
		t.Errorf("%v of %v, %v", copied, n, err)
	}
	for _, bad := range []string{"", hexN[2:], hexN + "0102030405", hexN[1:], strings.Repeat("xy", 16)} {
		if _, err := ParseNodeID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	var none NodeID
	if !none.IsZero() || none.IsWildcard() || none.String() != "" || none.Short() != "" {
		t.Errorf("the zero value: %v", none)
	}
}

// TestRFC6940_3_Wildcard: "The Node-ID of all 1s is used on the wire protocol as a wildcard."
//
// Conformance: B-13
func TestRFC6940_3_Wildcard(t *testing.T) {
	for n := MinNodeIDLen; n <= MaxNodeIDLen; n++ {
		w, err := ParseNodeID(strings.Repeat("ff", n))
		if err != nil || !w.IsWildcard() || w != Wildcard(n) {
			t.Errorf("%v, %v", w, err)
		}
		if w, _ = ParseNodeID(strings.Repeat("ff", n-1) + "fe"); w.IsWildcard() {
			t.Errorf("%v is the wildcard", w)
		}
	}
}

// TestRFC6940_6_5_1_2_NodeIDsAreNumbers: Node-IDs are compared as "big-endian unsigned integers".
//
// Conformance: A-36
func TestRFC6940_6_5_1_2_NodeIDsAreNumbers(t *testing.T) {
	ordered := []NodeID{repeated(1), nodeOf(t, "7f"+strings.Repeat("ff", 15)), nodeOf(t, "80"+strings.Repeat("00", 15)), Wildcard(16)}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v against %v: %d", a, b, got)
			}
		}
	}
}

func nodeOf(tb testing.TB, s string) NodeID {
	tb.Helper()
	id, err := ParseNodeID(s)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func TestTextOfIdentifiers(t *testing.T) {
	r := ResourceID("\x01\x02\x03\x04\x05")
	for got, want := range map[string]string{
		r.String(): "0102030405", r.Short(): "01020304", ResourceID("\x01").Short(): "01",
		ToNode(nodeN(t)).String(): "node:" + hexN, ToResource(r).String(): "resource:0102030405",
		Destination{Type: DestOpaque, Opaque: "a"}.String():       "opaque:61",
		Destination{Type: DestShortOpaque, Opaque: "aa"}.String(): "opaque:6161",
		Destination{Type: 9, Opaque: "a"}.String():                "type9:61",
		SingleValue.String():                                      "SINGLE", Array.String(): "ARRAY", Dictionary.String(): "DICTIONARY",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestRFC6940_11_1_SecurityBlockAlone: the signature of a configuration document is an encoded SecurityBlock.
func TestRFC6940_11_1_SecurityBlockAlone(t *testing.T) {
	want := SecurityBlock{Certificates: []Certificate{{Data: []byte(certificate)}}, Signature: dummySignature()}
	b := want.AppendTo(nil)
	got, err := ParseSecurityBlock(b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "block", got, want)
	for n := range b {
		if _, err := ParseSecurityBlock(b[:n]); err == nil {
			t.Errorf("the first %d of %d octets are accepted", n, len(b))
		}
	}
	if _, err := ParseSecurityBlock(append(b, 0)); err == nil {
		t.Error("an octet behind the block is accepted")
	}
}
