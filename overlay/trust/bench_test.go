package trust_test

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func eachKeyType(b *testing.B, bench func(b *testing.B, w *world)) {
	for _, kt := range []trust.KeyType{trust.P256, trust.RSA2048} {
		b.Run(string(kt), func(b *testing.B) { bench(b, newWorld(b, kt)) })
	}
}

func BenchmarkSeal(b *testing.B) {
	eachKeyType(b, func(b *testing.B, w *world) {
		req := storeReq("alice@example.org", w.value(b, w.alice))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.alice.Seal(&wire.Message{Header: w.header(), Body: req}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSignValue(b *testing.B) {
	eachKeyType(b, func(b *testing.B, w *world) {
		b.ReportAllocs()
		for b.Loop() {
			w.value(b, w.alice)
		}
	})
}

// BenchmarkVerify checks a StoreReq with one value. The chain of the certificate and the signature of the value are known.
func BenchmarkVerify(b *testing.B) {
	eachKeyType(b, func(b *testing.B, w *world) {
		m := w.seal(b, w.alice, storeReq("alice@example.org", w.value(b, w.alice)))
		v := trust.NewVerifier(w.overlay)
		b.ReportAllocs()
		for b.Loop() {
			if got, err := v.Verify(now, m, ""); err != nil || got.Values()[0].Err != nil {
				b.Fatal(err, got.Values())
			}
		}
	})
}

// BenchmarkVerifyNewCertificate builds the chain each time.
func BenchmarkVerifyNewCertificate(b *testing.B) {
	eachKeyType(b, func(b *testing.B, w *world) {
		b.ReportAllocs()
		chain := chainOf(w.alice)
		for b.Loop() {
			if _, err := trust.NewVerifier(w.overlay).VerifyLink(now, chain); err != nil {
				b.Fatal(err)
			}
		}
	})
}
