package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(phoneWait)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond) // the poll of a condition
	}
}

// Conformance: H-27 H-34
// Feature: REG-27 PRX-31
func TestARegistrationTravelsAndACallFollowsIt(t *testing.T) {
	gs := ring(t, 3, 3)
	alice, bob := newPhone(t, "1001", gs[0]), newPhone(t, "1002", gs[1])
	for _, p := range []*phone{alice, bob} {
		if res := p.register(300); res.StatusCode != 200 || len(res.Values(message.Contact)) != 1 {
			t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
		}
	}
	for i, g := range gs {
		eventually(t, "the record of 1002", func() error { return found(g, "1002", gs[1]) })
		if r := g.status(); !r.Ready || r.State != "joined" {
			t.Errorf("gateway %d: %+v", i, r)
		}
	}
	alice.call(bob)
	bob.call(alice)

	if res := bob.register(0); res.StatusCode != 200 || res.Has(message.Contact) {
		t.Fatalf("removal: %d, Contact %q", res.StatusCode, res.Get(message.Contact))
	}
	eventually(t, "the record to be gone", func() error {
		if found(gs[2], "1002", gs[1]) == nil {
			return errors.New("still there")
		}
		return nil
	})
}

// A gateway with overlay.role client serves its phones like another.
//
// Conformance: C-38
func TestAGatewayThatIsAClient(t *testing.T) {
	gs := ringWith(t, 4, 3, func(k int, c *Config) {
		if k == 3 {
			c.Overlay.Role = RoleClient
		}
	})
	client := gs[3]
	alice, bob := newPhone(t, "1001", gs[0]), newPhone(t, "1002", client)
	for _, p := range []*phone{alice, bob} {
		if res := p.register(300); res.StatusCode != 200 {
			t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
		}
	}
	for _, g := range gs {
		eventually(t, "the record of 1002", func() error { return found(g, "1002", client) })
	}
	if r := client.status(); !r.Ready || r.State != "client" || len(r.Overlay.Stored) > 0 {
		t.Errorf("%+v", r)
	}
	alice.call(bob)
	bob.call(alice)
}

// found reports whether g finds one record of user, owned by owner and signed for the user.
func found(g *Gateway, user string, owner *Gateway) error {
	aor, err := g.canonical(user)
	if err != nil {
		return err
	}
	r, err := g.lookup(context.Background(), aor)
	if err != nil {
		return err
	}
	if len(r.Records) != 1 || r.Records[0].Owner != owner.peer.NodeID().String() || r.Records[0].Signer != string(aor) {
		return fmt.Errorf("%+v", r)
	}
	return nil
}

func TestAPortInUseSaysWhichAndWhatToDo(t *testing.T) {
	gs := ring(t, 1, 1)
	for key, change := range map[string]func(*Config){
		"overlay.listen": func(c *Config) { c.Overlay.Listen = List{"tls://" + gs[0].links.Addr().String()} },
		"admin.listen":   func(c *Config) { c.Admin.Listen = gs[0].admin.Addr().String() },
		"sip.listen":     func(c *Config) { c.SIP.Listen = List{"udp://" + gs[0].udpAddr().String()} },
	} {
		o := gs[0].o
		o.Config.Data = t.TempDir()
		o.Config.Admin.Listen = "127.0.0.1:0"
		o.Config.Overlay.Listen = List{"tls://127.0.0.1:0"}
		o.Config.SIP.Listen = List{"udp://127.0.0.1:0"}
		change(&o.Config)
		_, err := Open(o)
		if err == nil || !strings.Contains(err.Error(), "E0201 "+key) || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "try:") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// measure runs op b.N times and reports the CPU time of the whole process, phones and every gateway included: a REGISTER that waits for the
// disk costs time, but not that.
func measure(b *testing.B, op func()) {
	b.Helper()
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	b.ReportAllocs()
	before := used()
	for b.Loop() {
		op()
	}
	b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func BenchmarkRegisterRefresh(b *testing.B) {
	p := newPhone(b, "1001", ring(b, 2, 1)[0])
	p.register(3600)
	measure(b, func() {
		if res := p.register(3600); res.StatusCode != 200 {
			b.Fatal(res.StatusCode)
		}
	})
}

// Each operation is a first binding and its removal: two signed Stores.
func BenchmarkRegisterWithStore(b *testing.B) {
	p := newPhone(b, "1001", ring(b, 2, 1)[0])
	p.register(3600)
	p.register(0)
	measure(b, func() {
		for _, expires := range []int{3600, 0} {
			if res := p.register(expires); res.StatusCode != 200 {
				b.Fatal(res.StatusCode)
			}
		}
	})
}

func benchmarkInvite(b *testing.B, callee int) {
	gs := ring(b, 2, 2)
	alice, bob := newPhone(b, "1001", gs[0]), newPhone(b, "1002", gs[callee])
	alice.register(3600)
	bob.register(3600)
	eventually(b, "the record of 1002", func() error { return found(gs[0], "1002", gs[callee]) })
	measure(b, func() { alice.call(bob) })
}

func BenchmarkInviteLocal(b *testing.B)  { benchmarkInvite(b, 0) }
func BenchmarkInviteAcross(b *testing.B) { benchmarkInvite(b, 1) }
