package node_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const harmless = uint64(1<<2 | 1<<8) // ROUTING_TABLE_SIZE, APP_UPTIME

// walk asks node after node for its next hop, as the initiator of RFC 7851 §4.3 does.
func walk(t *testing.T, w *sim.World, from *sim.Host, dest wire.Destination) (hops []wire.NodeID) {
	t.Helper()
	var path wire.DestinationList
	at := from.ID
	for {
		to := path
		if at == from.ID {
			to = wire.NewDestinationList(wire.ToNode(at))
		}
		d := do(t, w, from, node.OpPathTrack{Hops: to, Destination: dest, Flags: harmless})
		if d.Err != nil || d.Refused != nil {
			t.Fatalf("hop %d: %v %v", len(hops), d.Err, d.Refused)
		}
		ans := d.Answer.Message().Body.(*wire.PathTrackAns)
		// RFC 7851 §5.2: hop_counter is the ttl that arrived; the first link costs none.
		if want := 100 - max(0, len(hops)-1); int(ans.Response.HopCounter) != want {
			t.Errorf("hop %d: hop_counter %d, want %d", len(hops), ans.Response.HopCounter, want)
		}
		if n, ok := ans.Response.Number(wire.DiagnosticRoutingTableSize); !ok || n == 0 {
			t.Errorf("hop %d: %d peers in its table", len(hops), n)
		}
		hops = append(hops, at)
		if ans.NextHop == wire.ToNode(at) {
			return hops
		}
		if at = ans.NextHop.Node; len(hops) > 30 {
			t.Fatalf("a way without an end: %v", hops)
		}
		path = path.Append(wire.ToNode(at))
	}
}

// TestRFC7851_4_3_PathTrackWalksToTheResponsiblePeer walks from one peer to every other and to the owner of a resource.
//
// Conformance: K-02 K-04
func TestRFC7851_4_3_PathTrackWalksToTheResponsiblePeer(t *testing.T) {
	w := sparse(t, 48, 3)
	hosts := byID(w)
	for _, far := range []int{1, 3, 4, 7, 13, 24} {
		hops := walk(t, w, hosts[0], toHost(hosts[far]))
		if last := hops[len(hops)-1]; last != hosts[far].ID {
			t.Errorf("to %v: ends at %v", hosts[far].ID.Short(), last.Short())
		}
		if want := (far + 2) / 3; len(hops)-1 != want {
			t.Errorf("to the successor %d: %d hops, want %d", far, len(hops)-1, want)
		}
	}
	r := wire.ResourceIDOf("alice@example.org")
	hops := walk(t, w, hosts[0], wire.ToResource(r))
	if last := hops[len(hops)-1]; last != owner(w, r)[0].ID {
		t.Errorf("ends at %v", last.Short())
	}
	// A Node-ID that nobody has ends at the peer that is responsible for its place.
	absent := wire.ToNode(nodeID(0x42))
	hops = walk(t, w, hosts[0], absent)
	if last := hops[len(hops)-1]; !hostOf(w, last).Node.Responsible(absent) {
		t.Errorf("ends at %v", last.Short())
	}
}

// sparse is a world of n hosts each of which has links with its nearest neighbours on either side only: what longer links
// there were are cut just before.
func sparse(t testing.TB, n, neighbours int) *sim.World {
	t.Helper()
	w := sim.New(sim.Config{Seed: 7, Peers: n, MaxDelay: 3 * time.Millisecond})
	w.Start(0)
	if err := w.Settle(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(20 * time.Second)
	hosts := byID(w)
	for i, h := range hosts {
		for k := range i {
			if d := min(i-k, n-i+k); d > neighbours {
				w.Part(h, hosts[k])
			}
		}
	}
	w.Run(100 * time.Millisecond)
	return w
}

func hostOf(w *sim.World, id wire.NodeID) *sim.Host {
	return w.Hosts()[slices.IndexFunc(w.Hosts(), func(h *sim.Host) bool { return h.ID == id })]
}

// request is a DiagnosticsRequest that is in order.
func request(w *sim.World, flags uint64) wire.DiagnosticsRequest {
	now := w.Now()
	return wire.DiagnosticsRequest{Expiration: uint64(now.Add(time.Minute).UnixMilli()), Initiated: uint64(now.UnixMilli()), Flags: flags}
}

// diagnosticPing is a Ping with the extension.
func diagnosticPing(c *sim.Client, d wire.DiagnosticsRequest, to ...wire.Destination) *wire.Message {
	m := c.Message(&wire.PingReq{}, to...)
	m.Extensions = []wire.Extension{{Type: wire.ExtensionDiagnosticPing, Contents: d.AppendTo(nil)}}
	return m
}

// TestRFC7851_6_3_Requests sends diagnostic requests, changed in one way, to a peer: as Ping and as PathTrack.
//
// Conformance: K-01 K-05 K-06 K-07
func TestRFC7851_6_3_Requests(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	ahead := func(d time.Duration) uint64 { return uint64(w.Now().Add(d).UnixMilli()) }
	for _, c := range []struct {
		name string
		edit func(*wire.DiagnosticsRequest)
		want any // an ErrorCode, or the kinds of the answer
	}{
		{"nothing", func(d *wire.DiagnosticsRequest) { d.Flags = 0 }, []wire.DiagnosticKind(nil)},
		{"what all may have", func(*wire.DiagnosticsRequest) {},
			[]wire.DiagnosticKind{wire.DiagnosticRoutingTableSize, wire.DiagnosticAppUptime}},
		{"§5.1 expired", func(d *wire.DiagnosticsRequest) { d.Expiration = ahead(-time.Millisecond) }, wire.ErrorMessageExpired},
		{"§5.1 598 s ahead", func(d *wire.DiagnosticsRequest) { d.Flags, d.Expiration = 0, ahead(598*time.Second) }, []wire.DiagnosticKind(nil)},
		{"§5.1 an hour ahead", func(d *wire.DiagnosticsRequest) { d.Expiration = ahead(time.Hour) }, wire.ErrorInvalidMessage},
		{"§5.3 first bit", func(d *wire.DiagnosticsRequest) { d.Flags |= 1 }, wire.ErrorInvalidMessage},
		{"§5.3 last bit", func(d *wire.DiagnosticsRequest) { d.Flags |= 1 << 63 }, wire.ErrorInvalidMessage},
		{"§7 STATUS_INFO", func(d *wire.DiagnosticsRequest) { d.Flags |= 1 << 1 }, wire.ErrorForbidden},
		{"§7 SOFTWARE_VERSION", func(d *wire.DiagnosticsRequest) { d.Flags |= 1 << 6 }, wire.ErrorForbidden},
		{"§5.1 everything", func(d *wire.DiagnosticsRequest) { d.Flags = wire.DiagnosticAll }, wire.ErrorForbidden},
		{"a flag of the future", func(d *wire.DiagnosticsRequest) { d.Flags = 1 << 40 }, []wire.DiagnosticKind(nil)},
		{"§5.1 a kind that has a flag", func(d *wire.DiagnosticsRequest) {
			d.Extensions = []wire.DiagnosticExtension{{Kind: wire.DiagnosticAppUptime}}
		}, wire.ErrorInvalidMessage},
		{"§7 a local kind", func(d *wire.DiagnosticsRequest) {
			d.Extensions = []wire.DiagnosticExtension{{Kind: 0xf000}}
		}, wire.ErrorForbidden},
	} {
		d := request(w, harmless)
		c.edit(&d)
		self := toHost(w.Host(0))
		for _, m := range []*wire.Message{
			diagnosticPing(client, d, self),
			client.Message(&wire.PathTrackReq{Destination: self, Request: d}, self),
		} {
			got := told(t, client.Call(m), d)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s, %v: %v, want %v", c.name, m.Body.Code(), got, c.want)
			}
		}
	}
}

// told is the kinds that an answer tells, or its code.
func told(t *testing.T, m *wire.Message, asked wire.DiagnosticsRequest) any {
	t.Helper()
	if m == nil {
		return "silence"
	}
	r, err := m.DiagnosticsResponse()
	if err != nil || r == nil {
		return code(m)
	}
	if r.Initiated != asked.Initiated || r.Received < asked.Initiated || r.Expiration <= r.Received || r.HopCounter != 100 {
		t.Errorf("%+v", r)
	}
	var kinds []wire.DiagnosticKind
	for _, i := range r.Info {
		kinds = append(kinds, i.Kind)
	}
	return kinds
}

// TestRFC7851_4_2_1_PingExtension: what is no diagnostic Ping is answered as it was.
//
// Conformance: K-01
func TestRFC7851_4_2_1_PingExtension(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	self := toHost(w.Host(0))
	critical := diagnosticPing(client, request(w, 0), self)
	critical.Extensions[0].Critical = true // it is known, so that is no fault
	if m := client.Call(critical); code(m) != wire.CodePingAns || len(m.Extensions) != 1 || m.Extensions[0].Critical {
		t.Errorf("critical: %v", code(m))
	}
	probe := diagnosticPing(client, wire.DiagnosticsRequest{}, self)
	probe.Body = &wire.ProbeReq{}
	if m := client.Call(probe); code(m) != wire.CodeProbeAns || len(m.Extensions) != 0 {
		t.Errorf("a Probe with the extension: %v", code(m))
	}
	half := diagnosticPing(client, request(w, 0), self)
	half.Extensions[0].Contents = half.Extensions[0].Contents[1:]
	if got := code(client.Call(half)); got != wire.ErrorInvalidMessage {
		t.Errorf("an extension that cannot be read: %v", got)
	}
	if m := client.Call(client.Message(&wire.PingReq{}, self)); code(m) != wire.CodePingAns || len(m.Extensions) != 0 {
		t.Errorf("an ordinary Ping: %v", code(m))
	}
	// RFC 7851 §6.1: it "MUST NOT be sent to the broadcast NodeID".
	for _, dest := range []wire.Destination{wildcard(), toHost(w.Host(1))} {
		d := do(t, w, w.Host(0), node.OpPing{Destinations: wire.NewDestinationList(dest), Diagnose: &node.Diagnose{}})
		if d.Err != nil || d.Refused != nil {
			t.Fatal(d.Err, d.Refused)
		}
		if r, err := d.Answer.Message().DiagnosticsResponse(); err != nil || (r == nil) != (dest == wildcard()) {
			t.Errorf("%v: %v %v", dest, r, err)
		}
	}
}

// TestRFC7851_6_2_IntermediatePeers sends diagnostic requests through a peer that has to stop them, and ordinary ones,
// which it does not look at.
//
// Conformance: K-05 K-08
func TestRFC7851_6_2_IntermediatePeers(t *testing.T) {
	w := ring(t, 8)
	hosts := byID(w)
	via, far := hosts[0], hosts[4]
	client := w.NewClient(via)
	expired := request(w, 0)
	expired.Expiration = uint64(w.Now().UnixMilli())
	for _, c := range []struct {
		name        string
		request     wire.DiagnosticsRequest
		edit        func(*wire.Message)
		want, plain any // for diagnostic requests, and for a Ping
	}{
		{"in order", request(w, 0), func(*wire.Message) {}, nil, wire.CodePingAns},
		{"expired", expired, func(*wire.Message) {}, wire.ErrorMessageExpired, wire.CodePingAns},
		{"no ttl", request(w, 0), func(m *wire.Message) { m.Header.TTL = 0 }, wire.ErrorTTLHopsExceeded, wire.ErrorTTLExceeded},
		{"a loop", request(w, 0), func(m *wire.Message) { m.Header.Via = m.Header.Via.Append(toHost(via)) },
			wire.ErrorLoopDetected, "silence"}, // the answer ends at the peer, which the Via List names as the client's neighbour
	} {
		for _, m := range []*wire.Message{
			diagnosticPing(client, c.request, toHost(far)),
			client.Message(&wire.PathTrackReq{Destination: toHost(far), Request: c.request}, toHost(far)),
			client.Message(&wire.PingReq{}, toHost(far)),
		} {
			_, isPing := m.Body.(*wire.PingReq)
			want := c.want
			switch {
			case isPing && len(m.Extensions) == 0:
				want = c.plain
			case want == nil:
				want = m.Body.Code().Answer()
			}
			c.edit(m)
			m.Header.TTL = min(m.Header.TTL, 100)
			before := w.Counts["dropped:diagnostics"]
			if got := code(client.Call(m)); got != want {
				t.Errorf("%s, %v: %v, want %v", c.name, m.Body.Code(), got, want)
			}
			// What is stopped is stopped by the peer on the way, not by the destination.
			stops := c.want != nil && (!isPing || len(m.Extensions) > 0)
			if stopped := w.Counts["dropped:diagnostics"] > before; stopped != stops {
				t.Errorf("%s, %v: stopped on the way: %v", c.name, m.Body.Code(), stopped)
			}
		}
	}
}

// TestRFC7851_7_AccessByConfiguration: with the extension in the document, access is what the document says.
//
// Conformance: K-06 K-07 K-09 K-10
func TestRFC7851_7_AccessByConfiguration(t *testing.T) {
	o := sim.Overlay()
	o.MandatoryExtensions = []string{config.NamespaceDiagnostics}
	w := ring(t, 3, func(c *sim.Config) { c.Overlay = o })
	trusted, stranger := w.NewClient(w.Host(0)), w.NewClient(w.Host(0))
	for k := wire.DiagnosticStatusInfo; k <= wire.DiagnosticBatteryStatus; k++ {
		o.DiagnosticKinds = append(o.DiagnosticKinds, config.DiagnosticAccess{Kind: k, Nodes: []wire.NodeID{trusted.ID}})
	}
	r := homed(w, w.Host(1), w.Host(2))
	store(t, w, r)
	for _, c := range []struct {
		from  *sim.Client
		flags uint64
		want  any
	}{
		{trusted, 1 << 1, []wire.DiagnosticKind{wire.DiagnosticStatusInfo}},
		{trusted, wire.DiagnosticAll, []wire.DiagnosticKind{wire.DiagnosticStatusInfo, wire.DiagnosticRoutingTableSize,
			wire.DiagnosticAppUptime, wire.DiagnosticInstancesStored}},
		{stranger, 0, []wire.DiagnosticKind(nil)},
		{stranger, harmless, wire.ErrorForbidden},
	} {
		d := request(w, c.flags)
		self := toHost(w.Host(0))
		m := c.from.Call(diagnosticPing(c.from, d, self))
		if got := told(t, m, d); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%#x: %v, want %v", c.flags, got, c.want)
		}
		if c.flags != wire.DiagnosticAll {
			continue
		}
		resp, err := m.DiagnosticsResponse()
		if err != nil {
			t.Fatal(err)
		}
		// Three peers hold three copies of the one record.
		want := wire.NewDiagnosticInstances([]wire.InstanceCount{{Kind: wire.KindSIPRegistration, Count: 1}})
		if got := resp.Info[3]; !bytes.Equal(got.Contents, want.Contents) {
			t.Errorf("INSTANCES_STORED %x, want %x", got.Contents, want.Contents)
		}
		if level, ok := resp.Number(wire.DiagnosticStatusInfo); !ok || level > 15 {
			t.Errorf("STATUS_INFO %d", level)
		}
		if size, ok := resp.Number(wire.DiagnosticRoutingTableSize); !ok || size != 2 {
			t.Errorf("ROUTING_TABLE_SIZE %d", size)
		}
	}
}

// TestRFC7851_6_2_UpstreamMisrouting: a peer sends us what it is responsible for itself.
//
// Conformance: K-08
func TestRFC7851_6_2_UpstreamMisrouting(t *testing.T) {
	w := ring(t, 8)
	hosts := byID(w)
	us, upstream := hosts[0], hosts[1]
	client := w.NewClient(w.Host(5))
	for _, c := range []struct {
		dest wire.Destination
		want any
	}{
		{wire.ToResource(chord.PointOf(upstream.ID).Resource()), wire.ErrorUpstreamMisrouting},
		{wire.ToResource(chord.PointOf(hosts[4].ID).Resource()), "forwarded"},
		{toHost(hosts[4]), "forwarded"},
	} {
		m := client.Message(&wire.PathTrackReq{Destination: c.dest, Request: request(w, 0)}, c.dest)
		us.Node.Receive(w.Now(), linkWith(us, upstream), client.Seal(m, nil))
		e := us.Node.Take()
		got := any("forwarded")
		if len(e.Seal) == 1 && len(e.Forward) == 0 {
			got = code(e.Seal[0].Message)
			// "The immediate upstream peer information MUST also be conveyed to the initiator node."
			if info := string(e.Seal[0].Message.Body.(*wire.Error).Info); info != upstream.ID.String() {
				t.Errorf("names %q, want %v", info, upstream.ID)
			}
		}
		if got != c.want {
			t.Errorf("%v: %v, want %v", c.dest, got, c.want)
		}
	}
}

// linkWith is a link of h with other, as h names it.
func linkWith(h, other *sim.Host) node.LinkID {
	for _, l := range h.Status().Links {
		if l.Peer == other.ID {
			return l.ID
		}
	}
	return 0
}
