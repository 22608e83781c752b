package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// blackHole is an address that takes no connection and refuses none: the queue of its listener is full.
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 8 { // the kernel takes one or two more than the queue is long
		c, err := net.DialTimeout("tcp", at.String(), 100*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the listener takes every connection")
	return at
}

// setup is how long a call takes from INVITE to 180, with its end: the callee declines.
func setup(caller, callee *phone) time.Duration {
	begin := time.Now()
	call := caller.start("INVITE", callee.user)
	invite, _ := callee.take("INVITE", 180)
	call.response(180)
	took := time.Since(begin)
	callee.reply(invite, 603)
	res := call.response(603)
	ack := call.last.Clone()
	ack.Method = "ACK"
	ack.Set(message.To, res.Get(message.To))
	ack.Set(message.CSeq, fmt.Sprintf("%d ACK", call.seq))
	if _, err := caller.conn.Write(ack.AppendTo(nil)); err != nil {
		caller.t.Fatal(err)
	}
	return took
}

// p99 is the 99th of a hundred calls.
func p99(caller, callee *phone) time.Duration {
	var all []time.Duration
	for range 100 {
		all = append(all, setup(caller, callee))
	}
	slices.Sort(all)
	return all[98]
}

// Of five contacts one lives; the others are silent, refuse, are gone, or swallow connections.
//
// Feature: PRX-05
func TestPRX05_DeadContactsDelayNobody(t *testing.T) {
	g := ring(t, 1, 4)[0]
	alice, bob, carol, dave := newPhone(t, "1001", g), newPhone(t, "1002", g), newPhone(t, "1003", g), newPhone(t, "1004", g)
	for _, p := range []*phone{alice, bob, carol, dave} {
		p.register(300)
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // never read
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	closed := newPhone(t, "1002", g)
	refusing := closed.conn.LocalAddr().String()
	_ = closed.conn.Close()
	gone, hole := location.Hop{Transport: "TCP", Flow: 1 << 60}, blackHole(t)
	gone.Remote = netip.AddrPortFrom(hole.Addr(), 40000)
	udp := location.Hop{Transport: "UDP", Remote: g.udpAddr().AddrPort()}
	bind(t, g, "1002@"+testDomain,
		location.Binding{Contact: "sip:1002@" + silent.LocalAddr().String(), Hop: udp},
		location.Binding{Contact: "sip:1002@" + refusing, Hop: udp},
		location.Binding{Contact: "sip:1002@10.0.0.1;transport=tcp", Hop: gone},
		location.Binding{Contact: fmt.Sprintf("sip:1002@%v;transport=tcp", hole), Hop: gone},
	)
	delaysNobody(t, alice, bob, carol, dave)
}

// delaysNobody has alice call bob, of whose contacts one lives, and carol call dave, who have nothing to do with that.
func delaysNobody(t *testing.T, alice, bob, carol, dave *phone) {
	t.Helper()
	var first, apart time.Duration
	for range 5 { // a machine with other things to do gets another chance; a call that is held up is held up each time
		first = setup(alice, bob)
		before := p99(carol, dave)
		stop, done := make(chan struct{}), sync.WaitGroup{}
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					setup(alice, bob)
				}
			}
		})
		apart = p99(carol, dave) - before
		close(stop)
		done.Wait()
		if first < 500*time.Millisecond && apart < 20*time.Millisecond {
			return
		}
	}
	t.Errorf("the living phone rings after %v, want less than 500 ms; p99 of other calls moves by %v, want less than 20 ms", first, apart)
}

// bind adds bindings to those that aor has.
func bind(t testing.TB, g *Gateway, aor location.AOR, more ...location.Binding) {
	t.Helper()
	done := make(chan error, 1)
	g.bindings.Update(aor, func(old []location.Binding) ([]location.Binding, error) {
		set := slices.Clone(old)
		for _, b := range more {
			b.Q, b.Expires, b.CallID = 1000, time.Now().Add(time.Hour), "dead"
			set = append(set, b)
		}
		return set, nil
	}, func(_ []location.Binding, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
