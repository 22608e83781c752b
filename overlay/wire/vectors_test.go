package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vectors is testdata/reload-vectors.json: structures and messages that an independent implementation encoded, each
// with the fields that it encoded.
type vectors struct {
	Hashes []struct {
		Name     string `json:"resource_name"`
		Resource octets `json:"resource_id"`
	}
	Overlays []struct {
		Name    string    `json:"overlay_name"`
		Overlay OverlayID `json:"overlay"`
	}
	Structs []struct {
		Name, Struct string
		Fields       any
		Hex          text
	}
	Messages  []vectorMessage
	Fragments []struct {
		Of     string
		Offset int
		Last   bool
		Header any
		Hex    text
	}
	Frames []struct {
		Name   string
		Fields any
		Hex    text
	}
	DataSignatures struct{ Items []vectorSignature } `json:"data_signatures"`
}

type vectorMessage struct {
	Name           string
	Code           MessageCode
	Body           any
	BodyHex        text `json:"body_hex"`
	Header         any
	Extensions     any
	Security       any
	SignatureInput octets `json:"signature_input"`
	Hex            text
}

type vectorSignature struct {
	Resource       octets `json:"resource_id"`
	Kind           KindID
	StorageTime    uint64 `json:"storage_time"`
	DataModel      string `json:"data_model"`
	Input          octets
	SignatureValue octets `json:"signature_value"`
}

// text is octets as a hexadecimal string, octets is the same in an object {"hex": ...}.
type text []byte

func (h *text) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type octets struct{ Hex text }

func loadVectors(tb testing.TB) *vectors {
	tb.Helper()
	b, err := os.ReadFile("testdata/reload-vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		tb.Fatal(err)
	}
	return &v
}

// plain brings fields of the vectors and a view of ours to one form: JSON values, enumerated ones as their number only.
func plain(tb testing.TB, v any) any {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	var r any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		tb.Fatal(err)
	}
	return withoutNames(r)
}

func withoutNames(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutNames(v[i])
		}
	case map[string]any:
		if number, ok := v["value"].(json.Number); ok && len(v) == 2 && v["name"] != nil {
			return number
		}
		for k := range v {
			v[k] = withoutNames(v[k])
		}
	}
	return v
}

// sameFields compares a view of what we decoded with the fields of a vector.
func sameFields(tb testing.TB, what string, got, want any) {
	tb.Helper()
	if d := cmp.Diff(plain(tb, want), plain(tb, got)); d != "" {
		tb.Errorf("%s (-vector +decoded):\n%s", what, d)
	}
}

func sameOctets(tb testing.TB, what string, got, want []byte) {
	tb.Helper()
	if !bytes.Equal(got, want) {
		tb.Errorf("%s:\ngot  %x\nwant %x", what, got, want)
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
