package wire

// JoinReq asks the admitting peer to let the sender into the ring (RFC 6940 §6.4.2.1).
//
//	joining_peer_id NodeId · overlay_specific_data v16
type JoinReq struct {
	Joining         NodeID
	OverlaySpecific []byte
}

// JoinAns answers it.
//
//	overlay_specific_data v16
type JoinAns struct{ OverlaySpecific []byte }

// LeaveReq announces a departure (RFC 6940 §6.4.2.2); OverlaySpecific holds a ChordLeave under CHORD-RELOAD.
//
//	leaving_peer_id NodeId · overlay_specific_data v16
type LeaveReq struct {
	Leaving         NodeID
	OverlaySpecific []byte
}

// LeaveAns answers it; it is empty.
type LeaveAns struct{}

// ChordUpdateType is the type of a ChordUpdate (RFC 6940 §10.7).
type ChordUpdateType uint8

// The ChordUpdate types (RFC 6940 §10.7).
const (
	ChordPeerReady ChordUpdateType = 1
	ChordNeighbors ChordUpdateType = 2
	ChordFull      ChordUpdateType = 3
)

// UpdateReq is the UpdateReq of CHORD-RELOAD (RFC 6940 §6.4.2.3, §10.7).
//
//	uptime u32 · type u8 · [predecessors v16 · successors v16 · [fingers v16]]
type UpdateReq struct {
	Uptime       uint32 // seconds
	Type         ChordUpdateType
	Predecessors []NodeID // neighbors and full
	Successors   []NodeID // neighbors and full
	Fingers      []NodeID // full
}

// UpdateAns answers it; it is empty.
type UpdateAns struct{}

// RouteQueryReq asks for the next hop towards a destination (RFC 6940 §6.4.2.4).
//
//	send_update u8 · destination · overlay_specific_data v16
type RouteQueryReq struct {
	SendUpdate      bool
	Destination     Destination
	OverlaySpecific []byte
}

// RouteQueryAns is the answer of CHORD-RELOAD (RFC 6940 §10.8).
//
//	next_peer NodeId
type RouteQueryAns struct{ NextPeer NodeID }

// Code is join_req.
func (*JoinReq) Code() MessageCode { return CodeJoinReq }

// Code is join_ans.
func (*JoinAns) Code() MessageCode { return CodeJoinAns }

// Code is leave_req.
func (*LeaveReq) Code() MessageCode { return CodeLeaveReq }

// Code is leave_ans.
func (*LeaveAns) Code() MessageCode { return CodeLeaveAns }

// Code is update_req.
func (*UpdateReq) Code() MessageCode { return CodeUpdateReq }

// Code is update_ans.
func (*UpdateAns) Code() MessageCode { return CodeUpdateAns }

// Code is route_query_req.
func (*RouteQueryReq) Code() MessageCode { return CodeRouteQueryReq }

// Code is route_query_ans.
func (*RouteQueryAns) Code() MessageCode { return CodeRouteQueryAns }

func (j *JoinReq) parse(c *cursor) {
	j.Joining = c.nodeID("JoinReq.joining_peer_id")
	j.OverlaySpecific = c.vec(2, "JoinReq.overlay_specific_data")
}

func (j *JoinReq) appendTo(b []byte) []byte {
	return appendVec(j.Joining.AppendTo(b), 2, j.OverlaySpecific, "JoinReq.overlay_specific_data")
}

func (j *JoinAns) parse(c *cursor) { j.OverlaySpecific = c.vec(2, "JoinAns.overlay_specific_data") }

func (j *JoinAns) appendTo(b []byte) []byte {
	return appendVec(b, 2, j.OverlaySpecific, "JoinAns.overlay_specific_data")
}

func (l *LeaveReq) parse(c *cursor) {
	l.Leaving = c.nodeID("LeaveReq.leaving_peer_id")
	l.OverlaySpecific = c.vec(2, "LeaveReq.overlay_specific_data")
}

func (l *LeaveReq) appendTo(b []byte) []byte {
	return appendVec(l.Leaving.AppendTo(b), 2, l.OverlaySpecific, "LeaveReq.overlay_specific_data")
}

func (*LeaveAns) parse(*cursor)             {}
func (*LeaveAns) appendTo(b []byte) []byte  { return b }
func (*UpdateAns) parse(*cursor)            {}
func (*UpdateAns) appendTo(b []byte) []byte { return b }

func (u *UpdateReq) parse(c *cursor) {
	u.Uptime = c.u32("ChordUpdate.uptime")
	at := c.off
	u.Type = ChordUpdateType(c.u8("ChordUpdate.type"))
	switch u.Type {
	case ChordPeerReady:
		return
	case ChordNeighbors, ChordFull:
	default:
		c.off = at
		c.fail("ChordUpdate.type", ErrSelector)
	}
	u.Predecessors = c.nodeIDs("ChordUpdate.predecessors")
	u.Successors = c.nodeIDs("ChordUpdate.successors")
	if u.Type == ChordFull {
		u.Fingers = c.nodeIDs("ChordUpdate.fingers")
	}
}

func (u *UpdateReq) appendTo(b []byte) []byte {
	b = append(append32(b, u.Uptime), byte(u.Type))
	if u.Type == ChordPeerReady {
		return b
	}
	b = appendNodeIDs(b, u.Predecessors, "ChordUpdate.predecessors")
	b = appendNodeIDs(b, u.Successors, "ChordUpdate.successors")
	if u.Type == ChordFull {
		b = appendNodeIDs(b, u.Fingers, "ChordUpdate.fingers")
	}
	return b
}

func (r *RouteQueryReq) parse(c *cursor) {
	r.SendUpdate = c.boolean("RouteQueryReq.send_update")
	if t, value := c.destination("RouteQueryReq.destination", true); c.err == nil {
		r.Destination = t.destination(value)
	}
	r.OverlaySpecific = c.vec(2, "RouteQueryReq.overlay_specific_data")
}

func (r *RouteQueryReq) appendTo(b []byte) []byte {
	b = r.Destination.AppendTo(appendBool(b, r.SendUpdate))
	return appendVec(b, 2, r.OverlaySpecific, "RouteQueryReq.overlay_specific_data")
}

func (r *RouteQueryAns) parse(c *cursor)          { r.NextPeer = c.nodeID("RouteQueryAns.next_peer") }
func (r *RouteQueryAns) appendTo(b []byte) []byte { return r.NextPeer.AppendTo(b) }

// ChordLeave types (RFC 6940 §10.9): what the sender is to the recipient.
const (
	LeaveFromSucc uint8 = 1
	LeaveFromPred uint8 = 2
)

// ChordLeave is the ChordLeaveData of a LeaveReq (RFC 6940 §10.9).
//
//	type u8 · successors | predecessors v16
type ChordLeave struct {
	Type  uint8    // 1 from_succ, 2 from_pred
	Nodes []NodeID // the sender's successors or predecessors
}

// ParseChordLeave reads LeaveReq.OverlaySpecific. The error is a *SyntaxError.
func (s *Schema) ParseChordLeave(b []byte) (ChordLeave, error) {
	c := s.cursor(b)
	l := ChordLeave{Type: c.u8("ChordLeaveData.type")}
	if l.Type != LeaveFromSucc && l.Type != LeaveFromPred {
		c.off = 0
		c.fail("ChordLeaveData.type", ErrSelector)
	}
	l.Nodes = c.nodeIDs("ChordLeaveData.nodes")
	return l, c.done("ChordLeaveData")
}

// AppendTo appends the encoded structure.
func (l *ChordLeave) AppendTo(b []byte) []byte {
	return appendNodeIDs(append(b, l.Type), l.Nodes, "ChordLeaveData.nodes")
}
