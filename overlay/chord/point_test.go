package chord

import (
	"math/big"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

var modulus = new(big.Int).Lsh(big.NewInt(1), Bits)

func points() *rapid.Generator[Point] {
	return rapid.Custom(func(t *rapid.T) Point {
		return Point{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
	})
}

func number(p Point) *big.Int {
	n := new(big.Int).SetUint64(p.hi)
	return n.Add(n.Lsh(n, 64), new(big.Int).SetUint64(p.lo))
}

func TestPointArithmeticIsModulo2To128(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := points().Draw(t, "p"), points().Draw(t, "q")
		sum, difference := new(big.Int).Add(number(p), number(q)), new(big.Int).Sub(number(p), number(q))
		if got := number(p.Add(q)); got.Cmp(sum.Mod(sum, modulus)) != 0 {
			t.Errorf("%v + %v = %v, want %v", p, q, got, sum)
		}
		if got := number(p.Sub(q)); got.Cmp(difference.Mod(difference, modulus)) != 0 {
			t.Errorf("%v - %v = %v, want %v", p, q, got, difference)
		}
		if got, want := p.Less(q), number(p).Cmp(number(q)) < 0; got != want {
			t.Errorf("%v < %v is %v", p, q, got)
		}
		if got := p.Add(q).Sub(q); got != p {
			t.Errorf("p + q - q = %v, want %v", got, p)
		}
	})
}

func TestPointWithinIsHalfOpenAndWraps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, from, to := points().Draw(t, "p"), points().Draw(t, "from"), points().Draw(t, "to")
		x, a, b := number(p), number(from), number(to)
		var want bool
		switch a.Cmp(b) {
		case 0:
			want = true
		case -1:
			want = a.Cmp(x) < 0 && x.Cmp(b) <= 0
		default:
			want = a.Cmp(x) < 0 || x.Cmp(b) <= 0
		}
		if got := p.Within(from, to); got != want {
			t.Errorf("%v in (%v, %v] is %v", p, from, to, got)
		}
	})
}

func TestPointIsTheResourceIDItNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := points().Draw(t, "p")
		r := p.Resource()
		if back, ok := PointOfResource(r); !ok || back != p {
			t.Errorf("%v became %v", p, back)
		}
		id, err := wire.NodeIDFromBytes([]byte(r))
		if err != nil || PointOf(id) != p {
			t.Errorf("as a Node-ID it is at %v, %v", PointOf(id), err)
		}
	})
	if _, ok := PointOfResource("too short"); ok {
		t.Error("a Resource-ID of 9 octets has a position")
	}
}

func TestPowerOfTwo(t *testing.T) {
	for n := range Bits {
		if got, want := number(Power(n)), new(big.Int).Lsh(big.NewInt(1), uint(n)); got.Cmp(want) != 0 {
			t.Errorf("2^%d = %v", n, got)
		}
	}
}
