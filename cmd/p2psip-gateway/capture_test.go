package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// captureRun is a `dev` that writes its TLS secrets down, with a capture of what goes over its overlay ports.
type captureRun struct {
	dir, pcap, keys string
	sip, overlay    int
	nodes           int
}

// captureCall records the joins of an overlay, two registrations and a call between gateways, all from the first packet on.
func captureCall(t *testing.T) captureRun {
	t.Helper()
	base := freePorts(t)
	dir := t.TempDir()
	r := captureRun{dir: dir, pcap: filepath.Join(dir, "overlay.pcap"), keys: filepath.Join(dir, "keys"), sip: base, overlay: base + 100, nodes: 3}
	file := program(t, "keylog")

	tcpdump := r.record(t, "tcp")
	p := start(t, file, []string{"SSLKEYLOGFILE=" + r.keys}, "dev", "--sip-port", fmt.Sprint(r.sip), "--overlay-port", fmt.Sprint(r.overlay),
		"--admin-port", fmt.Sprint(base+120), "--data", filepath.Join(dir, "data"), "--gateways", fmt.Sprint(r.nodes), "--redirects", "0")
	eventually(t, "the ready line", func() error {
		if !strings.Contains(p.stderr.String(), "\nready") {
			return fmt.Errorf("output so far:\n%s", p.stderr)
		}
		return nil
	})
	caller := newSoftPhone(t, "1001", fmt.Sprintf("127.0.0.1:%d", r.sip))
	callee := newSoftPhone(t, "1002", fmt.Sprintf("127.0.0.1:%d", r.sip+10))
	for _, err := range []error{caller.register(300), callee.register(300), caller.call(callee.aor())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for k := range r.nodes { // one of them is responsible for the record, and the others have to fetch it
		if found, err := lookup(fmt.Sprintf("127.0.0.1:%d", base+120+k), "1002"); err != nil || len(found.Records) != 1 {
			t.Fatalf("%+v: %v", found, err)
		}
	}
	if err := callee.register(0); err != nil {
		t.Fatal(err)
	}
	interrupt(t, p, tcpdump)
	return r
}

// interrupt ends processes in order, one after the other.
func interrupt(t *testing.T, list ...*process) {
	t.Helper()
	for _, end := range list {
		if err := end.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := end.code(t, e2eWait); code != 0 {
			t.Fatalf("%s: exit %d\n%s", end.cmd.Path, code, end.stderr)
		}
	}
}

// captureDTLS is captureCall of a ring with links over DTLS, of processes of their own.
func captureDTLS(t *testing.T) captureRun {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	ring := newRingOver(t, "dtls", program(t, "keylog"), 3, []string{"1001", "1002"}, "SSLKEYLOGFILE="+keys)
	_, port, _ := strings.Cut(ring.members[0].overlay, ":")
	overlay, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	r := captureRun{dir: ring.dir, pcap: filepath.Join(ring.dir, "overlay.pcap"), keys: keys, overlay: overlay, nodes: len(ring.members)}
	tcpdump := r.record(t, "udp")
	for _, m := range ring.members {
		ring.start(t, m)
	}
	caller, callee := newSoftPhone(t, "1001", ring.members[0].sip), newSoftPhone(t, "1002", ring.members[1].sip)
	for _, err := range []error{caller.register(300), callee.register(300), caller.call(callee.aor())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range ring.members {
		eventually(t, "1002 to be found", func() error { return homedAt(m, ring.members[1], "1002") })
	}
	for _, m := range ring.members {
		interrupt(t, m.process)
	}
	interrupt(t, tcpdump)
	return r
}

// record starts a capture of what goes over the overlay ports.
func (r captureRun) record(t *testing.T, protocol string) *process {
	t.Helper()
	tcpdump := start(t, "tcpdump", nil, "-i", "lo", "-U", "--immediate-mode", "-B", "16384", "-s", "0", "-w", r.pcap,
		fmt.Sprintf("%s portrange %d-%d", protocol, r.overlay, r.overlay+r.nodes-1))
	eventually(t, "tcpdump to listen", func() error {
		select {
		case <-tcpdump.done:
			t.Fatalf("tcpdump, which needs root or the capability cap_net_raw, ended: %s", tcpdump.stderr)
		default:
		}
		if !strings.Contains(tcpdump.stderr.String(), "listening on") {
			return errors.New("it does not say so")
		}
		return nil
	})
	return tcpdump
}

// tshark runs tshark, or a program of its family, without the configuration of whoever runs the test.
func (r captureRun) tshark(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+r.dir, "WIRESHARK_CONFIG_DIR="+r.dir, "LC_ALL=C")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return string(out)
}

// stream is what one TLS connection carried, in order: one piece for each time that a side spoke.
type stream struct {
	number int
	pieces []piece
}

type piece struct {
	back bool // from the side that took the connection
	text []byte
}

// streams decrypts every connection of the capture.
func (r captureRun) streams(t *testing.T) []*stream {
	t.Helper()
	open := []string{"-n", "-r", r.pcap, "-o", "tls.keylog_file:" + r.keys}
	for k := range r.nodes {
		open = append(open, "-d", fmt.Sprintf("tcp.port==%d,tls", r.overlay+k))
	}
	list := strings.Fields(r.tshark(t, "tshark", append(slices.Clone(open), "-T", "fields", "-e", "tcp.stream")...))
	slices.Sort(list)
	args := append(open, "-q")
	for _, n := range slices.Compact(list) {
		args = append(args, "-z", "follow,tls,raw,"+n)
	}
	var found []*stream
	for l := range strings.Lines(r.tshark(t, "tshark", args...)) {
		l = strings.TrimSuffix(l, "\n")
		if number, ok := strings.CutPrefix(l, "Filter: tcp.stream eq "); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, &stream{number: n})
			continue
		}
		octets, back := strings.CutPrefix(l, "\t")
		if text, err := hex.DecodeString(octets); err == nil && len(text) > 0 {
			s := found[len(found)-1]
			s.pieces = append(s.pieces, piece{back, text})
		}
	}
	slices.SortFunc(found, func(a, b *stream) int { return cmp.Compare(a.number, b.number) })
	return found
}

// frames cuts a stream into frames, each with its direction, and checks that nothing is left over.
func (s *stream) frames(t *testing.T) (frames []piece) {
	t.Helper()
	var rest [2][]byte
	for _, p := range s.pieces {
		side := 0
		if p.back {
			side = 1
		}
		rest[side] = append(rest[side], p.text...)
		for {
			_, n, err := wire.ParseFrame(rest[side], 1<<24)
			if errors.Is(err, wire.ErrShort) {
				break
			}
			if err != nil {
				t.Fatalf("stream %d: %v", s.number, err)
			}
			frames = append(frames, piece{p.back, rest[side][:n]})
			rest[side] = rest[side][n:]
		}
	}
	if len(rest[0])+len(rest[1]) > 0 {
		t.Errorf("stream %d ends within a frame", s.number)
	}
	return frames
}

// packets makes a capture of UDP packets with one frame each: the dissector of tshark knows RELOAD there, and not within TLS.
func (r captureRun) packets(t *testing.T, streams []*stream) (file string, frames int) {
	t.Helper()
	file = filepath.Join(r.dir, "frames.pcap")
	args := []string{"-a", "-w", file}
	for _, s := range streams {
		var text strings.Builder
		list := s.frames(t)
		for _, f := range list {
			direction := "I"
			if f.back {
				direction = "O"
			}
			fmt.Fprintf(&text, "%s 000000 % x\n", direction, f.text)
		}
		if len(list) == 0 {
			continue
		}
		frames += len(list)
		one := filepath.Join(r.dir, fmt.Sprintf("stream%d", s.number))
		write(t, one+".txt", text.String())
		// Each connection is a conversation of its own: an ACK is known as one by the data before it.
		r.tshark(t, "text2pcap", "-q", "-D", "-4", "192.0.2.1,192.0.2.2", "-u", fmt.Sprintf("%d,6084", 40000+s.number), one+".txt", one+".pcap")
		args = append(args, one+".pcap")
	}
	r.tshark(t, "mergecap", args...)
	return file, frames
}

// privateKind is the Kind of gateway addresses, which the dissector can not know.
const privateKind = 0xf0000001

// tolerated is the one thing that the dissector takes for an error in a message that is right: identity type none (RFC 6940 §7.4.2.2).
const tolerated = "Unknown identity type"

// Conformance: A-09 B-05 B-09 B-38
func TestCaptureOfJoinStoreFetchAndAppAttachDissects(t *testing.T) {
	r := captureCall(t)
	file, frames := r.packets(t, r.streams(t))
	seen, lines := r.dissect(t, file)
	if lines == 0 || lines != frames {
		t.Errorf("%d packets for %d frames", lines, frames)
	}
	r.complete(t, seen)
	for k := range r.nodes {
		r.accepted(t, r.overlay+k)
	}
}

// Over DTLS the dissector finds RELOAD by itself, fragments and ACKs of Simple Reliability included.
//
// Conformance: A-09 A-10 B-39
func TestCaptureOverDTLSDissects(t *testing.T) {
	r := captureDTLS(t)
	seen, lines := r.dissect(t, r.pcap, "-o", "tls.keylog_file:"+r.keys, "-Y", "dtls.app_data")
	if lines == 0 {
		t.Error("nothing was decrypted")
	}
	r.complete(t, seen)
	r.accepted(t, r.overlay)
}

// dissect has tshark look at a capture, which may hold no packet that is not RELOAD. It returns the messages that it saw, and the packets.
func (r captureRun) dissect(t *testing.T, file string, more ...string) (seen map[wire.MessageCode]int, lines int) {
	t.Helper()
	write(t, filepath.Join(r.dir, "reload_kindids"), fmt.Sprintf("\"%d\",\"SIP-GATEWAY\",\"SINGLE\"\n", uint32(privateKind)))
	const severityError = "8388608"
	seen = map[wire.MessageCode]int{}
	args := append([]string{"-n", "-r", file, "-o", "reload.nodeid_length:16", "-o", "reload.topology_plugin:CHORD-RELOAD"}, more...)
	for l := range strings.Lines(r.tshark(t, "tshark", append(args, "-o", "reload.defragment:TRUE", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-e", "frame.number", "-e", "frame.protocols",
		"-e", "reload.message.code", "-e", "_ws.malformed", "-e", "_ws.expert.severity", "-e", "_ws.expert.message")...)) {
		lines++
		f := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		if len(f) != 6 {
			t.Fatalf("%d fields: %q", len(f), l)
		}
		if !strings.Contains(f[1], "reload") {
			t.Errorf("packet %s is %s", f[0], f[1])
		}
		if f[3] != "" {
			t.Errorf("packet %s, message %s: malformed", f[0], f[2])
		}
		texts := strings.Split(f[5], "|")
		for i, severity := range strings.Split(f[4], "|") {
			if severity == severityError && (i >= len(texts) || texts[i] != tolerated) {
				t.Errorf("packet %s, message %s: %s", f[0], f[2], f[5])
			}
		}
		if code, err := strconv.ParseUint(f[2], 0, 16); err == nil {
			seen[wire.MessageCode(code)]++
		}
	}
	t.Logf("%d packets: %v", lines, seen)
	return seen, lines
}

// complete checks that every kind of message that was to be captured was.
func (r captureRun) complete(t *testing.T, seen map[wire.MessageCode]int) {
	t.Helper()
	for _, code := range []wire.MessageCode{
		wire.CodeAttachReq, wire.CodeAttachAns, wire.CodeJoinReq, wire.CodeJoinAns, wire.CodeUpdateReq, wire.CodeStoreReq, wire.CodeStoreAns,
		wire.CodeFetchReq, wire.CodeFetchAns, wire.CodeAppAttachReq, wire.CodeAppAttachAns, wire.CodeLeaveReq,
	} {
		if seen[code] == 0 {
			t.Errorf("no %s in the capture; seen: %v", wire.CodeName(code), seen)
		}
	}
}

// accepted has the dissection tool beside the repository look at the capture too, where there is one.
func (r captureRun) accepted(t *testing.T, port int) {
	t.Helper()
	tool, err := filepath.Abs("../../../shared/tools/tshark-reload.sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); errors.Is(err, os.ErrNotExist) {
		return
	}
	out, err := exec.Command(tool, "-q", "-k", fmt.Sprintf("%d:SIP-GATEWAY:single", uint32(privateKind)), "-r", r.pcap, "-K", r.keys,
		"-p", fmt.Sprint(port)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "malformed=0") {
		t.Errorf("port %d: %v\n%s", port, err, out)
	}
}

// A build without the tag keylog can not be told to write secrets down.
func TestCaptureReleaseBuildWritesNoKeys(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	base := freePorts(t)
	p := start(t, program(t, ""), []string{"SSLKEYLOGFILE=" + keys}, "dev", "--sip-port", fmt.Sprint(base), "--overlay-port", fmt.Sprint(base+100),
		"--admin-port", fmt.Sprint(base+120), "--gateways", "2", "--redirects", "0")
	eventually(t, "the ready line", func() error {
		if !strings.Contains(p.stderr.String(), "\nready") {
			return fmt.Errorf("output so far:\n%s", p.stderr)
		}
		return nil
	})
	if _, err := os.Stat(keys); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s exists: %v", keys, err)
	}
}
