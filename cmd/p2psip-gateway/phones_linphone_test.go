package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// linphone is linphonec as Debian ships it, driven by lines on its standard input. Its log shows every message.
type linphone struct {
	cmd  *exec.Cmd
	keys io.Writer
	out  *buffer
	log  string
}

// linphoneConfig is the configuration of a phone without sound: SIP ports (UDP, TCP, TLS), seconds that it rings, RTP port, number of calls, user, password,
// gateway with transport, lifetime, and more.
const linphoneConfig = `[sip]
default_proxy=0
sip_port=%d
sip_tcp_port=%d
sip_tls_port=%d
bind_address=127.0.0.1
guess_hostname=0
use_ipv6=0
inc_timeout=%d
verify_server_certs=0
verify_server_cn=0
media_encryption=none
[rtp]
audio_rtp_port=%d
[sound]
use_files=1
[misc]
max_calls=%d
[auth_info_0]
username=%[7]s
userid=%[7]s
passwd=%[8]s
realm=p2psip.test
[proxy_0]
reg_proxy=<sip:%[9]s>
reg_route=<sip:%[9]s;lr>
reg_identity=sip:%[7]s@p2psip.test
reg_expires=%[10]d
reg_sendregister=1
publish=0
%[11]s`

// launchLinphone starts a phone.
func launchLinphone(t *testing.T, c handsetConfig) handset {
	t.Helper()
	home, calls, rings, friend := t.TempDir(), 10, 60, ""
	if c.single {
		calls, rings = 1, singleRings
	}
	if c.peer != "" {
		friend = fmt.Sprintf("[friend_0]\nurl=\"Peer\" <%s>\npol=accept\nsubscribe=%d\n", aorURI(c.peer), map[bool]int{true: 1}[c.watches])
	}
	ports := map[string]int{c.transport: freePort(t)} // 0: not at all
	config := filepath.Join(home, "linphonerc")
	write(t, config, fmt.Sprintf(linphoneConfig, ports["udp"], ports["tcp"], ports["tls"], rings, freePort(t), calls,
		c.user, c.secret(), c.server+";transport="+c.transport, c.expires, friend))
	for _, dir := range []string{".local/share/linphone", ".config/linphone"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := &linphone{out: &buffer{}, log: filepath.Join(home, "log")}
	p.cmd = exec.Command("linphonec", "-c", config, "-d", "6", "-l", p.log)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), "HOME="+home)
	keys, err := p.cmd.StdinPipe()
	if err == nil {
		p.keys = keys
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("linphonec of %s:\n%.3000s", c.user, p.out)
		}
	})
	return p
}

// linphoneCall finds the numbers that linphonec gives its calls.
var linphoneCall = regexp.MustCompile(`assigned id (\d+)`)

func (p *linphone) do(t *testing.T, action, argument string) {
	t.Helper()
	line := action
	switch action {
	case "dial":
		line = "call " + argument
	case "decline", "hangup", "cancel":
		line = "terminate"
	case "hold":
		line = "pause"
	case "transfer":
		line = "transfer " + argument
	case "attended":
		calls := linphoneCall.FindAllStringSubmatch(p.out.String(), -1)
		if len(calls) < 2 {
			t.Fatalf("less than two calls:\n%s", p.out)
		}
		line = fmt.Sprintf("transfer %s --to-call %s", calls[len(calls)-2][1], calls[len(calls)-1][1])
	case "message":
		to, text, _ := strings.Cut(argument, " ")
		line = fmt.Sprintf("chat %s %q", to, text)
	}
	if _, err := fmt.Fprintln(p.keys, line); err != nil {
		t.Fatal(err)
	}
}

func (p *linphone) trace() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	return string(b)
}

func (p *linphone) off() { _ = p.cmd.Process.Kill() }

var linphone5 = phoneProgram{name: "linphone 5.1.65", start: launchLinphone}
