package wire

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// hexTuning is 1,000 peers, and the rates of RFC 7363 §6.5: 0.123 a second are 10628 in 24 hours.
const hexTuning = "000003e8" + "00002984" + "0000000c"

// Conformance: J-12
func TestRFC7363_6_5_ByteVectors(t *testing.T) {
	want := SelfTuningData{NetworkSize: 1000, JoinRate: 10628, LeaveRate: 12}
	sameOctets(t, "structure", want.AppendTo([]byte{9})[1:], unhex(t, hexTuning))
	got, err := ParseSelfTuningData(unhex(t, hexTuning))
	if err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	// The whole MessageExtension of RFC 6940 §6.3.3: type 3, not critical, length 12.
	m := Message{Body: &ProbeReq{Requested: []uint8{ProbeUptime}}, Extensions: []Extension{{Type: ExtensionSelfTuning, Contents: want.AppendTo(nil)}}}
	const contents = "0001" + "00000002" + "0103" + "00000013" + "0003" + "00" + "0000000c" + hexTuning
	sameOctets(t, "MessageContents", m.Contents(), unhex(t, contents))
}

func TestRFC7363_6_5_BadData(t *testing.T) {
	for _, s := range []string{"", "00", hexTuning[2:], hexTuning + "00"} {
		x := []Extension{{Type: ExtensionSelfTuning, Contents: unhex(t, s)}}
		d, err := (&Message{Body: &ProbeAns{}, Extensions: x}).SelfTuning()
		if e := new(SyntaxError); d != nil || !errors.As(err, &e) {
			t.Errorf("%q: %v %v", s, d, err)
		}
		if d, err := (&Message{Body: &PingReq{}, Extensions: x}).SelfTuning(); d != nil || err != nil {
			t.Errorf("a Ping: %v %v", d, err)
		}
	}
	if d, err := (&Message{Body: &ProbeReq{}}).SelfTuning(); d != nil || err != nil {
		t.Errorf("without the extension: %v %v", d, err)
	}
}

func TestSelfTuningDataIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := SelfTuningData{rapid.Uint32().Draw(t, "size"), rapid.Uint32().Draw(t, "joins"), rapid.Uint32().Draw(t, "leaves")}
		m := Message{Header: Header{Fragment: Unfragmented}, Body: &ProbeAns{}, Extensions: []Extension{{Type: 7}, {Type: ExtensionSelfTuning, Contents: want.AppendTo(nil)}}}
		var s Schema
		again, err := s.Parse(m.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.SelfTuning(); err != nil || got == nil || *got != want {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
	})
}

func FuzzSelfTuningData(f *testing.F) {
	f.Add(unhex(f, hexTuning))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseSelfTuningData(b); err == nil {
			sameOctets(t, "encoding", d.AppendTo(nil), b)
		} else if len(b) == 12 {
			t.Error(err)
		}
	})
}
