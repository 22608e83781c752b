package store

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Memory of a stored record with the certificate that it was signed with: one for each user and gateway.
func BenchmarkRecordMemory(b *testing.B) {
	const records = 5000
	for _, c := range []struct {
		name                   string
		certificate, signature int // octets, as issued by init
	}{{"P-256", 520, 71}, {"RSA-2048", 860, 256}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				before := heapInUse()
				s := New(testOverlay())
				for i := range records {
					h := newHolder(fmt.Sprintf("user%d@dht.example.org", i), byte(1+i%250))
					h.cert.Data = append(h.cert.Data, make([]byte, c.certificate-len(h.cert.Data))...)
					entry := h.entry("twenty octets of path", 1, hour)
					entry.Signature.Value = make([]byte, c.signature)
					m := &wire.Message{Body: &wire.StoreReq{Resource: h.resource(), Kinds: []wire.StoreKindData{kindData(sipReg, 0, entry)}}}
					m.Security = wire.SecurityBlock{Certificates: []wire.Certificate{h.cert}, Signature: h.signature(nil)}
					if _, e := s.Put(at0(0), trust.Assume(m, h.Identity, trust.ValueSigner{Identity: h.Identity}), true); e != nil {
						b.Fatal(e)
					}
				}
				b.ReportMetric((heapInUse()-before)/records, "octets/record")
				runtime.KeepAlive(s)
			}
		})
	}
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
