package media

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever order requests, responses, ends and silence come in, with whatever descriptions: no port is lost or with two calls, descriptions that
// are relayed name ports that are the call's, and when all is over, all ports are free.
func TestPropertyNoPortIsLost(t *testing.T) {
	b := newBench(t, func(c *Config) { c.First, c.Last, c.Limit = 22000, 22031, 5 })
	a, z := natted(t)
	rapid.Check(t, func(t *rapid.T) {
		var calls []*call
		var open []uint64
		describe := func(p *phone) string {
			p.attrs = nil
			for range rapid.IntRange(0, 2).Draw(t, "streams") {
				p.attrs = append(p.attrs, fmt.Sprintf("m=video %d RTP/AVP 96", rapid.SampledFrom([]int{0, 4002, 4004}).Draw(t, "port")))
			}
			return p.sdp()
		}
		body := func(p *phone) string {
			if rapid.Bool().Draw(t, "described") {
				return describe(p)
			}
			return ""
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch op := rapid.SampledFrom([]string{"invite", "answer", "within", "end", "pass", "bye"}).Draw(t, "op"); {
			case op == "invite" || len(calls) == 0:
				c := b.call(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "call")), a, z)
				m := c.request("INVITE", a, z, "", body(a))
				b.r.Request(c.leg, m, a.hop(), z.hop())
				calls, open = append(calls, c), append(open, c.leg)
			default:
				c := rapid.SampledFrom(calls).Draw(t, "of")
				status := rapid.SampledFrom([]int{183, 200, 486, 481}).Draw(t, "status")
				switch op {
				case "answer":
					b.r.Response(c.leg, response(c.request("INVITE", a, z, "", ""), status, rapid.SampledFrom([]string{z.tag, "other"}).Draw(t, "tag"), body(z)))
				case "within":
					c.within(rapid.SampledFrom([]string{"INVITE", "UPDATE", "PRACK"}).Draw(t, "method"), a, z, status, body(a), body(z))
				case "bye":
					c.within("BYE", z, a, status, "", "")
				case "end":
					b.r.End(c.leg)
				case "pass":
					b.pass(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
				}
			}
			whole(t, b)
		}
		for _, leg := range open {
			b.r.End(leg)
		}
		b.pass(setupTimeout)
		b.pass(holdTimeout)
		if s := b.r.Stats(); s.Sessions != 0 || s.Ports != 0 || len(b.r.legs) != 0 || len(b.r.calls) != 0 || len(b.r.taken) != 0 {
			t.Fatalf("left: %+v, %d legs", s, len(b.r.legs))
		}
	})
}

// whole checks that each pair of ports that is used is with one call.
func whole(t *rapid.T, b *bench) {
	seen := map[uint16]bool{}
	for _, list := range b.r.calls {
		for _, s := range list {
			for _, st := range s.streams {
				if st == nil {
					continue
				}
				for _, e := range st.ends {
					if seen[e.number] || !b.r.taken[e.number] || e.rtp.sock == nil || e.number%2 != 0 {
						t.Fatalf("port %d is with two calls, or closed", e.number)
					}
					seen[e.number] = true
				}
			}
		}
	}
	if s := b.r.Stats(); s.Ports != len(seen) || s.Sessions > 5 || len(b.r.taken) != len(seen) {
		t.Fatalf("%d ports with calls, %+v", len(seen), s)
	}
}

// What a phone writes in a message never ends the relay, and what is not relayed stays as it is.
func FuzzMessages(f *testing.F) {
	f.Add("INVITE", "application/sdp", "v=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 4000 RTP/AVP 0\r\n", 200, "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\n")
	f.Add("INVITE", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nm=audio 1/2 x y\r\n--b--", 183, "")
	f.Add("UPDATE", "text/plain", "hello", 404, "v=0\r\n")
	b := newBench(f, nil)
	a, z := natted(f)
	f.Fuzz(func(t *testing.T, method, kind, offer string, status int, answer string) {
		c := b.call("fuzz", a, z)
		m := c.request(method, a, z, "", offer)
		for i := range m.Fields {
			if strings.HasPrefix(m.Fields[i].Value, "application/sdp") {
				m.Fields[i].Value = kind
			}
		}
		b.r.Request(c.leg, m, a.hop(), z.hop())
		res := response(m, max(100, status%700), "tag", answer)
		b.r.Response(c.leg, res)
		b.r.ACK(m, a.hop(), z.hop())
		c.within("BYE", a, &phone{tag: "tag", ip: z.ip, own: z.own}, 200, "", "")
		b.r.End(c.leg)
		b.pass(holdTimeout + setupTimeout)
		if n := b.r.Stats().Ports; n != 0 {
			t.Fatalf("%d pairs of ports left", n)
		}
	})
}
