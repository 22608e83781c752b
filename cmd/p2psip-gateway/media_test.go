package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// second adds another public host to the network.
const second = `
ip netns add $P-far
ip -n $P-far link set lo up
ip link add eth0 netns $P-far type veth peer name far netns $P-public
ip -n $P-public link set far master wan up
ip -n $P-far address add 203.0.113.2/24 dev eth0
ip -n $P-far link set eth0 up
`

// speaker is baresip behind a NAT: it plays a tone and writes down what it hears.
type speaker struct {
	*process
	dir string
}

// speakerConfig has the address of the phone, the frequency of its tone, and where it writes.
const speakerConfig = `
poll_method epoll
sip_listen %[1]s:5060
net_interface eth0
rtp_ports 16384-16484
audio_source ausine,%[2]d
ausrc_srate 48000
ausrc_channels 2
audio_player aubridge,none
audio_alert aubridge,none
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app contact.so
module_app menu.so
snd_path %[3]s
`

// Frequencies of the two phones, in Hz.
const (
	lowTone  = 440
	highTone = 1000
)

// startSpeaker starts a phone of a user at a host behind a NAT. It answers calls, and does what it is told first.
func (n *natted) startSpeaker(host, address, user, server string, tone int, commands ...string) *speaker {
	n.t.Helper()
	s := &speaker{dir: n.t.TempDir()}
	write(n.t, filepath.Join(s.dir, "config"), fmt.Sprintf(speakerConfig, address, tone, s.dir))
	write(n.t, filepath.Join(s.dir, "contacts"), "")
	write(n.t, filepath.Join(s.dir, "accounts"), fmt.Sprintf("<sip:%[1]s@p2psip.test>;auth_user=%[1]s;auth_pass=secret-%[1]s;outbound=\"sip:%[2]s\";regint=300;"+
		"answermode=auto;audio_codecs=pcmu\n", user, server))
	args := []string{"-4", "-s", "-f", s.dir}
	for _, c := range commands {
		args = append(args, "-e", c)
	}
	c := place{n.prefix + "-" + host, address}.command("baresip", args...)
	s.process = start(n.t, c.Args[0], []string{"HOME=" + s.dir}, c.Args[1:]...)
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("baresip of %s:\n%.12000s", user, s.stderr)
		}
	})
	return s
}

// hangUp ends the phone, which ends its call.
func (s *speaker) hangUp() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	<-s.done
}

// hears reports how much of what the phone has heard in its last half second is a tone: 0 to 1.
func (s *speaker) hears(tone int) float64 {
	files, _ := filepath.Glob(filepath.Join(s.dir, "dump-*-dec.wav"))
	if len(files) != 1 {
		return 0
	}
	b, err := os.ReadFile(files[0])
	if err != nil || len(b) < 44 {
		return 0
	}
	channels, rate := int(binary.LittleEndian.Uint16(b[22:])), int(binary.LittleEndian.Uint32(b[24:]))
	var samples []float64
	for b = b[44:]; len(b) >= 2*channels; b = b[2*channels:] {
		samples = append(samples, float64(int16(binary.LittleEndian.Uint16(b))))
	}
	if len(samples) < rate/2 {
		return 0
	}
	return share(samples[len(samples)-rate/2:], float64(tone)/float64(rate))
}

// share is the part of the energy that is at one frequency, which is given in parts of the sampling rate.
func share(samples []float64, frequency float64) float64 {
	var re, im, all float64
	for i, x := range samples {
		sin, cos := math.Sincos(2 * math.Pi * frequency * float64(i))
		re, im, all = re+x*cos, im+x*sin, all+x*x
	}
	if all == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / (all * float64(len(samples)))
}

// hear waits until both phones hear each other.
func hear(t *testing.T, low, high *speaker) {
	t.Helper()
	eventually(t, "the phones to hear each other", func() error {
		if a, b := low.hears(highTone), high.hears(lowTone); a < 0.8 || b < 0.8 {
			return fmt.Errorf("the caller hears %.2f of the other's tone, the callee %.2f", a, b)
		}
		return nil
	})
}

// reachable waits until a gateway has the phone of a user, or its record.
func (n *natted) reachable(s *site, user string) {
	n.t.Helper()
	eventually(n.t, user+" to be registered", func() error {
		var r gateway.LookupReport
		if err := n.ask(s, &r, "lookup", user+"@p2psip.test"); err != nil || !r.Found {
			return errors.Join(err, fmt.Errorf("%+v", r))
		}
		return nil
	})
}

// relays waits until a gateway relays so many calls, and returns what it says of them.
func (n *natted) relays(s *site, calls int) (r gateway.MediaReport) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("%d relayed calls", calls), func() error {
		r = gateway.MediaReport{}
		if err := n.ask(s, &r, "media", "ls"); err != nil || len(r.Calls) != calls {
			return errors.Join(err, fmt.Errorf("%+v", r))
		}
		return nil
	})
	return r
}

// public is the configuration of a gateway on the Internet.
const public = "\n  first: %v\nmedia: {relay: %s}"

// Two phones behind two NATs, one of which draws a port for each destination, hear each other through the relay of their gateway, and through those of
// two gateways; without, they do not.
//
// Feature: MED-02
func TestE2EPhonesBehindTwoNATsHearEachOther(t *testing.T) {
	n := newNatted(t)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.prefix+"-far").Run() })
	sh := exec.Command("sh", "-e")
	sh.Stdin, sh.Env = strings.NewReader(second), append(os.Environ(), "P="+n.prefix)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const near, far = "203.0.113.1", "203.0.113.2"
	// phones starts two, of which the first, at gw, calls the second.
	phones := func(gw *site, server, callee string) (low, high *speaker) {
		high = n.startSpeaker("phone2", "10.2.0.3", callee, server+":5060", highTone)
		n.reachable(gw, callee)
		return n.startSpeaker("phone1", "10.1.0.3", "1001", near+":5060", lowTone, "/dial "+aorURI(callee)), high
	}

	gw := n.start("public", near, fmt.Sprintf(public, true, "none"))
	low, high := phones(gw, near, "1002")
	eventually(t, "the call", func() error {
		if !strings.Contains(low.stderr.String(), "Call established") {
			return fmt.Errorf("%.3000s", low.stderr)
		}
		return nil
	})
	time.Sleep(2 * time.Second) // in which they would hear each other
	if a, b := low.hears(highTone), high.hears(lowTone); a > 0.1 || b > 0.1 {
		t.Errorf("without a relay 1001 hears %.2f, 1002 %.2f", a, b)
	}
	low.hangUp()
	high.hangUp()
	gw.kill()

	gw = n.start("public", near, fmt.Sprintf(public, true, "auto"))
	low, high = phones(gw, near, "1002")
	hear(t, low, high)
	r := n.relays(gw, 1)
	if s := r.Calls[0].Streams[0]; !s.Caller.Latched || !s.Callee.Latched || !strings.HasPrefix(s.Caller.Remote, "203.0.113.10:") || !strings.HasPrefix(s.Callee.Remote, "203.0.113.20:") {
		t.Errorf("%+v", s)
	}
	table, err := gw.command(n.program, "media", "ls").Output()
	if err != nil || !strings.Contains(string(table), "203.0.113.20:") {
		t.Errorf("media ls prints %s, %v", table, err)
	}
	low.hangUp()
	n.relays(gw, 0)
	high.hangUp()

	other := n.start("far", far, fmt.Sprintf(public, false, "auto"))
	low, high = phones(gw, far, "1003")
	hear(t, low, high)
	n.relays(gw, 1)
	n.relays(other, 1)
	high.hangUp()
	n.relays(gw, 0)
	n.relays(other, 0)
}
