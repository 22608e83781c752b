package node

import (
	"cmp"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Diagnostics (RFC 7851): the Ping with a DiagnosticsRequest and PathTrack, both answered and asked.

// OpPathTrack asks the last node of Hops for its next hop towards Destination (RFC 7851 §4.3). Flags is dMFlags: what
// else it is to tell.
type OpPathTrack struct {
	Hops        wire.DestinationList
	Destination wire.Destination
	Flags       uint64
}

func (OpPathTrack) isOp() {}

// Diagnose makes an OpPing a diagnostic one (RFC 7851 §4.2). Flags is dMFlags.
type Diagnose struct{ Flags uint64 }

// mayDiagnose reports whether a node may have diagnostic information of kind k: what the configuration document says, or
// openKinds where the document does not know RFC 7851. A node may know everything about itself.
func (n *Node) mayDiagnose(sender wire.NodeID, k wire.DiagnosticKind) bool {
	switch {
	case sender == n.c.Self:
		return true
	case n.c.Overlay.Diagnostics():
		// RFC 7851 §5.3: "Access to each kind of diagnostic information MUST NOT be allowed unless compliant to the rules
		// defined in Section 7."
		return n.c.Overlay.MayDiagnose(sender, k)
	}
	return slices.Contains(openKinds, k)
}

// openKinds are for every node of an overlay whose configuration document does not use RFC 7851: what RFC 6940 gives
// every node anyhow, by Update and Probe. STATUS_INFO and SOFTWARE_VERSION are not among them: they tell an attacker whom
// to attack, and how.
//
// Deviation: RFC 7851 §4.1 denies each kind that the document does not open.
var openKinds = []wire.DiagnosticKind{wire.DiagnosticRoutingTableSize, wire.DiagnosticAppUptime}

// diagnosticsRequest asks for flags now.
func (n *Node) diagnosticsRequest(flags uint64) wire.DiagnosticsRequest {
	return wire.DiagnosticsRequest{
		Expiration: n.expiration(),
		Initiated:  uint64(n.now.UnixMilli()),
		Flags:      flags,
	}
}

// expiration is that of what is made now. RFC 7851 §5.1, §5.2: it "MUST have a value between 1 and 600 seconds in the
// future".
func (n *Node) expiration() uint64 { return uint64(n.now.Add(diagnosticLifetime).UnixMilli()) }

// diagnosticPing is the extension for an OpPing. RFC 7851 §6.1: critical is FALSE, and the message "MUST NOT be sent to
// the broadcast NodeID".
func (n *Node) diagnosticPing(op OpPing) []wire.Extension {
	last, ok := op.Destinations.Last()
	if op.Diagnose == nil || !ok || last.Type == wire.DestNode && last.Node.IsWildcard() {
		return nil
	}
	d := n.diagnosticsRequest(op.Diagnose.Flags)
	return []wire.Extension{{Type: wire.ExtensionDiagnosticPing, Contents: d.AppendTo(nil)}}
}

// answerPing answers a PingReq (RFC 6940 §6.5.3), and the DiagnosticsRequest in it.
func (n *Node) answerPing(in *inbound) {
	d, err := in.m.DiagnosticsRequest()
	if err != nil {
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "Diagnostic_Ping"))
		return
	}
	if d != nil {
		response, e := n.diagnose(in, d)
		if e != nil {
			n.refuse(in, e)
			return
		}
		in.extensions = []wire.Extension{{Type: wire.ExtensionDiagnosticPing, Contents: response.AppendTo(nil)}}
	}
	n.respond(in, &wire.PingAns{ResponseID: n.c.Rand.Uint64(), Time: uint64(n.now.UnixMilli())}, nil)
}

// answerPathTrack names the next hop towards a destination (RFC 7851 §4.3, §6.3).
func (n *Node) answerPathTrack(in *inbound, req *wire.PathTrackReq) {
	response, e := n.diagnose(in, &req.Request)
	if e != nil {
		n.refuse(in, e)
		return
	}
	next, ok := n.pathNext(req.Destination)
	if !ok {
		n.refuse(in, wire.NewError(wire.ErrorNotFound, "no next hop"))
		return
	}
	n.respond(in, &wire.PathTrackAns{NextHop: wire.ToNode(next), Response: *response}, nil)
}

// pathNext is the node to which a message for d would go from here. RFC 7851 §4.3.1.2: "If the responding peer is the
// responsible peer for the destination ID, then the next_hop node ID equals the responding node ID".
func (n *Node) pathNext(d wire.Destination) (wire.NodeID, bool) {
	switch r := route.Decide(n.c.Self, wire.NewDestinationList(d), n); {
	case r.Verdict == route.Deliver, r.Reason == route.NotConnected:
		return n.c.Self, true
	case r.Verdict == route.Forward:
		if c := n.nextLink(r.Next); c != nil {
			return c.node, true
		}
	}
	return wire.NodeID{}, false
}

// diagnose answers a DiagnosticsRequest (RFC 7851 §6.3).
func (n *Node) diagnose(in *inbound, d *wire.DiagnosticsRequest) (*wire.DiagnosticsResponse, *wire.Error) {
	if e := n.checkDiagnostics(d); e != nil {
		return nil, e
	}
	kinds := asked(d)
	for _, k := range kinds {
		// RFC 7851 §6.3: "If the initiator node asks for diagnostic information that they are not authorized to query,
		// the receiving peer MUST return an error response with the error code 2 "Error_Forbidden"."
		if !n.mayDiagnose(in.sender, k) {
			return nil, wire.NewError(wire.ErrorForbidden, k.String())
		}
	}
	r := &wire.DiagnosticsResponse{
		Expiration: n.expiration(),
		Initiated:  d.Initiated,
		Received:   uint64(n.now.UnixMilli()),
		// RFC 7851 §5.2: it "MUST be exactly copied from the TTL field of the forwarding header in the received request".
		HopCounter: in.header.TTL,
	}
	for _, k := range kinds {
		if i, known := n.diagnostic(k); known {
			r.Info = append(r.Info, i)
		}
	}
	return r, nil
}

// checkDiagnostics says what is wrong with a request, or nil.
func (n *Node) checkDiagnostics(d *wire.DiagnosticsRequest) *wire.Error {
	switch now := uint64(n.now.UnixMilli()); {
	case d.Expiration <= now:
		// RFC 7851 §6.3: "If the message is expired, the peer MUST generate a response with the error code 0x17".
		return wire.NewError(wire.ErrorMessageExpired, "")
	case d.Expiration-now > uint64(maxDiagnosticLifetime.Milliseconds()):
		// RFC 7851 §5.1: "between 1 and 600 seconds in the future": later ones could be replayed for ever.
		return wire.NewError(wire.ErrorInvalidMessage, "expiration too far ahead")
	case d.Flags != wire.DiagnosticAll && d.Flags&wire.DiagnosticReserved != 0:
		// RFC 7851 §5.3: "the first and last bits [...] MUST be set to 0 when other particular diagnostic Kind IDs are
		// requested".
		return wire.NewError(wire.ErrorInvalidMessage, "reserved flag")
	}
	for _, x := range d.Extensions {
		if x.Kind <= wire.LastBaseKind {
			// RFC 7851 §5.1: "Kinds from 0x0000 to 0x003f MUST NOT be indicated in the diagnostic_extensions_list".
			return wire.NewError(wire.ErrorInvalidMessage, "kind has a flag")
		}
	}
	return nil
}

// asked lists the kinds that a request asks for: those of the flags, ascending, then those of the extensions. Flags that
// no kind has been assigned to ask for nothing.
func asked(d *wire.DiagnosticsRequest) []wire.DiagnosticKind {
	var kinds []wire.DiagnosticKind
	for k := wire.DiagnosticStatusInfo; k <= wire.DiagnosticBatteryStatus; k++ {
		if d.Flags&k.Flag() != 0 {
			kinds = append(kinds, k)
		}
	}
	for _, x := range d.Extensions[:min(len(d.Extensions), maxDiagnostics)] {
		kinds = append(kinds, x.Kind)
	}
	return kinds
}

// diagnostic is what is known of one kind; false when it is nothing, and then it is left out of the response.
func (n *Node) diagnostic(k wire.DiagnosticKind) (wire.DiagnosticInfo, bool) {
	switch k {
	case wire.DiagnosticStatusInfo:
		// RFC 7851 §5.3: "16 levels of congestion status": ours is how full the table of work in hand is.
		return wire.NewDiagnosticNumber(k, uint64(min(15, 16*len(n.jobs)/maxJobs))), true
	case wire.DiagnosticRoutingTableSize:
		return wire.NewDiagnosticNumber(k, uint64(n.routingTableSize())), true
	case wire.DiagnosticAppUptime:
		return wire.NewDiagnosticNumber(k, uint64(n.uptime())), true
	case wire.DiagnosticSoftwareVersion:
		return wire.NewDiagnosticText(k, n.c.Software), n.c.Software != ""
	case wire.DiagnosticInstancesStored:
		var list []wire.InstanceCount
		for kind, count := range n.store.Count() {
			list = append(list, wire.InstanceCount{Kind: kind, Count: uint64(count)})
		}
		slices.SortFunc(list, func(a, b wire.InstanceCount) int { return cmp.Compare(a.Kind, b.Kind) })
		return wire.NewDiagnosticInstances(list), true
	}
	return wire.DiagnosticInfo{}, false
}

// routingTableSize is "the number of peers in the peer's routing table" (RFC 7851 §5.3).
func (n *Node) routingTableSize() int {
	peers := make(map[wire.NodeID]bool)
	for _, l := range [][]wire.NodeID{n.ring.Predecessors(), n.ring.Successors(), n.ring.Fingers()} {
		for _, id := range l {
			peers[id] = true
		}
	}
	return len(peers)
}

// endsDiagnostics answers a diagnostic request on its way through that must not go on (RFC 7851 §6.2). Answers are not
// examined: an error in place of an answer has nobody to go to.
func (n *Node) endsDiagnostics(c *conn, h *wire.Header, rest []byte, next wire.Destination) bool {
	e := n.transitDiagnostics(c, h, rest, next)
	if e == nil {
		return false
	}
	n.drop(c.node, DropDiagnostics)
	n.refuseTransit(c, h, rest, e.ErrorCode, string(e.Info))
	return true
}

// transitDiagnostics says with which error a diagnostic request ends here; nil when it goes on.
func (n *Node) transitDiagnostics(c *conn, h *wire.Header, rest []byte, next wire.Destination) *wire.Error {
	switch codeOf(rest) {
	case wire.CodePathTrackReq, wire.CodePingReq:
	default:
		return nil
	}
	d := n.schema.PeekDiagnostics(rest)
	switch {
	case d == nil:
		return nil
	case d.Expiration <= uint64(n.now.UnixMilli()):
		return wire.NewError(wire.ErrorMessageExpired, "")
	case h.TTL == 0:
		// Deviation: RFC 6940 §6.3.2 has Error_TTL_Exceeded for this; RFC 7851 §6.2 has another for diagnostic requests.
		return wire.NewError(wire.ErrorTTLHopsExceeded, "")
	case hasNode(h.Via, n.c.Self):
		return wire.NewError(wire.ErrorLoopDetected, n.c.Self.String())
	case n.misrouted(c, next):
		// RFC 7851 §6.2: "The immediate upstream peer information MUST also be conveyed to the initiator node."
		return wire.NewError(wire.ErrorUpstreamMisrouting, c.node.String())
	}
	return nil
}

func hasNode(l wire.DestinationList, id wire.NodeID) bool {
	for d := range l.All() {
		if d.Type == wire.DestNode && d.Node == id {
			return true
		}
	}
	return false
}

// misrouted reports whether the neighbour that sent us a message for d is responsible for d itself, as far as we know:
// we would send it back.
func (n *Node) misrouted(c *conn, d wire.Destination) bool {
	at, ok := point(d)
	if !ok || !n.member() || d.Type == wire.DestNode && n.Connected(d.Node) {
		return false
	}
	return n.peers[c.node].ready && n.ring.Owner(at) == c.node
}
