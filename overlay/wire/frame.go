package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// FrameType is the type of a FramedMessage (RFC 6940 §6.6.2).
type FrameType uint8

// The frame types (RFC 6940 §6.6.2).
const (
	FrameData FrameType = 128
	FrameAck  FrameType = 129
)

// Frame is a FramedMessage (RFC 6940 §6.6.2).
//
//	type u8 · sequence u32 · message v24
//	type u8 · ack_sequence u32 · received u32
type Frame struct {
	Type     FrameType
	Sequence uint32 // of this frame or, in an ACK, of the frame that is acknowledged
	Message  []byte // data: a whole RELOAD message or fragment, never empty
	Received uint32 // ack: see Received.Add
}

var (
	// ErrShort means that a frame is not complete: read more.
	ErrShort = errors.New("wire: FramedMessage: not complete")
	// ErrFrame means that the octets are no frame: the link is to be closed.
	ErrFrame = errors.New("wire: FramedMessage")
	// ErrFrameSize means a message that is larger than allowed (RFC 6940 §6.6).
	ErrFrameSize = errors.New("wire: FramedMessage: message larger than max-message-size")
)

// ParseFrame reads the first frame of b and returns its size in octets. The message aliases b.
//
// The error is ErrShort when b does not hold a whole frame; n is then how many octets are needed to get on. It is
// ErrFrameSize when the message has more than max octets, without waiting for all of them; f.Message is then as
// much of it as there is, so that the caller can find whom to tell, and n is the size of the whole frame. It wraps
// ErrFrame when b starts with no frame.
func ParseFrame(b []byte, max int) (f Frame, n int, err error) {
	if len(b) == 0 {
		return f, 1, ErrShort
	}
	switch f.Type = FrameType(b[0]); f.Type {
	case FrameAck:
		return parseAck(f, b)
	case FrameData:
		return parseData(f, b, max)
	}
	return Frame{}, 0, fmt.Errorf("%w: type %d", ErrFrame, b[0])
}

func parseAck(f Frame, b []byte) (Frame, int, error) {
	if len(b) < AckFrameLen {
		return Frame{}, AckFrameLen, ErrShort
	}
	f.Sequence = binary.BigEndian.Uint32(b[1:])
	f.Received = binary.BigEndian.Uint32(b[5:])
	return f, AckFrameLen, nil
}

func parseData(f Frame, b []byte, max int) (Frame, int, error) {
	if len(b) < DataFrameOverhead {
		return Frame{}, DataFrameOverhead, ErrShort
	}
	f.Sequence = binary.BigEndian.Uint32(b[1:])
	size := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
	n := DataFrameOverhead + size
	switch {
	case size == 0:
		return Frame{}, 0, fmt.Errorf("%w: no message", ErrFrame)
	case size > max:
		f.Message = b[DataFrameOverhead:min(n, len(b))]
		return f, n, ErrFrameSize
	case len(b) < n:
		return Frame{}, n, ErrShort
	}
	f.Message = b[DataFrameOverhead:n:n]
	return f, n, nil
}

// AppendData appends a data frame. A message has at most 2^24-1 octets; a longer one is a programming error and panics.
func AppendData(b []byte, seq uint32, msg []byte) []byte {
	return appendVec(append32(append(b, byte(FrameData)), seq), 3, msg, "FramedMessage.message")
}

// AppendAck appends an ACK frame.
func AppendAck(b []byte, seq, received uint32) []byte {
	return append32(append32(append(b, byte(FrameAck)), seq), received)
}

// Received remembers the 32 sequence numbers that came last on one connection. The zero value is ready. It is not
// safe for concurrent use.
type Received struct {
	recent [receivedWindow]uint32
	n      int // how many there were, at most 2*receivedWindow: where the next one goes, modulo receivedWindow
}

// Add notes the arrival of a data frame and returns the received field of its ACK.
func (r *Received) Add(seq uint32) (received uint32) {
	// RFC 6940 §6.6.2: "For each of the previous 32 packets, if the sequence number M is less than N but greater
	// than N-32, the N-M bit of the received bitmask is set to one". The bit for N-1 is the least significant one;
	// numbers wrap.
	for _, m := range r.recent[:min(r.n, receivedWindow)] {
		if d := seq - m; d >= 1 && d < receivedWindow {
			received |= 1 << (d - 1)
		}
	}
	r.recent[r.n%receivedWindow] = seq
	if r.n++; r.n == 2*receivedWindow {
		r.n = receivedWindow
	}
	return received
}
