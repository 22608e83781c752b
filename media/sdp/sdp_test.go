package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var relay = netip.MustParseAddr("203.0.113.1")

// text joins lines as they stand on the wire.
func text(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

func parse(t testing.TB, b []byte) *Description {
	t.Helper()
	d, err := Parse(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return d
}

var head4 = []string{"v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=-", "c=IN IP4 10.0.0.1", "t=0 0"}

// RFC 8866 §5.7, §5.14, RFC 3605, RFC 5761: what places a description names, and that nothing but them changes.
func TestDescriptionMovesAndNothingElseChanges(t *testing.T) {
	two := []Place{{30000, 30001}, {30002, 30003}}
	for name, c := range map[string]struct {
		in, out []string // behind the head
		places  []Place
		ice     bool
		head    []string // of the outcome; nil: with the relay's address in c=
	}{
		"audio": {in: []string{"m=audio 4000 RTP/AVP 0 8", "a=ptime:20"}, out: []string{"m=audio 30000 RTP/AVP 0 8", "a=ptime:20"}, places: two[:1]},
		"own c=": {in: []string{"m=audio 4000 RTP/AVP 0", "i=x", "c=IN IP4 10.0.0.2", "b=AS:64"},
			out: []string{"m=audio 30000 RTP/AVP 0", "i=x", "c=IN IP4 203.0.113.1", "b=AS:64"}, places: two[:1]},
		"IPv6 becomes IPv4": {in: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"}, out: []string{"m=audio 30000 RTP/AVP 0", "c=IN IP4 203.0.113.1"}, places: two[:1]},
		"one port":          {in: []string{"m=audio 4000/1 RTP/AVP 0"}, out: []string{"m=audio 30000/1 RTP/AVP 0"}, places: two[:1]},
		"rejected stream":   {in: []string{"m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 96"}, out: []string{"m=audio 30000 RTP/AVP 0", "m=video 0 RTP/AVP 96"}, places: two},
		"rtcp":              {in: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:4007"}, out: []string{"m=audio 30000 RTP/AVP 0", "a=rtcp:30001"}, places: two[:1]},
		"rtcp elsewhere": {in: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:4007 IN IP4 10.0.0.3"},
			out: []string{"m=audio 30000 RTP/AVP 0", "a=rtcp:30001 IN IP4 203.0.113.1"}, places: two[:1]},
		"rtcp-mux": {in: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:4000", "a=rtcp-mux"}, out: []string{"m=audio 30000 RTP/AVP 0", "a=rtcp:30000", "a=rtcp-mux"}, places: two[:1]},
		"one stream stays": {in: []string{"m=audio 4000 RTP/AVP 0", "i=x", "a=sendrecv", "m=message 2855 TCP/MSRP *"}, head: head4,
			out: []string{"m=audio 30000 RTP/AVP 0", "i=x", "c=IN IP4 203.0.113.1", "a=sendrecv", "m=message 2855 TCP/MSRP *"}, places: []Place{two[0], {}}},
		"none moves": {in: []string{"m=audio 4000 RTP/AVP 0"}, head: head4, out: []string{"m=audio 4000 RTP/AVP 0"}, places: []Place{{}}},
		"hold": {in: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"}, out: []string{"m=audio 30000 RTP/AVP 0", "c=IN IP4 0.0.0.0"}, places: two[:1], head: append(slices.Clone(head4[:3]),
			"c=IN IP4 203.0.113.1", "t=0 0")},
		"ICE is kept": {in: []string{"m=audio 4000 RTP/AVP 0", "a=ice-ufrag:u", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host"},
			out: []string{"m=audio 30000 RTP/AVP 0", "a=ice-ufrag:u", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host"}, places: two[:1]},
		"ICE goes": {in: []string{"a=ice-lite", "m=audio 4000 RTP/AVP 0", "a=ice-ufrag:u", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=mid:1"},
			out: []string{"m=audio 30000 RTP/AVP 0", "a=mid:1"}, places: two[:1], ice: true},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.head
			if want == nil {
				want = slices.Clone(head4)
				want[3] = "c=IN IP4 203.0.113.1"
			}
			for _, end := range []string{"\r\n", "\n"} {
				lines := func(l []string) []byte { return []byte(strings.Join(l, end) + end) }
				d := parse(t, lines(append(slices.Clone(head4), c.in...)))
				got := d.Write(relay, c.places, c.ice)
				if diff := cmp.Diff(string(lines(append(slices.Clone(want), c.out...))), string(got)); diff != "" {
					t.Error(diff)
				}
				if again := parse(t, got).Write(relay, c.places, c.ice); !bytes.Equal(again, got) {
					t.Errorf("a second time:\n%s", again)
				}
			}
		})
	}
}

func TestParseReadsTheStreams(t *testing.T) {
	d := parse(t, text("v=0", "o=- 1 1 IN IP6 ::1", "s=-", "c=IN IP6 2001:db8::1", "t=0 0", "a=inactive", "a=ice-ufrag:x",
		"m=audio 4000/2 RTP/SAVP 0", "a=sendonly", "a=rtcp-mux",
		"m=video 5000 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 10.0.0.1", "a=rtcp:5003",
		"m=application 0 TCP/BFCP *", "c=IN IP4 host.example.org"))
	v6, v4 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1")
	want := []Stream{
		{Media: "audio", Proto: "RTP/SAVP", Port: 4000, Ports: 2, Addr: v6, Mux: true, ICE: true, Direction: SendOnly},
		{Media: "video", Proto: "UDP/TLS/RTP/SAVPF", Port: 5000, Ports: 1, Addr: v4, RTCP: netip.AddrPortFrom(v4, 5003), ICE: true, Direction: Inactive},
		{Media: "application", Proto: "TCP/BFCP", Ports: 1, ICE: true, Direction: Inactive},
	}
	if diff := cmp.Diff(want, d.Streams, cmpopts.IgnoreUnexported(Stream{}), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	for i, want := range []struct{ datagrams, webRTC bool }{{}, {true, true}, {}} {
		if s := d.Streams[i]; s.Datagrams() != want.datagrams || s.WebRTC() != want.webRTC {
			t.Errorf("stream %d: datagrams %v, WebRTC %v", i, s.Datagrams(), s.WebRTC())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"", "v=1\r\n", "hello", "v=0\r\nx\r\n", "v=0\r\nm=audio\r\n", "v=0\r\nm=audio 70000 RTP/AVP 0\r\n", "v=0\r\nm=audio 1/0 RTP/AVP 0\r\n",
		"v=0\r\nc=IN\r\n", "v=0\r\nm=audio 1 RTP/AVP 0\r\na=rtcp:x\r\n", "v=0\r\n" + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", maxStreams+1),
		"v=0\r\n" + strings.Repeat("a=x\r\n", maxLines), "v=0\r\n" + strings.Repeat("x", maxText)} {
		if d, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%.60q is taken: %+v", bad, d)
		}
	}
}

// RFC 5621 §3: a description may be a part of the body.
func TestFindReadsMultipartBodies(t *testing.T) {
	sdp := "v=0\r\ns=-"
	body := func(fields string) string {
		return "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n" + fields + "\r\n\r\n" + sdp + "\r\n--b1--\r\n"
	}
	for name, c := range map[string]struct {
		kind, body string
		found      bool
	}{
		"alone":     {"application/sdp", sdp, true},
		"any case":  {"Application/SDP;charset=utf-8", sdp, true},
		"none":      {"application/sdp", "", false},
		"other":     {"text/plain", sdp, false},
		"malformed": {"application/sdp;;=", sdp, false},
		"part":      {`multipart/mixed;boundary="b1"`, body("Content-Type: application/sdp"), true},
		"binary":    {"multipart/mixed;boundary=b1", body("Content-Type: application/sdp\r\nContent-Transfer-Encoding: binary"), true},
		"base64":    {"multipart/mixed;boundary=b1", body("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64"), false},
		"measured":  {"multipart/mixed;boundary=b1", body("Content-Type: application/sdp\r\nContent-Length: 8"), false},
		"not there": {"multipart/mixed;boundary=b1", body("Content-Type: application/pidf+xml"), false},
		"unended":   {"multipart/mixed;boundary=b1", "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0", false},
	} {
		start, end, ok := Find(c.kind, []byte(c.body))
		if ok != c.found || ok && c.body[start:end] != sdp {
			t.Errorf("%s: %v %q", name, ok, c.body[start:end])
		}
	}
}

// Whatever a description has besides, each line is either as it was or names a place; what is written reads back as it was meant.
func TestPropertyWriteMovesWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := slices.Clone(head4)
		n := rapid.IntRange(1, 4).Draw(t, "streams")
		places := make([]Place, n)
		for i := range n {
			port := rapid.IntRange(1, 65535).Draw(t, "port")
			lines = append(lines, fmt.Sprintf("m=audio %d RTP/AVP 0", port))
			extra := []string{"c=IN IP4 10.0.0.9", "a=rtcp:9 IN IP4 10.0.0.8", "a=rtcp:7", "a=fmtp:0 x=1", "b=AS:1", "i=words  with  room ", "a=sendonly"}
			lines = append(lines, rapid.SliceOfNDistinct(rapid.SampledFrom(extra), 0, 4, rapid.ID).Draw(t, "extra")...)
			if rapid.Bool().Draw(t, "moves") {
				places[i] = Place{uint16(30000 + 2*i), uint16(30001 + 2*i)}
			}
		}
		b := text(lines...)
		d, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		out := d.Write(relay, places, false)
		got, err := Parse(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for i, s := range got.Streams {
			was := d.Streams[i]
			if places[i] == (Place{}) {
				if s.Port != was.Port || s.Addr != was.Addr {
					t.Fatalf("stream %d moved\n%s\n%s", i, b, out)
				}
			} else if s.Port != places[i].RTP || s.Addr != relay {
				t.Fatalf("stream %d at %v:%d\n%s\n%s", i, s.Addr, s.Port, b, out)
			}
		}
		added := slices.Collect(strings.Lines(string(out)))
		for l := range strings.Lines(string(b)) {
			if named := strings.HasPrefix(l, "m=") || strings.HasPrefix(l, "c=") || strings.HasPrefix(l, "a=rtcp:"); !named && !slices.Contains(added, l) {
				t.Fatalf("%q is gone", l)
			}
		}
		if again := parse2(t, out).Write(relay, places, false); !bytes.Equal(again, out) {
			t.Fatalf("not the same a second time\n%s\n%s", out, again)
		}
	})
}

func parse2(t *rapid.T, b []byte) *Description {
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What can be read can be written, and what is written can be read; nothing panics.
func FuzzSDP(f *testing.F) {
	f.Add("application/sdp", text(append(slices.Clone(head4), "m=audio 4000/1 RTP/AVP 0", "a=rtcp:1 IN IP4 1.2.3.4", "m=video 0 RTP/AVP 1")...))
	f.Add("application/sdp", []byte("v=0\nm=audio 1 x y\na=rtcp:\t9\n\n"))
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		start, end, ok := Find(kind, body)
		if !ok {
			return
		}
		d, err := Parse(body[start:end])
		if err != nil {
			return
		}
		none := make([]Place, len(d.Streams))
		if !bytes.Equal(d.Write(relay, none, true), body[start:end]) {
			t.Fatal("changed without a reason")
		}
		places := none
		for i := range places {
			places[i] = Place{uint16(30000 + 2*i), uint16(30001 + 2*i)}
		}
		out := d.Write(relay, places, true)
		got, err := Parse(out)
		if err != nil || len(got.Streams) != len(d.Streams) {
			t.Fatalf("%v: %d streams of %d\n%q\n%q", err, len(got.Streams), len(d.Streams), body, out)
		}
		for i, s := range got.Streams {
			if d.Streams[i].Port != 0 && s.Port != places[i].RTP {
				t.Fatalf("stream %d: port %d\n%q", i, s.Port, out)
			}
		}
	})
}
