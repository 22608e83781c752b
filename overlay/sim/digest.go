package sim

import "math/bits"

// digest is a hash of a sequence of numbers: it tells whether two runs were the same, and withstands nobody.
type digest uint64

func newDigest() digest { return 0x9e37_79b9_7f4a_7c15 }

func (d *digest) add(x uint64) {
	hi, lo := bits.Mul64(uint64(*d)^x^0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db)
	*d = digest(bits.RotateLeft64(hi^lo, 23) + x)
}
