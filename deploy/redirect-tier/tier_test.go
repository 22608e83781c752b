package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A short run: three gateways, two redirect peers of which one is killed under load, 200 phones, and no answer wrong or missing.
//
// Feature: RDR-05
func TestRedirectTier(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "p2psip-gateway")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/p2psip-gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := run(t.Context(), options{binary: binary, gateways: 3, redirects: 2, phones: 200, hot: 50, rate: 200, span: 2 * time.Second, most: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.print(func(format string, args ...any) { fmt.Fprintf(&text, format, args...) })
	t.Log(text.String())
	if r.bad() || len(r.Phases) != 4 {
		t.Error("an answer is wrong or missing")
	}
}

// The callers can tell a wrong answer, and one that does not come.
func TestCallersFindWhatIsWrong(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	answers := map[int]string{0: "302 x\r\nContact: <sip:u0000000@h:1;transport=udp>", 1: "302 x\r\nContact: <sip:u0000001@h:2>", 2: "302 x\r\nContact: <sip:u0000001@h:1>",
		3: "404 x", 4: "504 x", 5: "302 x\r\nContact: <sip:u0000005@h:11>", 6: ""}
	go read(conn, answers)
	defer func() { _ = conn.Close() }()
	c, err := newCallers([]string{conn.LocalAddr().String()}, func(int) string { return "h:1" })
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	res := c.play(t.Context(), phase{n: len(answers), rate: 1000, user: func(i int) int { return i }})
	if res.right != 1 || res.wrong != 5 || res.missing != 1 || len(res.examples) != 3 {
		t.Errorf("%+v", res)
	}
}

// read answers each user's INVITE with what is due.
func read(conn *net.UDPConn, answers map[int]string) {
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		var user int
		m := string(buf[:n])
		if _, err := fmt.Sscanf(m, "INVITE sip:u%07d@", &user); err != nil || answers[user] == "" {
			continue
		}
		_, _ = conn.WriteToUDP(fmt.Appendf(nil, "SIP/2.0 %s\r\nTo: <x>;tag=1\r\nCall-ID: %s\r\n\r\n", answers[user], field(m, "Call-ID")), from)
	}
}
