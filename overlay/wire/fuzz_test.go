package wire

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzParse: whatever is accepted comes back octet by octet, from the octets that were kept and from the fields.
//
// Conformance: B-20
func FuzzParse(f *testing.F) {
	for _, v := range loadVectors(f).Messages {
		f.Add([]byte(v.Hex))
	}
	f.Add(example(f, CodeStoreReq, "0101"+"00"+"00000013"+"f0000002"+"0000000000000000"+"00000003"+"010203"))
	f.Add(example(f, CodeAttachReq, "000000"+"000f"+"0906c000020117c4"+"04"+"00"+"00000000"+"01"+"0000"))
	f.Add(example(f, CodeStatAns, "00000000"))
	f.Add(example(f, 0x99, "00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Schema
		b = patched(b) // else nearly every change of the size is refused
		kept := bytes.Clone(b)
		m, err := s.Parse(b)
		if err != nil {
			if e := new(SyntaxError); !errors.As(err, &e) || e.Offset > len(b) {
				t.Fatalf("error %v", err)
			}
			return
		}
		sameOctets(t, "encoding", m.AppendTo(nil), b)
		again := fresh(m)
		sameOctets(t, "new encoding", again.AppendTo(nil), b)
		_, n, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		sameOctets(t, "contents", again.Contents(), b[n:n+len(m.Contents())])
		sameOctets(t, "input", b, kept)
	})
}

// Conformance: B-08
func FuzzParseHeader(f *testing.F) {
	for _, v := range loadVectors(f).Fragments {
		f.Add([]byte(v.Hex))
	}
	f.Add(header(f, "0110"+hexN+"8123"+"0901ff", "021110"+hexAlice, "010500036f7074"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = patched(b)
		h, n, err := ParseHeader(b)
		if err != nil {
			return
		}
		sameOctets(t, "encoding", h.AppendTo(nil), b[:n])
		sameOctets(t, "via", refreshed(h.Via), h.Via)
		sameOctets(t, "destinations", refreshed(h.Destinations), h.Destinations)
		sameOctets(t, "reversed twice", h.Destinations.Reversed().Reversed(), h.Destinations)
		if k := h.Via.Len(); k != h.Via.Reversed().Len() {
			t.Errorf("%d entries become %d", k, h.Via.Reversed().Len())
		}
	})
}

// Conformance: A-44
func FuzzFrame(f *testing.F) {
	for _, v := range loadVectors(f).Frames {
		f.Add([]byte(v.Hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const max = 5000
		frame, n, err := ParseFrame(b, max)
		switch {
		case errors.Is(err, ErrShort):
			if n <= len(b) {
				t.Fatalf("%d octets needed, %d given", n, len(b))
			}
		case err != nil:
		case frame.Type == FrameData:
			sameOctets(t, "data", AppendData(nil, frame.Sequence, frame.Message), b[:n])
		default:
			sameOctets(t, "ack", AppendAck(nil, frame.Sequence, frame.Received), b[:n])
		}
	})
}

func FuzzSipRegistration(f *testing.F) {
	var s Schema
	for _, v := range loadVectors(f).Messages {
		m, err := s.Parse(v.Hex)
		if err != nil {
			f.Fatal(err)
		}
		if store, ok := m.Body.(*StoreReq); ok {
			for _, k := range store.Kinds {
				for _, d := range k.Values {
					f.Add(d.Value.Data)
				}
			}
		}
	}
	f.Add(unhex(f, hexRoute))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseSipRegistration(b)
		if err != nil {
			return
		}
		sameOctets(t, "encoding", r.AppendTo(nil), b)
		sameOctets(t, "destinations", refreshed(r.Destinations), r.Destinations)
	})
}
