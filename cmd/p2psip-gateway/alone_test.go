package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// published is how many registrations of a node are in each state.
func published(admin string) (map[string]int, error) {
	var r gateway.RegistrationsReport
	if err := getJSON(admin, "/api/v1/registrations", &r); err != nil {
		return nil, err
	}
	n := map[string]int{}
	for _, reg := range r.Registrations {
		n[reg.State]++
	}
	return n, nil
}

// registerAll registers phones, some at a time.
func registerAll(t *testing.T, users []string, server string) {
	t.Helper()
	errs := make([]error, len(users))
	var wg sync.WaitGroup
	for part := range slices.Chunk(slices.Collect(indexes(len(users))), len(users)/50+1) {
		wg.Go(func() {
			for _, i := range part {
				errs[i] = registerOnce(users[i], server)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func indexes(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// registerOnce registers a phone that is never heard of again, in a network that is trusted.
func registerOnce(user, server string) error {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("udp", server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	aor, here := "sip:"+user+"@p2psip.test", conn.LocalAddr().String()
	text := fmt.Sprintf("REGISTER sip:p2psip.test SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]s\r\nFrom: <%[1]s>;tag=1\r\nTo: <%[1]s>\r\nCall-ID: %[3]s@%[2]s\r\n"+
		"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:%[3]s@%[2]s>;expires=600\r\nContent-Length: 0\r\n\r\n", aor, here, user)
	buf := make([]byte, 4096)
	for range 20 {
		if _, err := conn.Write([]byte(text)); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			continue
		}
		if m := parseText(string(buf[:n])); m.status() != 200 {
			return fmt.Errorf("%s: %s", user, m.start)
		}
		return nil
	}
	return fmt.Errorf("%s: no answer", user)
}

// startTrusting starts a node that lets registerAll register anybody.
func (r *ring) startTrusting(t *testing.T, m *ringNode) {
	t.Helper()
	conf, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, m.file, strings.Replace(string(conf), "registrar:\n", "registrar:\n  trusted: [127.0.0.2/32]\n", 1))
	r.start(t, m)
}

// Whoever comes first may ask for anybody in the moment in which he is linked, and finds him: visitors come at once, each of whom asks for one of many
// users as soon as he has a link. Were they not kept waiting they would ask some milliseconds after the node began to store its records.
func TestProcessesAloneKeepWhoeverComesWaiting(t *testing.T) {
	const visitors = 16
	var users []string
	for i := range 1000 {
		users = append(users, fmt.Sprint(2000+i))
	}
	r := newRing(t, program(t, ""), 1, users)
	authority := filepath.Join(r.dir, "overlay")
	o, _, err := identity.LoadDocument(filepath.Join(authority, identity.DocumentFile), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var coming []overlay.Visitor
	for i := range visitors {
		name := fmt.Sprintf("visitor%d", i)
		r.command(t, "identity", "issue", "--dir", authority, "--name", name, "--out", filepath.Join(r.dir, name))
		self, err := identity.LoadNode(filepath.Join(r.dir, name), o, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		coming = append(coming, overlay.Visitor{Overlay: o, Self: self, Addresses: []string{r.members[0].overlay}})
	}
	first := r.members[0]
	r.startTrusting(t, first)
	registerAll(t, users, first.sip)
	if n, err := published(first.admin); err != nil || n["alone"] != len(users) {
		t.Fatalf("%v %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), e2eWait)
	defer cancel()
	var wg sync.WaitGroup
	for i, v := range coming {
		wg.Go(func() {
			aor := users[i*len(users)/visitors] + "@p2psip.test"
			values, err := v.Fetch(ctx, wire.ResourceIDOf(aor), wire.KindSIPRegistration)
			if err != nil || len(values) != 1 {
				t.Errorf("%s: %d records, %v", aor, len(values), err)
			}
		})
	}
	wg.Wait()
}

// A thousand users are registered at a node that was alone since it started, and nothing of them is published. The second node finds each of them at its first
// try, and so does its phone; when the first is killed the records are still there, and when it is back its phones are called.
func TestProcessesAloneUntilSomebodyComes(t *testing.T) {
	users := []string{"1000"}
	for i := range 1000 {
		users = append(users, fmt.Sprint(2000+i))
	}
	r := newRing(t, program(t, ""), 2, users)
	first, second := r.members[0], r.members[1]
	r.startTrusting(t, first)
	callee := newSoftPhone(t, "2000", first.sip)
	if err := callee.register(600); err != nil {
		t.Fatal(err)
	}
	registerAll(t, users[2:], first.sip)
	if n, err := published(first.admin); err != nil || n["alone"] != 1000 {
		t.Fatalf("%v %v", n, err)
	}
	var ring gateway.RingReport
	if err := getJSON(first.admin, "/api/v1/ring", &ring); err != nil || !ring.Alone {
		t.Errorf("%+v %v", ring, err)
	}
	// Who asks at the node itself sees what everybody will.
	if err := homedAt(first, first, "2001"); err != nil {
		t.Error(err)
	}
	if n, err := published(first.admin); err != nil || n["alone"] != 999 || n["stored"] != 1 {
		t.Errorf("%v %v", n, err)
	}

	r.start(t, second)
	caller := newSoftPhone(t, "1000", second.sip)
	if err := caller.call(callee.aor()); err != nil {
		t.Error(err)
	}
	for _, user := range users[1:] {
		if err := homedAt(second, first, user); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ready after %v; the first: %s", second.ready, regexp.MustCompile("not alone any more.*").FindString(first.stderr.String()))
	if n, err := published(first.admin); err != nil || n["stored"] != 1000 {
		t.Errorf("%v %v", n, err)
	}
	ring.Alone = false // which is left out
	if err := getJSON(first.admin, "/api/v1/ring", &ring); err != nil || ring.Alone {
		t.Errorf("%+v %v", ring, err)
	}

	first.kill()
	within(t, ringLimit, "the records to be found without their node", func() error { return homedAt(second, first, "2500") })
	r.start(t, first)
	eventually(t, "a call", func() error { return caller.call(callee.aor()) })
}

// A survivor that starts again, its partner being away, keeps what it holds of others, and stores nothing of its own before somebody comes.
func TestProcessesAloneAfterARestart(t *testing.T) {
	users := []string{"2001", "2002", "2003"}
	r := newRing(t, program(t, ""), 2, users)
	phones := r.homes(t, users[:2])
	first, second := r.members[0], r.members[1]
	second.kill()
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := first.code(t, e2eWait); code != exitOK {
		t.Fatalf("exit %d after SIGTERM", code)
	}
	r.start(t, first)
	if err := homedAt(first, second, "2002"); err != nil {
		t.Error(err)
	}
	late := newSoftPhone(t, "2003", first.sip)
	if err := late.register(600); err != nil {
		t.Fatal(err)
	}
	if n, err := published(first.admin); err != nil || n["alone"] != 1 || n["stored"] != 1 { // 2001 stands there from before
		t.Errorf("%v %v", n, err)
	}
	r.start(t, second)
	if err := homedAt(second, first, "2003"); err != nil {
		t.Error(err)
	}
	for _, p := range []*softPhone{late, phones[0]} {
		if err := phones[1].call(p.aor()); err != nil {
			t.Error(err)
		}
	}
	for _, m := range r.members {
		if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := m.code(t, e2eWait); code != exitOK {
			t.Errorf("exit %d after SIGTERM\n%s", code, m.stderr)
		}
	}
}
