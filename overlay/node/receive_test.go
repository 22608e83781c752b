package node_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func wildcard() wire.Destination { return wire.ToNode(wire.Wildcard(16)) }

func toHost(h *sim.Host) wire.Destination { return wire.ToNode(h.ID) }

// TestHeaderFaults sends a Ping to a peer, changed in one way, and looks at what comes back and how it is counted.
//
// Conformance: B-02 B-03 B-04 B-07 B-14 B-18 B-21 B-26 B-45 C-11 C-20 C-21 C-22 C-26 G-05
func TestHeaderFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		edit   func(*wire.Message)
		want   any // a MessageCode, an ErrorCode, or "silence"
		reason string
	}{
		{"baseline", func(*wire.Message) {}, wire.CodePingAns, ""},
		{"wildcard", func(m *wire.Message) { m.Header.Destinations = wire.NewDestinationList(wildcard()) }, wire.CodePingAns, ""},
		{"§6.3.2 wrong overlay", func(m *wire.Message) { m.Header.Overlay++ }, "silence", "bad_overlay"},
		{"§6.3.2 wrong version", func(m *wire.Message) { m.Header.Version = 1 }, "silence", "bad_version"},
		{"§6.3.2 ttl above initial-ttl", func(m *wire.Message) { m.Header.TTL = 101 }, wire.ErrorTTLExceeded, "bad_ttl"},
		{"§6.3.2 ttl 0 is enough for the destination", func(m *wire.Message) { m.Header.TTL = 0 }, wire.CodePingAns, ""},
		{"§6.7 high fragment bit clear", func(m *wire.Message) { m.Header.Fragment = wire.FragmentLast }, "silence", "fragmented"},
		{"§6.7 a fragment of less than 256 octets", func(m *wire.Message) { m.Header.Fragment = wire.FragmentHigh }, "silence", "bad_fragment"},
		{"§13.6.5 repeated destination", func(m *wire.Message) {
			m.Header.Destinations = append(m.Header.Destinations, m.Header.Destinations...)
		}, wire.ErrorInvalidMessage, "repeated_destination"},
		{"§6.3.2.1 older configuration", func(m *wire.Message) { m.Header.ConfigSequence = 0 }, wire.ErrorConfigTooOld, ""},
		{"§6.3.2.1 newer configuration", func(m *wire.Message) { m.Header.ConfigSequence = 2 }, wire.ErrorConfigTooNew, ""},
		{"§6.3.2.3 unknown option, not critical", func(m *wire.Message) { m.Header.Options = option(0) }, wire.CodePingAns, ""},
		{"§6.3.2.3 unknown option, critical for others", func(m *wire.Message) {
			m.Header.Options = option(wire.OptionForwardCritical)
		}, wire.CodePingAns, ""},
		{"§6.3.2.3 unknown option, critical", func(m *wire.Message) { m.Header.Options = option(wire.OptionDestinationCritical) },
			wire.ErrorUnsupportedForwardingOption, ""},
		{"§6.3.3 unknown extension", func(m *wire.Message) { m.Extensions = []wire.Extension{{Type: 0x7777}} }, wire.CodePingAns, ""},
		{"§6.3.3 unknown extension, critical", func(m *wire.Message) {
			m.Extensions = []wire.Extension{{Type: 0x7777, Critical: true}}
		}, wire.ErrorUnknownExtension, ""},
		{"unknown method", func(m *wire.Message) { m.Body = &wire.Unknown{MethodCode: 0x99} }, wire.ErrorInvalidMessage, ""},
		{"ConfigUpdate", func(m *wire.Message) {
			m.Header.ConfigSequence, m.Body = wire.ConfigSequenceAny, &wire.ConfigUpdateReq{Type: 1, Config: []byte("<overlay/>")}
		}, wire.ErrorInvalidMessage, ""},
		{"§6.3.2 max_response_length", func(m *wire.Message) { m.Header.MaxResponseLength = 100 }, wire.ErrorResponseTooLarge, ""},
		{"an answer to nothing", func(m *wire.Message) { m.Body = &wire.PingAns{} }, "silence", "no_transaction"},
	} {
		w := ring(t, 2, func(c *sim.Config) {
			c.Overlay = sim.Overlay()
			c.Overlay.Sequence = 1
		})
		client := w.NewClient(w.Host(0))
		m := client.Message(&wire.PingReq{}, toHost(w.Host(0)))
		c.edit(m)
		if got := code(client.Call(m)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if c.reason != "" && w.Counts["dropped:"+c.reason] != 1 {
			t.Errorf("%s: not counted as %q: %v", c.name, c.reason, w.Counts)
		}
	}
}

func option(flags uint8) wire.OptionList {
	return wire.NewOptionList(wire.ForwardingOption{Type: 200, Flags: flags, Value: []byte("?")})
}

// Conformance: B-15
func TestRFC6940_6_3_2_3_OptionIsCopiedToTheResponse(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{}, toHost(w.Host(0)))
	m.Header.Options = option(wire.OptionResponseCopy | wire.OptionForwardCritical)
	ans := client.Call(m)
	if ans == nil || !bytes.Equal(ans.Header.Options, option(0)) {
		t.Errorf("%+v", ans)
	}
}

// Conformance: B-01 B-05 B-31
func TestTamperedMessageIsDroppedInSilence(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{Padding: []byte("padding")}, toHost(w.Host(0)))
	raw := bytes.Replace(client.Seal(m, nil), []byte("padding"), []byte("PADDING"), 1)
	client.Send(raw)
	if got := client.Answer(m.Header.Transaction); got != nil || w.Counts["dropped:bad_signature"] != 1 {
		t.Errorf("%v, %v", got, w.Counts)
	}
	client.Send([]byte("not RELOAD"))
	client.Send(raw[:len(raw)-1])
	w.Run(time.Second)
	if w.Counts["dropped:syntax"] != 2 {
		t.Errorf("%v", w.Counts)
	}
}

// Conformance: A-23
func TestRFC6940_6_6_MessageTooLarge(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	got := client.Call(client.Message(&wire.PingReq{Padding: make([]byte, 65000)}, toHost(w.Host(0))))
	if code(got) != wire.ErrorMessageTooLarge {
		t.Errorf("%v", code(got))
	}
	if client.Connected() {
		t.Error("the link was not closed")
	}

	// The header alone is larger: no error. One that goes by another configuration keeps its link.
	client = w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{}, slices.Repeat([]wire.Destination{toHost(w.Host(0))}, 3640)...)
	got = client.Call(m)
	if got != nil || client.Connected() {
		t.Errorf("header larger than a message: answered %v, link open: %v", got, client.Connected())
	}
	client = w.NewClient(w.Host(0))
	m = client.Message(&wire.PingReq{Padding: make([]byte, 65000)}, toHost(w.Host(0)))
	m.Header.ConfigSequence++
	if got = client.Call(m); code(got) != wire.ErrorMessageTooLarge || !client.Connected() {
		t.Errorf("another configuration: %v, link open: %v", code(got), client.Connected())
	}
}

// A message that would be too long behind us, for its Via List grows, is refused here: the next hop would close its link with us.
//
// Conformance: A-23
func TestRFC6940_6_6_MessageThatGrewTooLarge(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{}, toHost(w.Host(1)))
	m.Body = &wire.PingReq{Padding: make([]byte, 65000-len(client.Seal(m, nil)))}
	if raw := client.Seal(m, nil); len(raw) != 65000 {
		t.Fatalf("%d octets", len(raw))
	}
	if got := client.Call(m); code(got) != wire.ErrorMessageTooLarge || !client.Connected() {
		t.Errorf("%v, link open: %v", code(got), client.Connected())
	}
	if n := len(w.Host(0).Node.Status(w.Now()).Links); n < 2 {
		t.Errorf("%d links", n)
	}
}

// TestForwarding sends through a peer to others.
//
// Conformance: B-14 C-01 C-02 C-10 C-12 C-14 C-20
func TestForwarding(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	other := w.NewClient(w.Host(0))
	for _, c := range []struct {
		name string
		edit func(*wire.Message)
		want any
	}{
		{"to a peer", func(*wire.Message) {}, wire.CodePingAns},
		{"ttl 1 is enough for one hop", func(m *wire.Message) { m.Header.TTL = 1 }, wire.CodePingAns},
		{"§6.3.2 no hop left", func(m *wire.Message) { m.Header.TTL = 0 }, wire.ErrorTTLExceeded},
		{"§6.3.2.3 unknown option, critical on the way", func(m *wire.Message) { m.Header.Options = option(wire.OptionForwardCritical) },
			wire.ErrorUnsupportedForwardingOption},
		{"source route", func(m *wire.Message) {
			m.Header.Destinations = wire.NewDestinationList(toHost(w.Host(0)), toHost(w.Host(1)), toHost(w.Host(2)))
		}, wire.CodePingAns},
		{"§6.1.1 Node-ID that nobody has", func(m *wire.Message) {
			id := w.Host(0).ID.Array16()
			id[15]--
			absent, _ := wire.NodeIDFromBytes(id[:])
			m.Header.Destinations = wire.NewDestinationList(wire.ToNode(absent))
		}, "silence"},
	} {
		m := client.Message(&wire.PingReq{}, toHost(w.Host(1)))
		c.edit(m)
		if got := code(client.Call(m)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	m := client.Message(&wire.PingReq{}, toHost(other.Host))
	client.Send(client.Seal(m, nil))
	w.Run(100 * time.Millisecond)
	i := slices.IndexFunc(other.Got, func(g *wire.Message) bool { return g.Header.Transaction == m.Header.Transaction })
	if i < 0 {
		t.Fatal("RFC 6940 §6.1.1: a directly connected client did not get what is for it")
	}
	if via := other.Got[i].Header.Via; !bytes.Equal(via, wire.NewDestinationList(toHost(client.Host))) {
		t.Errorf("via %x", via)
	}
}

// TestRFC6940_4_2_ClientsAreNeverRoutedThrough places a client between two peers.
//
// Conformance: A-38 B-45 C-35 C-36 E-03 E-17
func TestRFC6940_4_2_ClientsAreNeverRoutedThrough(t *testing.T) {
	w := ring(t, 4)
	hosts := byID(w)
	id := hosts[1].ID.Array16()
	id[15]--
	client := w.NewClientAt(id, hosts[1])
	if err := w.Check(nil); err != nil {
		t.Error("a client changed the ring: ", err)
	}
	for _, h := range hosts {
		s := h.Status()
		if slices.Contains(s.Successors, client.ID) || slices.Contains(s.Predecessors, client.ID) {
			t.Errorf("host %d has a client as a neighbour", h.Index)
		}
	}
	// A resource at its position is not for it, a Node-ID is.
	d := do(t, w, hosts[3], node.OpPing{Destinations: wire.NewDestinationList(wire.ToResource(chord.PointOf(client.ID).Resource()))})
	if d.Answer.Message() == nil || d.Answer.Sender().Node != hosts[1].ID {
		t.Errorf("%+v", d)
	}
	if len(client.Got) != 0 {
		t.Errorf("the client got %d messages", len(client.Got))
	}
	// RFC 6940 §10.7.3: it hears when the range of its peer changes.
	id[0]--
	w.AddHostAt(id).Start(false)
	if err := w.Settle(time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(time.Second)
	if !slices.ContainsFunc(client.Got, func(m *wire.Message) bool { return m.Body.Code() == wire.CodeUpdateReq }) {
		t.Error("no Update for the client")
	}
}

// Conformance: E-10 E-30 E-34
func TestRFC6940_6_4_2_JoinAndLeaveOnlyForOneself(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	for name, m := range map[string]*wire.Message{
		"join for another":  client.Message(&wire.JoinReq{Joining: w.Host(2).ID}, toHost(w.Host(0))),
		"leave for another": client.Message(&wire.LeaveReq{Leaving: w.Host(2).ID}, toHost(w.Host(0))),
		"relayed join":      client.Message(&wire.JoinReq{Joining: client.ID}, toHost(w.Host(1))),
		"relayed leave":     client.Message(&wire.LeaveReq{Leaving: client.ID}, toHost(w.Host(1))),
		"relayed update":    client.Message(&wire.UpdateReq{Type: wire.ChordPeerReady}, toHost(w.Host(1))),
	} {
		if got := code(client.Call(m)); got != wire.ErrorForbidden {
			t.Errorf("%s: %v", name, got)
		}
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// Conformance: B-06 C-05
func TestRFC6940_6_2_1_CopyOfARequestIsAnsweredAlike(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	r := w.NewRecord("user", client.Host)
	m := client.Message(&wire.StoreReq{Resource: r.Resource, Kinds: []wire.StoreKindData{
		{Kind: wire.KindSIPRegistration, Values: []wire.StoredData{w.Next(r)}}}}, wire.ToResource(r.Resource))
	raw := client.Seal(m, r)
	client.Send(slices.Clone(raw))
	first := client.Answer(m.Header.Transaction)
	client.Send(slices.Clone(raw))
	second := client.Answer(m.Header.Transaction)
	if first == nil || second == nil || !bytes.Equal(first.Contents(), second.Contents()) {
		t.Errorf("%+v, then %+v", first, second)
	}
	if got := second.Body.(*wire.StoreAns).Kinds[0].Generation; got != 1 {
		t.Errorf("generation %d after one store and its copy", got)
	}
}

// Conformance: C-05
func TestReplayedAppAttachIsDropped(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.AppAttachReq{AppAttach: wire.AppAttach{Application: wire.ApplicationSIP, Role: wire.RolePassive,
		Candidates: w.Host(0).Candidates()}}, toHost(w.Host(0)))
	raw := client.Seal(m, nil)
	client.Send(slices.Clone(raw))
	if got := code(client.Answer(m.Header.Transaction)); got != wire.CodeAppAttachAns {
		t.Fatal(got)
	}
	client.Send(slices.Clone(raw))
	if got := code(client.Answer(m.Header.Transaction)); got != wire.CodeAppAttachAns || len(w.Host(0).Apps) != 1 {
		t.Errorf("a copy of the request: %v, %d connections", got, len(w.Host(0).Apps))
	}
	w.Run(time.Minute)
	client.Send(slices.Clone(raw))
	got := client.Answer(m.Header.Transaction)
	if got != nil || len(w.Host(0).Apps) != 1 || w.Counts["dropped:replay"] != 1 {
		t.Errorf("a replay: %v, %d connections, %v", got, len(w.Host(0).Apps), w.Counts)
	}
}

// Conformance: A-02 A-35
func TestRFC6940_6_5_1_1_AttachMustSayWhoIsPassive(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	candidates := w.Host(0).Candidates()
	ice := slices.Clone(candidates)
	ice[0].Link = wire.LinkDTLSUDPSR
	for name, a := range map[string]wire.Attach{
		"active":            {Role: wire.RoleActive, Candidates: candidates},
		"no candidates":     {Role: wire.RolePassive},
		"ICE and not":       {Role: wire.RolePassive, Candidates: append(slices.Clone(candidates), ice...)},
		"ICE in a no-ICE o": {Role: wire.RolePassive, Candidates: ice},
	} {
		if got := code(client.Call(client.Message(&wire.AttachReq{Attach: a}, toHost(w.Host(0))))); got != wire.ErrorInvalidMessage {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNodeThatHasNotJoinedSaysSo(t *testing.T) {
	w := sim.New(sim.Config{Seed: 1, Peers: 1})
	w.Host(0).Start(false)
	w.Run(100 * time.Millisecond)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{}, wire.ToResource(wire.ResourceIDOf("x")))
	if got := code(client.Call(m)); got != wire.ErrorNotFound || w.Counts["dropped:not_joined"] != 1 {
		t.Errorf("%v %v", got, w.Counts)
	}
}

// Conformance: B-48
func TestRouteQueryNamesTheNextHop(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.RouteQueryReq{SendUpdate: true, Destination: toHost(w.Host(1))}, toHost(w.Host(0)))
	ans := client.Call(m)
	if ans == nil || ans.Body.(*wire.RouteQueryAns).NextPeer != w.Host(1).ID {
		t.Fatalf("%v", code(ans))
	}
	w.Run(100 * time.Millisecond)
	i := slices.IndexFunc(client.Got, func(m *wire.Message) bool { return m.Body.Code() == wire.CodeUpdateReq })
	if i < 0 || client.Got[i].Body.(*wire.UpdateReq).Type != wire.ChordFull {
		t.Error("RFC 6940 §10.8: send_update was not followed by a full Update")
	}
}

// Conformance: B-46 B-47
func TestRFC6940_6_4_2_5_ProbeAnswersWhatIsAskedAndKnown(t *testing.T) {
	w := ring(t, 4)
	sum := uint64(0)
	for _, h := range w.Living() {
		client := w.NewClient(h)
		ans := client.Call(client.Message(&wire.ProbeReq{Requested: []uint8{3, 9, 1}}, toHost(h)))
		if ans == nil {
			t.Fatal("silence")
		}
		info := ans.Body.(*wire.ProbeAns).Info
		if len(info) != 2 || info[0].Type != 3 || info[1].Type != 1 {
			t.Fatalf("%+v", info)
		}
		sum += uint64(info[1].Value)
	}
	if sum < 999_999_900 || sum > 1_000_000_000 {
		t.Errorf("the shares sum to %d parts per billion", sum)
	}
}
