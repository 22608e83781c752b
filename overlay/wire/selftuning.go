package wire

// ExtensionSelfTuning is the type of the MessageExtension self_tuning_data, which a Probe and its answer carry (RFC 7363 §6.5,
// §9.1).
const ExtensionSelfTuning uint16 = 0x3

// SelfTuningData is what a peer has found out about the overlay by itself (RFC 7363 §6.5).
//
//	network_size u32 · join_rate u32 · leave_rate u32
type SelfTuningData struct {
	NetworkSize uint32 // peers
	JoinRate    uint32 // per 24 hours
	LeaveRate   uint32 // per 24 hours
}

// AppendTo appends the encoded structure.
func (d SelfTuningData) AppendTo(b []byte) []byte {
	return append32(append32(append32(b, d.NetworkSize), d.JoinRate), d.LeaveRate)
}

// ParseSelfTuningData reads the contents of a self_tuning_data. The error is a *SyntaxError.
func ParseSelfTuningData(b []byte) (SelfTuningData, error) {
	c := newCursor(b)
	d := SelfTuningData{
		NetworkSize: c.u32("SelfTuningData.network_size"),
		JoinRate:    c.u32("SelfTuningData.join_rate"),
		LeaveRate:   c.u32("SelfTuningData.leave_rate"),
	}
	return d, c.done("SelfTuningData")
}

// SelfTuning is what a ProbeReq or a ProbeAns says of the overlay. It is nil for all other messages, and for those without the
// extension. The error is a *SyntaxError.
func (m *Message) SelfTuning() (*SelfTuningData, error) {
	switch m.Body.(type) {
	case *ProbeReq, *ProbeAns:
	default:
		return nil, nil
	}
	x := m.extension(ExtensionSelfTuning)
	if x == nil {
		return nil, nil
	}
	d, err := ParseSelfTuningData(x.Contents)
	if err != nil {
		return nil, err
	}
	return &d, nil
}
