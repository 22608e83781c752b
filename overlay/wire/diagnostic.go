package wire

import "strconv"

// ExtensionDiagnosticPing is the type of the MessageExtension that makes a Ping a diagnostic one: DiagnosticsRequest in
// the request, DiagnosticsResponse in the answer (RFC 7851 §4.2.1, §9.5).
const ExtensionDiagnosticPing uint16 = 0x2

// DiagnosticKind is a DiagnosticKindId (RFC 7851 §9.2).
type DiagnosticKind uint16

// The kinds that have a flag (RFC 7851 §5.3, §9.2).
const (
	DiagnosticStatusInfo          DiagnosticKind = 0x1 // u8, 0 to 15: congestion
	DiagnosticRoutingTableSize    DiagnosticKind = 0x2 // u32, peers
	DiagnosticProcessPower        DiagnosticKind = 0x3 // u64, MIPS
	DiagnosticUpstreamBandwidth   DiagnosticKind = 0x4 // u64, kbit/s
	DiagnosticDownstreamBandwidth DiagnosticKind = 0x5 // u64, kbit/s
	DiagnosticSoftwareVersion     DiagnosticKind = 0x6 // US-ASCII, ended by NUL
	DiagnosticMachineUptime       DiagnosticKind = 0x7 // u64, seconds
	DiagnosticAppUptime           DiagnosticKind = 0x8 // u64, seconds
	DiagnosticMemoryFootprint     DiagnosticKind = 0x9 // u64, KB
	DiagnosticDatasizeStored      DiagnosticKind = 0xa // u64, octets
	DiagnosticInstancesStored     DiagnosticKind = 0xb // array: u32 Kind-ID and u64, packed
	DiagnosticMessagesSentRcvd    DiagnosticKind = 0xc // array: u16 method code and two u64, packed
	DiagnosticEWMABytesSent       DiagnosticKind = 0xd // u32, octets a second
	DiagnosticEWMABytesRcvd       DiagnosticKind = 0xe // u32, octets a second
	DiagnosticUnderlayHop         DiagnosticKind = 0xf // u8, IP hops to the next peer
	DiagnosticBatteryStatus       DiagnosticKind = 0x10
)

// Values of dMFlags and the bounds of kinds (RFC 7851 §5.1, §5.3).
const (
	// DiagnosticAll is the dMFlags that ask for everything.
	DiagnosticAll = ^uint64(0)
	// DiagnosticReserved are the first and last bit: set in DiagnosticAll only.
	DiagnosticReserved = uint64(1)<<63 | 1
	// lastFlagKind is the last kind that has or will have a flag.
	lastFlagKind DiagnosticKind = 0x3e
	// LastBaseKind is the last kind that must not be in a diagnostic_extensions_list: it has a flag, or is reserved.
	LastBaseKind DiagnosticKind = 0x3f
)

// diagnosticKinds holds the name of each kind and the size of its value in octets; 0 for one that is no number.
var diagnosticKinds = map[DiagnosticKind]struct {
	name string
	size int
}{
	DiagnosticStatusInfo:          {"STATUS_INFO", 1},
	DiagnosticRoutingTableSize:    {"ROUTING_TABLE_SIZE", 4},
	DiagnosticProcessPower:        {"PROCESS_POWER", 8},
	DiagnosticUpstreamBandwidth:   {"UPSTREAM_BANDWIDTH", 8},
	DiagnosticDownstreamBandwidth: {"DOWNSTREAM_BANDWIDTH", 8},
	DiagnosticSoftwareVersion:     {"SOFTWARE_VERSION", 0},
	DiagnosticMachineUptime:       {"MACHINE_UPTIME", 8},
	DiagnosticAppUptime:           {"APP_UPTIME", 8},
	DiagnosticMemoryFootprint:     {"MEMORY_FOOTPRINT", 8},
	DiagnosticDatasizeStored:      {"DATASIZE_STORED", 8},
	DiagnosticInstancesStored:     {"INSTANCES_STORED", 0},
	DiagnosticMessagesSentRcvd:    {"MESSAGES_SENT_RCVD", 0},
	DiagnosticEWMABytesSent:       {"EWMA_BYTES_SENT", 4},
	DiagnosticEWMABytesRcvd:       {"EWMA_BYTES_RCVD", 4},
	DiagnosticUnderlayHop:         {"UNDERLAY_HOP", 1},
	DiagnosticBatteryStatus:       {"BATTERY_STATUS", 1},
}

// String is the name that RFC 7851 §9.2 gives the kind, "APP_UPTIME", or "diagnostic0x11" for an unknown one.
func (k DiagnosticKind) String() string {
	if d, ok := diagnosticKinds[k]; ok {
		return d.name
	}
	return "diagnostic0x" + strconv.FormatUint(uint64(k), 16)
}

// Flag is the bit of dMFlags that asks for k: bit n for kind n (RFC 7851 §9.1). It is 0 for a kind without one.
func (k DiagnosticKind) Flag() uint64 {
	if k == 0 || k > lastFlagKind {
		return 0
	}
	return 1 << k
}

// DiagnosticExtension asks for a kind that has no flag (RFC 7851 §5.1).
//
//	kind u16 · diagnostic_extension_contents v32
type DiagnosticExtension struct {
	Kind     DiagnosticKind
	Contents []byte
}

// DiagnosticsRequest asks a node for diagnostic information (RFC 7851 §5.1).
//
//	expiration u64 · timestamp_initiated u64 · dMFlags u64 · ext_length u32 · diagnostic_extensions_list v32
type DiagnosticsRequest struct {
	Expiration uint64 // ms since 1970
	Initiated  uint64 // ms since 1970
	Flags      uint64 // dMFlags: bit n asks for kind n
	Extensions []DiagnosticExtension
}

// DiagnosticInfo is one item of a DiagnosticsResponse (RFC 7851 §5.2).
//
//	kind u16 · diagnostic_info_contents v16
type DiagnosticInfo struct {
	Kind     DiagnosticKind
	Contents []byte
}

// DiagnosticsResponse answers it (RFC 7851 §5.2).
//
//	expiration u64 · timestamp_initiated u64 · timestamp_received u64 · hop_counter u8 · ext_length u32 ·
//	diagnostic_info_list v32
type DiagnosticsResponse struct {
	Expiration uint64 // ms since 1970
	Initiated  uint64 // ms since 1970, copied from the request
	Received   uint64 // ms since 1970
	HopCounter uint8  // the ttl of the request as it arrived
	Info       []DiagnosticInfo
}

// PathTrackReq asks a node for its next hop towards a destination, and for diagnostic information (RFC 7851 §4.3.1.1).
//
//	destination · request DiagnosticsRequest
type PathTrackReq struct {
	Destination Destination
	Request     DiagnosticsRequest
}

// PathTrackAns answers it. NextHop is the answering node itself when it is responsible for the destination (RFC 7851
// §4.3.1.2).
//
//	next_hop Destination · response DiagnosticsResponse
type PathTrackAns struct {
	NextHop  Destination
	Response DiagnosticsResponse
}

// Code is path_track_req.
func (*PathTrackReq) Code() MessageCode { return CodePathTrackReq }

// Code is path_track_ans.
func (*PathTrackAns) Code() MessageCode { return CodePathTrackAns }

func (p *PathTrackReq) parse(c *cursor) {
	if t, value := c.destination("PathTrackReq.destination", true); c.err == nil {
		p.Destination = t.destination(value)
	}
	p.Request.parse(c)
}

func (p *PathTrackReq) appendTo(b []byte) []byte {
	return p.Request.AppendTo(p.Destination.AppendTo(b))
}

func (p *PathTrackAns) parse(c *cursor) {
	if t, value := c.destination("PathTrackAns.next_hop", true); c.err == nil {
		p.NextHop = t.destination(value)
	}
	p.Response.parse(c)
}

func (p *PathTrackAns) appendTo(b []byte) []byte { return p.Response.AppendTo(p.NextHop.AppendTo(b)) }

func (d *DiagnosticsRequest) parse(c *cursor) {
	d.Expiration = c.u64("DiagnosticsRequest.expiration")
	d.Initiated = c.u64("DiagnosticsRequest.timestamp_initiated")
	d.Flags = c.u64("DiagnosticsRequest.dMFlags")
	outer := c.openTwice("DiagnosticsRequest.ext_length", "DiagnosticsRequest.diagnostic_extensions_list")
	for c.more() {
		d.Extensions = append(d.Extensions, DiagnosticExtension{
			Kind:     DiagnosticKind(c.u16("DiagnosticExtension.kind")),
			Contents: c.vec(4, "DiagnosticExtension.diagnostic_extension_contents"),
		})
	}
	c.shut(outer, "DiagnosticsRequest.diagnostic_extensions_list")
}

// AppendTo appends the encoded structure.
func (d *DiagnosticsRequest) AppendTo(b []byte) []byte {
	b = append64(append64(append64(b, d.Expiration), d.Initiated), d.Flags)
	b, at := begin(b, 8)
	for _, e := range d.Extensions {
		b = appendVec(append16(b, e.Kind), 4, e.Contents, "DiagnosticExtension.diagnostic_extension_contents")
	}
	return finishTwice(b, at, "DiagnosticsRequest.diagnostic_extensions_list")
}

func (d *DiagnosticsResponse) parse(c *cursor) {
	d.Expiration = c.u64("DiagnosticsResponse.expiration")
	d.Initiated = c.u64("DiagnosticsResponse.timestamp_initiated")
	d.Received = c.u64("DiagnosticsResponse.timestamp_received")
	d.HopCounter = c.u8("DiagnosticsResponse.hop_counter")
	outer := c.openTwice("DiagnosticsResponse.ext_length", "DiagnosticsResponse.diagnostic_info_list")
	for c.more() {
		d.Info = append(d.Info, DiagnosticInfo{
			Kind:     DiagnosticKind(c.u16("DiagnosticInfo.kind")),
			Contents: c.vec(2, "DiagnosticInfo.diagnostic_info_contents"),
		})
	}
	c.shut(outer, "DiagnosticsResponse.diagnostic_info_list")
}

// AppendTo appends the encoded structure.
func (d *DiagnosticsResponse) AppendTo(b []byte) []byte {
	b = append(append64(append64(append64(b, d.Expiration), d.Initiated), d.Received), d.HopCounter)
	b, at := begin(b, 8)
	for _, i := range d.Info {
		b = appendVec(append16(b, i.Kind), 2, i.Contents, "DiagnosticInfo.diagnostic_info_contents")
	}
	return finishTwice(b, at, "DiagnosticsResponse.diagnostic_info_list")
}

// openTwice enters a list whose length stands there twice: RFC 7851 §5.1 has an ext_length, "the data making up the
// diagnostic_extensions_list", in front of a vector that has its own.
//
// Deviation: two lengths that differ are refused; the RFC does not say which would count.
func (c *cursor) openTwice(length, list string) (outer int) {
	at := c.off
	n := c.u32(length)
	outer = c.open(4, list)
	if c.err == nil && uint64(c.end-c.off) != uint64(n) {
		c.off = at
		c.fail(length, ErrTwoLengths)
	}
	return outer
}

func finishTwice(b []byte, at int, name string) []byte {
	b = finish(b, at+4, 4, name)
	copy(b[at:at+4], b[at+4:at+8])
	return b
}
