package route

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// numbered is a list that differs from others by its number.
func numbered(i int) wire.DestinationList {
	id := node(7).Array16()
	binary.BigEndian.PutUint32(id[:], uint32(i))
	other, _ := wire.NodeIDFromBytes(id[:])
	return wire.NewDestinationList(wire.ToNode(other), wire.ToNode(node(3)))
}

// TestRFC6940_6_3_2_2_OpaqueIDsAreAnIndexAndACounter fills the table, and again and again when the time of what is in it is
// over: an ID is good for one list only, and for no other before the counter has come round.
//
// Conformance: C-18
func TestRFC6940_6_3_2_2_OpaqueIDsAreAnIndexAndACounter(t *testing.T) {
	o := NewOpaque(15*time.Second, rand.New(rand.NewPCG(1, 2)))
	now := time.Unix(1_700_000_000, 0)
	seen := make(map[string]bool)
	var first [opaqueSlots]wire.Destination
	var counters [opaqueCounters]int
	for round := range opaqueCounters {
		for i := range opaqueSlots {
			l := numbered(round*opaqueSlots + i)
			d, ok := o.Stand(now, l)
			if !ok || seen[d.Opaque] || d.Type != wire.DestShortOpaque || d.Opaque[0]&0x80 == 0 {
				t.Fatalf("round %d, list %d: %v %v, known before: %v", round, i, d, ok, seen[d.Opaque])
			}
			seen[d.Opaque] = true
			if again, _ := o.Stand(now, l); again != d {
				t.Fatalf("the same list has %v and %v", d, again)
			}
			if got, ok := o.Unpack(d); !ok || !bytes.Equal(got, l) {
				t.Fatalf("%v stands for %x", d, got)
			}
			if round == 0 {
				first[i] = d
				counters[d.Opaque[1]%opaqueCounters]++
			} else if _, ok := o.Unpack(first[i]); ok {
				t.Fatalf("round %d: the first ID of slot %d is good still", round, i)
			}
		}
		if _, ok := o.Stand(now.Add(14*time.Second), numbered(-1)); ok {
			t.Fatal("a list was forgotten whose answer may be on its way")
		}
		now = now.Add(15 * time.Second)
	}
	for c, n := range counters {
		if n < opaqueSlots/opaqueCounters/2 {
			t.Errorf("%d counters of %d started at %d", n, opaqueSlots, c)
		}
	}
	if d, _ := o.Stand(now, numbered(-2)); !seen[d.Opaque] || o.Len() != opaqueSlots {
		t.Errorf("after %d uses a counter has not come round; %d lists", opaqueCounters, o.Len())
	}
}

func TestOpaqueIDsOfOthersAreNotOurs(t *testing.T) {
	o := NewOpaque(time.Second, rand.New(rand.NewPCG(1, 2)))
	now := time.Unix(1_700_000_000, 0)
	d, _ := o.Stand(now, numbered(1))
	good := binary.BigEndian.Uint16([]byte(d.Opaque))
	for id := 0x8000; id <= 0xffff; id++ {
		other := wire.Destination{Type: wire.DestShortOpaque, Opaque: string(binary.BigEndian.AppendUint16(nil, uint16(id)))}
		if _, ok := o.Unpack(other); ok != (uint16(id) == good) {
			t.Errorf("%v: %v", other, ok)
		}
	}
	for _, other := range []wire.Destination{{Type: wire.DestOpaque, Opaque: d.Opaque}, {Type: wire.DestShortOpaque}, {}} {
		if _, ok := o.Unpack(other); ok {
			t.Errorf("%v", other)
		}
	}
}

func TestOpaqueIsBoundedInOctets(t *testing.T) {
	o := NewOpaque(time.Second, rand.New(rand.NewPCG(1, 2)))
	now := time.Unix(1_700_000_000, 0)
	stood := 0
	for i := range 5000 {
		long := make(wire.DestinationList, 1<<13)
		binary.BigEndian.PutUint32(long, uint32(i))
		if _, ok := o.Stand(now, long); ok {
			stood++
		}
	}
	if stood != maxOpaqueOctets>>13 {
		t.Errorf("%d lists of 8 KiB", stood)
	}
	if _, ok := o.Stand(now.Add(time.Second), numbered(1)); !ok || o.octets > maxOpaqueOctets {
		t.Errorf("the oldest has not made room: %d octets", o.octets)
	}
}

// A list of the same length in the place of another is written, not left as it was.
func TestRFC6940_6_1_3_UnpackedListIsWritten(t *testing.T) {
	h := good()
	h.Destinations = append(to(1), short("\x80\x08")...)
	raw := octets(h)
	parsed, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := append(short("\x80\x01"), to(3)...)
	out, _, err := wire.ParseHeader(Hop{Destinations: want}.Append(raw, &parsed, n))
	if err != nil || !bytes.Equal(out.Destinations, want) {
		t.Errorf("%x, want %x: %v", out.Destinations, want, err)
	}
}
