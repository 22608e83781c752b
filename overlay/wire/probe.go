package wire

import "strconv"

// Probe information types (RFC 6940 §6.4.2.5.1, §14.13).
const (
	ProbeResponsibleSet uint8 = 1 // parts per billion of the overlay
	ProbeNumResources   uint8 = 2
	ProbeUptime         uint8 = 3 // seconds
)

// ProbeName is the name that RFC 6940 §14.13 gives a probe information type, "uptime", or "probe9" for an unknown one.
func ProbeName(t uint8) string {
	switch t {
	case ProbeResponsibleSet:
		return "responsible_set"
	case ProbeNumResources:
		return "num_resources"
	case ProbeUptime:
		return "uptime"
	}
	return "probe" + strconv.Itoa(int(t))
}

// ProbeReq asks for some of a peer's state (RFC 6940 §6.4.2.5).
//
//	requested_info v8 of u8
type ProbeReq struct{ Requested []uint8 }

// ProbeInfo is one item of a ProbeAns. Known types are 1 responsible_set (ppb), 2 num_resources, 3 uptime (seconds).
//
//	type u8 · length u8 · value u32
type ProbeInfo struct {
	Type  uint8
	Value uint32
	Raw   []byte // the value of an unknown type
}

// ProbeAns answers a ProbeReq.
//
//	probe_info v16
type ProbeAns struct{ Info []ProbeInfo }

// PingReq tests connectivity (RFC 6940 §6.5.3).
//
//	padding v16
type PingReq struct{ Padding []byte }

// PingAns answers it.
//
//	response_id u64 · time u64
type PingAns struct {
	ResponseID uint64
	Time       uint64 // ms since 1970
}

// Code is probe_req.
func (*ProbeReq) Code() MessageCode { return CodeProbeReq }

// Code is probe_ans.
func (*ProbeAns) Code() MessageCode { return CodeProbeAns }

// Code is ping_req.
func (*PingReq) Code() MessageCode { return CodePingReq }

// Code is ping_ans.
func (*PingAns) Code() MessageCode { return CodePingAns }

func (p *ProbeReq) parse(c *cursor) { p.Requested = c.vec(1, "ProbeReq.requested_info") }

func (p *ProbeReq) appendTo(b []byte) []byte {
	return appendVec(b, 1, p.Requested, "ProbeReq.requested_info")
}

func (p *ProbeAns) parse(c *cursor) {
	outer := c.open(2, "ProbeAns.probe_info")
	for c.more() {
		p.Info = append(p.Info, c.probeInfo())
	}
	c.shut(outer, "ProbeAns.probe_info")
}

// numeric reports whether the value of a probe information type is a 32-bit unsigned integer.
func numeric(t uint8) bool { return t >= ProbeResponsibleSet && t <= ProbeUptime }

func (c *cursor) probeInfo() ProbeInfo {
	i := ProbeInfo{Type: c.u8("ProbeInformation.type")}
	outer := c.open(1, "ProbeInformation.length")
	if numeric(i.Type) {
		i.Value = c.u32("ProbeInformation.value")
	} else {
		// RFC 6940 §6.4.2.5.2: "This structure allows for unknown option types."
		i.Raw = c.rest("ProbeInformation.value")
	}
	c.shut(outer, "ProbeInformation.value")
	return i
}

func (p *ProbeAns) appendTo(b []byte) []byte {
	b, at := begin(b, 2)
	for _, i := range p.Info {
		b = append(b, i.Type)
		if numeric(i.Type) {
			b = append32(append(b, 4), i.Value)
		} else {
			b = appendVec(b, 1, i.Raw, "ProbeInformation.value")
		}
	}
	return finish(b, at, 2, "ProbeAns.probe_info")
}

func (p *PingReq) parse(c *cursor)          { p.Padding = c.vec(2, "PingReq.padding") }
func (p *PingReq) appendTo(b []byte) []byte { return appendVec(b, 2, p.Padding, "PingReq.padding") }

func (p *PingAns) parse(c *cursor) {
	p.ResponseID = c.u64("PingAns.response_id")
	p.Time = c.u64("PingAns.time")
}

func (p *PingAns) appendTo(b []byte) []byte { return append64(append64(b, p.ResponseID), p.Time) }
