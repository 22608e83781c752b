package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// fresh is m without the octets that it was parsed from: encoding it goes through every field.
func fresh(m *Message) *Message {
	f := &Message{Header: m.Header, Body: m.Body, Extensions: m.Extensions, Security: m.Security}
	f.Header.Via = refreshed(m.Header.Via)
	f.Header.Destinations = refreshed(m.Header.Destinations)
	var o []ForwardingOption
	for e := range m.Header.Options.All() {
		o = append(o, e)
	}
	f.Header.Options = NewOptionList(o...)
	return f
}

func refreshed(l DestinationList) DestinationList {
	var r DestinationList
	for d := range l.All() {
		r = r.Append(d)
	}
	return r
}

// patched is a copy of a message whose length field says what its length is.
func patched(b []byte) []byte {
	p := bytes.Clone(b)
	if len(p) >= 20 {
		binary.BigEndian.PutUint32(p[16:], uint32(len(p)))
	}
	return p
}

// parsers reads each structure of the vectors and returns a view of it and its encoding.
var parsers = map[string]func(c *cursor) (any, []byte){
	"IPAddressPort": func(c *cursor) (any, []byte) {
		a, raw := c.address("IpAddressPort")
		return viewAddress(a), appendAddress(nil, a, raw)
	},
	"Destination": func(c *cursor) (any, []byte) {
		t, value := c.destination("Destination", true)
		if c.err != nil {
			return nil, nil
		}
		d := t.destination(value)
		return viewDestination(d), d.AppendTo(nil)
	},
	"ICECandidate": func(c *cursor) (any, []byte) {
		i := c.candidate()
		return viewCandidate(i), i.AppendTo(nil)
	},
	"ForwardingOption": func(c *cursor) (any, []byte) {
		o := c.option()
		return viewOption(o), o.AppendTo(nil)
	},
	"SignerIdentity": func(c *cursor) (any, []byte) {
		id := c.signerIdentity()
		return viewIdentity(id), id.AppendTo(nil)
	},
	"Signature": func(c *cursor) (any, []byte) {
		s := c.signature()
		return viewSignature(s), s.AppendTo(nil)
	},
	"GenericCertificate": func(c *cursor) (any, []byte) {
		g := c.certificate()
		return viewCertificate(g), g.appendTo(nil)
	},
	"StoredDataSpecifier": func(c *cursor) (any, []byte) {
		s := c.specifier()
		return viewSpecifier(s), s.AppendTo(nil)
	},
	"ChordLeaveData": func(c *cursor) (any, []byte) {
		var s Schema
		l, err := s.ParseChordLeave(c.rest(""))
		if err != nil {
			c.fail("ChordLeaveData", err)
		}
		return viewLeave(l), l.AppendTo(nil)
	},
	"ArrayEntry": func(c *cursor) (any, []byte) {
		v := c.storedValue(Array)
		return viewValue(v), v.AppendTo(nil)
	},
	"DictionaryEntry": func(c *cursor) (any, []byte) {
		v := c.storedValue(Dictionary)
		return viewValue(v), v.AppendTo(nil)
	},
}

// Conformance: B-09 B-12 E-14
func TestGoldenStructs(t *testing.T) {
	var s Schema
	for _, v := range loadVectors(t).Structs {
		t.Run(v.Name, func(t *testing.T) {
			parse := parsers[v.Struct]
			if parse == nil {
				t.Fatalf("no parser for %s", v.Struct)
			}
			c := s.cursor(v.Hex)
			got, octets := parse(&c)
			if err := c.done(v.Struct); err != nil {
				t.Fatal(err)
			}
			sameFields(t, "fields", got, v.Fields)
			sameOctets(t, "encoding", octets, v.Hex)
			for n := range len(v.Hex) {
				c := s.cursor(v.Hex[:n])
				parse(&c)
				if c.done(v.Struct) == nil {
					t.Errorf("the first %d of %d octets are accepted", n, len(v.Hex))
				}
			}
		})
	}
}

// Conformance: B-12 B-20 B-25 B-28 E-14 E-29
func TestGoldenMessages(t *testing.T) {
	var s Schema
	for _, v := range loadVectors(t).Messages {
		t.Run(v.Name, func(t *testing.T) {
			m, err := s.Parse(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			if m.Body.Code() != v.Code {
				t.Errorf("code %v, want %v", m.Body.Code(), v.Code)
			}
			sameFields(t, "header", viewHeader(&m.Header), v.Header)
			sameFields(t, "body", viewBody(m.Body), v.Body)
			sameFields(t, "extensions", list(m.Extensions, viewExtension), v.Extensions)
			sameFields(t, "security", viewSecurity(m.Security), v.Security)
			sameOctets(t, "body octets", m.Body.appendTo(nil), v.BodyHex)
			sameOctets(t, "encoding", m.AppendTo(nil), v.Hex)
			id := m.Security.Signature.Identity
			f := fresh(m)
			sameOctets(t, "new encoding", f.AppendTo(nil), v.Hex)
			if id.Type != IdentityNone {
				sameOctets(t, "signature input as received", m.SignedOctets(nil, id), v.SignatureInput.Hex)
				sameOctets(t, "signature input", f.SignedOctets(nil, id), v.SignatureInput.Hex)
			}
			sameOctets(t, "contents", f.Contents(), m.Contents())
			for n := range len(v.Hex) {
				if _, err := s.Parse(v.Hex[:n]); err == nil {
					t.Errorf("the first %d of %d octets are accepted", n, len(v.Hex))
				}
				if _, err := s.Parse(patched(v.Hex[:n])); err == nil {
					t.Errorf("the first %d of %d octets are accepted with a fitting length", n, len(v.Hex))
				}
			}
		})
	}
}

func TestGoldenFragments(t *testing.T) {
	all := loadVectors(t)
	var s Schema
	var whole []byte
	for _, m := range all.Messages {
		if m.Name == all.Fragments[0].Of {
			whole = m.Hex
		}
	}
	_, n, err := ParseHeader(whole)
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for _, v := range all.Fragments {
		h, n, err := ParseHeader(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		sameFields(t, "header", viewHeader(&h), v.Header)
		sameOctets(t, "header octets", h.AppendTo(nil), v.Hex[:n])
		if last := h.Fragment&FragmentLast != 0; last != v.Last || int(h.Fragment&FragmentOffset) != v.Offset || v.Offset != len(joined) {
			t.Errorf("fragment %#x, want last %v and offset %d = %d", h.Fragment, v.Last, v.Offset, len(joined))
		}
		if _, err := s.Parse(v.Hex); !errors.Is(err, ErrFragment) {
			t.Errorf("a fragment parsed as a message: %v", err)
		}
		joined = append(joined, v.Hex[n:]...)
	}
	sameOctets(t, "fragments together", joined, whole[n:])
}

// Conformance: A-09 A-10
func TestGoldenFrames(t *testing.T) {
	const max = 5000
	for _, v := range loadVectors(t).Frames {
		t.Run(v.Name, func(t *testing.T) {
			f, n, err := ParseFrame(append(bytes.Clone(v.Hex), 0x80), max)
			if err != nil || n != len(v.Hex) {
				t.Fatalf("%d octets, error %v; want %d", n, err, len(v.Hex))
			}
			sameFields(t, "fields", viewFrame(f), v.Fields)
			b := AppendAck(nil, f.Sequence, f.Received)
			if f.Type == FrameData {
				b = AppendData(nil, f.Sequence, f.Message)
			}
			sameOctets(t, "encoding", b, v.Hex)
			for k := range len(v.Hex) {
				if _, need, err := ParseFrame(v.Hex[:k], max); !errors.Is(err, ErrShort) || need <= k || need > len(v.Hex) {
					t.Errorf("the first %d of %d octets: need %d, error %v", k, len(v.Hex), need, err)
				}
			}
		})
	}
}

// Conformance: D-06 D-07
func TestGoldenDataSignatures(t *testing.T) {
	all := loadVectors(t)
	models := map[string]DataModel{"SINGLE": SingleValue, "ARRAY": Array, "DICTIONARY": Dictionary}
	for _, v := range all.DataSignatures.Items {
		model := models[v.DataModel]
		if known, ok := RegisteredModel(v.Kind); !ok || known != model {
			t.Errorf("Kind %v has model %v, want %s", v.Kind, known, v.DataModel)
		}
		var s Schema
		c := s.cursor(v.Input.Hex)
		sameOctets(t, "resource", c.take(uint32(len(v.Resource.Hex)), ""), v.Resource.Hex)
		if kind := KindID(c.u32("")); kind != v.Kind {
			t.Errorf("Kind %v, want %v", kind, v.Kind)
		}
		d := StoredData{StorageTime: c.u64(""), Value: c.storedValue(model)}
		id := c.signerIdentity()
		if err := c.done("input"); err != nil {
			t.Fatal(err)
		}
		if d.StorageTime != v.StorageTime {
			t.Errorf("storage time %d, want %d", d.StorageTime, v.StorageTime)
		}
		d.Lifetime = 4711 // not covered
		d.Value.Index = 9 // RFC 6940 §7.4.2.2: zero in the signature
		sameOctets(t, "input", d.SignedOctets(nil, ResourceID(v.Resource.Hex), v.Kind, id), v.Input.Hex)
	}
	if n := checkStoredSignatures(t, all); n < 2 {
		t.Errorf("%d stored values were compared", n)
	}
}

// checkStoredSignatures compares the octets that the signatures of the stored values in the messages cover.
func checkStoredSignatures(t *testing.T, all *vectors) (n int) {
	inputs := map[string][]byte{}
	for _, v := range all.DataSignatures.Items {
		inputs[string(v.SignatureValue.Hex)] = v.Input.Hex
	}
	var s Schema
	for _, v := range all.Messages {
		m, err := s.Parse(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		store, ok := m.Body.(*StoreReq)
		if !ok {
			continue
		}
		for _, k := range store.Kinds {
			for _, d := range k.Values {
				want, ok := inputs[string(d.Signature.Value)]
				if !ok {
					continue
				}
				sameOctets(t, v.Name, d.SignedOctets(nil, store.Resource, k.Kind, d.Signature.Identity), want)
				n++
			}
		}
	}
	return n
}

// Conformance: B-02 E-01
func TestGoldenHashes(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Hashes {
		if got := ResourceIDOf(v.Name); got != ResourceID(v.Resource.Hex) {
			t.Errorf("Resource-ID of %q is %v, want %x", v.Name, got, v.Resource.Hex)
		}
	}
	for _, v := range all.Overlays {
		if got := OverlayIDOf(v.Name); got != v.Overlay {
			t.Errorf("overlay %q is %#x, want %#x", v.Name, got, v.Overlay)
		}
	}
}
