package wire

import (
	"encoding/binary"
	"fmt"
)

// begin leaves room for a length of width octets; finish fills it in when the vector is complete. Nothing is copied.
func begin(b []byte, width int) (grown []byte, at int) {
	return append(b, make([]byte, width)...), len(b)
}

// finish panics when the vector does not fit its length. Parsed structures always fit: a program that builds one
// that does not is wrong, and no peer can make it do so.
func finish(b []byte, at, width int, name string) []byte {
	n := len(b) - at - width
	checkFit(n, width, name)
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	return b
}

func checkFit(n, width int, name string) {
	if uint64(n) >= 1<<(8*width) {
		panic(fmt.Sprintf("wire: %s: %d octets do not fit a length of %d octets", name, n, width))
	}
}

// appendVec appends an opaque vector with a length of width octets.
func appendVec[T ~[]byte | ~string](b []byte, width int, v T, name string) []byte {
	b, at := begin(b, width)
	return finish(append(b, v...), at, width, name)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendNodeIDs(b []byte, ids []NodeID, name string) []byte {
	b, at := begin(b, 2)
	for _, id := range ids {
		b = id.AppendTo(b)
	}
	return finish(b, at, 2, name)
}

func append16[T ~uint16](b []byte, v T) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func append32[T ~uint32](b []byte, v T) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func append64[T ~uint64](b []byte, v T) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }
