package wire

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The vector is our own: how wide level and node are in the hash is not in the text.
//
// Conformance: I-02
func TestRFC7374_3_ResourceOfATreeNode(t *testing.T) {
	if got := RedirResource("turn-server", 2, 3).String(); got != "b909e9036489fddd88206b7aeb038f59" {
		t.Errorf("turn-server, level 2, node 3: %s", got)
	}
	if RedirResource("a", 0, 1) == RedirResource("a", 1, 0) {
		t.Error("level and node are alike")
	}
}

var redirProviders = []struct {
	name, hex string
	provider  RedirServiceProvider
}{
	{"plain", "00" + "0012" + "011000112233445566778899aabbccddeeff" + "000a" + "766f6963652d6d61696c" + "0002" + "0003" + "0000",
		RedirServiceProvider{Namespace: "voice-mail", Level: 2, Node: 3}},
	{"unknown extension", "05" + "0012" + "011000112233445566778899aabbccddeeff" + "0001" + "78" + "0000" + "0000" + "0003" + "010203",
		RedirServiceProvider{Type: 5, Namespace: "x", Extension: []byte{1, 2, 3}}},
}

// Conformance: I-12
func TestRFC7374_4_1_RedirServiceProvider(t *testing.T) {
	for _, v := range redirProviders {
		b := unhex(t, v.hex)
		v.provider.Destinations = NewDestinationList(ToNode(nodeN(t)))
		if v.provider.Extension == nil {
			v.provider.Extension = []byte{}
		}
		got, err := ParseRedirServiceProvider(b)
		if err != nil || !cmp.Equal(got, v.provider) {
			t.Errorf("%s: %+v, %v", v.name, got, err)
		}
		sameOctets(t, v.name, v.provider.AppendTo(nil), b)
		for n := range b {
			if _, err := ParseRedirServiceProvider(b[:n]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: the first %d octets: %v", v.name, n, err)
			}
		}
		if _, err := ParseRedirServiceProvider(append(b, 0)); !errors.Is(err, ErrTrailing) {
			t.Errorf("%s: one octet more: %v", v.name, err)
		}
	}
	// An extension of no type is none.
	none := RedirServiceProvider{Extension: []byte{1}}
	if _, err := ParseRedirServiceProvider(none.AppendTo(nil)); !errors.Is(err, ErrTrailing) {
		t.Errorf("type none with an extension: %v", err)
	}
}

func FuzzParseRedirServiceProvider(f *testing.F) {
	for _, v := range redirProviders {
		f.Add(unhex(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRedirServiceProvider(b); err == nil {
			sameOctets(t, "encoding", r.AppendTo(nil), b)
		}
	})
}
