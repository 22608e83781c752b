package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// softphone is baresip as Debian ships it, without sound hardware, driven over its control socket.
type softphone struct {
	conn net.Conn
	cmd  *exec.Cmd
	out  *buffer
	mu   sync.Mutex
	seen []ctrlEvent
}

// ctrlEvent is what module ctrl_tcp says when something happens.
type ctrlEvent struct {
	Type string `json:"type"`
	AOR  string `json:"accountaor"`
	Peer string `json:"peeruri"`
	Text string `json:"param"`
}

// startBaresip starts a phone of a user who registers over transport at server.
func startBaresip(t *testing.T, user, transport, server, answer string) *softphone {
	t.Helper()
	return launchBaresip(t, handsetConfig{user: user, transport: transport, server: server, expires: 300}, answer)
}

// launchBaresip starts a phone. On standard output it shows every message that it sends and receives.
func launchBaresip(t *testing.T, c handsetConfig, answer string) *softphone {
	t.Helper()
	dir, sip, ctrl := t.TempDir(), freePort(t), freePort(t)
	write(t, filepath.Join(dir, "config"), fmt.Sprintf(baresipConfig, sip, ctrl, c.baresipLimits()))
	write(t, filepath.Join(dir, "contacts"), c.baresipContacts())
	write(t, filepath.Join(dir, "accounts"), fmt.Sprintf("<sip:%[1]s@p2psip.test;transport=%[2]s>;auth_user=%[1]s;auth_pass=%[6]s;"+
		"outbound=\"sip:%[3]s;transport=%[2]s\";regint=%[5]d;answermode=%[4]s;audio_codecs=pcmu\n",
		c.user, c.transport, c.server, answer, c.expires, c.secret()))
	p := &softphone{cmd: exec.Command("baresip", "-4", "-s", "-f", dir), out: &buffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), "HOME="+dir)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("baresip of %s:\n%.12000s", c.user, p.out)
		}
	})
	eventually(t, "baresip's control socket", func() (err error) {
		p.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ctrl))
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	t.Cleanup(func() {
		_ = p.conn.Close()
		<-done
	})
	return p
}

// baresipConfig is the configuration of a phone without sound, with its SIP port, the port of its control socket, and more.
const baresipConfig = `
poll_method epoll
sip_listen 127.0.0.1:%d
net_interface 127.0.0.1
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 2
audio_player aubridge,none
audio_alert aubridge,none
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module aubridge.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app presence.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:%d
%s`

// baresipLimits is how many calls it takes and how long it rings.
func (c handsetConfig) baresipLimits() string {
	if c.single {
		return fmt.Sprintf("call_max_calls 1\ncall_local_timeout %d\n", singleRings)
	}
	return ""
}

// baresipContacts is its address book: the peer, whose presence it watches when told to.
func (c handsetConfig) baresipContacts() string {
	switch {
	case c.peer == "":
		return ""
	case c.watches:
		return fmt.Sprintf("\"Peer\" <%s>;presence=p2p\n", aorURI(c.peer))
	}
	return fmt.Sprintf("\"Peer\" <%s>\n", aorURI(c.peer))
}

// read collects events: netstrings of JSON.
func (p *softphone) read() {
	r := bufio.NewReader(p.conn)
	for {
		size, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil {
			return
		}
		b := make([]byte, n+1) // and the comma behind it
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		var e ctrlEvent
		if json.Unmarshal(b[:n], &e) == nil && e.Type != "" {
			p.mu.Lock()
			p.seen = append(p.seen, e)
			p.mu.Unlock()
		}
	}
}

func (p *softphone) command(t *testing.T, name, params string) {
	t.Helper()
	b, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.conn, "%d:%s,", len(b), b); err != nil {
		t.Fatal(err)
	}
}

// await waits for an event.
func (p *softphone) await(t *testing.T, event string) ctrlEvent {
	t.Helper()
	var found ctrlEvent
	eventually(t, event, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		i := slices.IndexFunc(p.seen, func(e ctrlEvent) bool { return e.Type == event })
		if i < 0 {
			return fmt.Errorf("so far: %+v", p.seen)
		}
		found = p.seen[i]
		return nil
	})
	return found
}

// do presses a key of the phone.
func (p *softphone) do(t *testing.T, action, argument string) {
	t.Helper()
	switch action {
	case "answer":
		action = "accept"
	case "busy", "cancel":
		action = "hangup"
	case "appear":
		action = "presence_online"
	case "vanish":
		action = "presence_offline"
	}
	p.command(t, action, argument)
}

func (p *softphone) trace() string { return p.out.String() }
func (p *softphone) off()          { _ = p.cmd.Process.Kill() }

func TestBaresipRegistersCallsAnswersAndHangsUp(t *testing.T) {
	d := sharedDev(t)
	a, b := startBaresip(t, "1021", "udp", d.udp(0), "manual"), startBaresip(t, "1022", "tcp", d.udp(1), "manual")
	for k, user := range []string{"1021", "1022"} {
		eventually(t, user+" to be registered", func() error { return registered(d, k, user) })
	}

	a.command(t, "dial", aorURI("1022"))
	if e := b.await(t, "CALL_INCOMING"); !strings.HasPrefix(e.Peer, aorURI("1021")) {
		t.Errorf("call from %q, want %s", e.Peer, aorURI("1021"))
	}
	a.await(t, "CALL_RINGING")
	b.command(t, "accept", "")
	a.await(t, "CALL_ESTABLISHED")
	b.await(t, "CALL_ESTABLISHED")
	b.command(t, "hangup", "")
	b.await(t, "CALL_CLOSED")
	a.await(t, "CALL_CLOSED")
}
