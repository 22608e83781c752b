package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var updateTorture = flag.Bool("update", false, "write docs/torture.md instead of comparing it")

const (
	torturePage = "../../../../docs/torture.md"
	tortureDir  = "../../../../sip/message/testdata/torture"
)

// What is owed for a message.
const (
	accepted = "accepted"  // it is well-formed: any final answer but 400, 414, 505 and 513, of whoever it is for
	silence  = "no answer" // a response, or nothing that can be answered
)

// tortured is one message of RFC 4475 or RFC 5118. owed is accepted, silence or statuses, any of which is right by the RFC; tcp is what
// is owed over a stream where that is not the same.
type tortured struct{ name, section, what, owed, tcp string }

var torture4475 = []tortured{
	{"wsinv", "3.1.1.1", "A short tortuous INVITE", accepted, ""},
	{"intmeth", "3.1.1.2", "Wide range of valid characters", accepted, ""},
	{"esc01", "3.1.1.3", "Valid use of the % escaping mechanism", accepted, ""},
	{"escnull", "3.1.1.4", "Escaped nulls in URIs", accepted, ""},
	{"esc02", "3.1.1.5", "Use of % when it is not an escape", accepted, ""},
	{"lwsdisp", "3.1.1.6", "Message with no LWS between display name and <", accepted, ""},
	{"longreq", "3.1.1.7", "Long values in header fields", accepted, ""},
	{"dblreq", "3.1.1.8", "Extra trailing octets in a UDP datagram", accepted, ""},
	{"semiuri", "3.1.1.9", "Semicolon-separated parameters in URI user part", accepted, ""},
	{"transports", "3.1.1.10", "Varied and unknown transport types", accepted, ""},
	{"mpart01", "3.1.1.11", "Multipart MIME message", accepted, ""},
	{"unreason", "3.1.1.12", "Unusual reason phrase", silence, ""},
	{"noreason", "3.1.1.13", "Empty reason phrase", silence, ""},
	{"badinv01", "3.1.2.1", "Extraneous header field separators", "400", ""},
	{"clerr", "3.1.2.2", "Content-Length larger than message", "400", accepted + " when the rest has come"},
	{"ncl", "3.1.2.3", "Negative Content-Length", "400", ""},
	{"scalar02", "3.1.2.4", "Request scalar fields with overlarge values", "400", ""},
	{"scalarlg", "3.1.2.5", "Response scalar fields with overlarge values", silence, ""},
	{"quotbal", "3.1.2.6", "Unterminated quoted string in display name", "400", ""},
	{"ltgtruri", "3.1.2.7", "<> enclosing Request-URI", "400", ""},
	{"lwsruri", "3.1.2.8", "Malformed SIP Request-URI (embedded LWS)", "400", ""},
	{"lwsstart", "3.1.2.9", "Multiple SP separating Request-Line elements", "400 " + accepted, ""},
	{"trws", "3.1.2.10", "SP characters at end of Request-Line", "400 " + accepted, ""},
	{"escruri", "3.1.2.11", "Escaped headers in SIP Request-URI", "400 " + accepted, ""},
	{"baddate", "3.1.2.12", "Invalid time zone in Date header field", "400 " + accepted, ""},
	{"regbadct", "3.1.2.13", "Failure to enclose name-addr URI in <>", "400 " + accepted, ""},
	{"badaspec", "3.1.2.14", "Spaces within addr-spec", "400 " + accepted, ""},
	{"baddn", "3.1.2.15", "Non-token characters in display name", "400 " + accepted, ""},
	{"badvers", "3.1.2.16", "Unknown protocol version", "505", ""},
	{"mismatch01", "3.1.2.17", "Start line and CSeq method mismatch", "400", ""},
	{"mismatch02", "3.1.2.18", "Unknown method with CSeq method mismatch", "400 501", ""},
	{"bigcode", "3.1.2.19", "Overlarge response code", silence, ""},
	{"badbranch", "3.2.1", "Missing transaction identifier", accepted, ""},
	{"insuf", "3.3.1", "Missing required header fields", "400", ""},
	{"unkscm", "3.3.2", "Request-URI with unknown scheme", "416", ""},
	{"novelsc", "3.3.3", "Request-URI with known but atypical scheme", "416", ""},
	{"unksm2", "3.3.4", "Unknown URI schemes in header fields", accepted, ""},
	{"bext01", "3.3.5", "Proxy-Require and Require", "420", ""},
	{"invut", "3.3.6", "Unknown Content-Type", accepted, ""},
	{"regaut01", "3.3.7", "Unknown authorization scheme", accepted, ""},
	{"multi01", "3.3.8", "Multiple values in single value required fields", "400", ""},
	{"mcl01", "3.3.9", "Multiple Content-Length values", "400", ""},
	{"bcast", "3.3.10", "200 OK response with broadcast Via header field value", silence, ""},
	{"zeromf", "3.3.11", "Max-Forwards of zero", "483 200", ""},
	{"cparam01", "3.3.12", "REGISTER with a Contact header parameter", accepted, ""},
	{"cparam02", "3.3.13", "REGISTER with a url-parameter", accepted, ""},
	{"regescrt", "3.3.14", "REGISTER with a URL escaped header", accepted, ""},
	{"sdp01", "3.3.15", "Unacceptable Accept offering", accepted, ""},
	{"inv2543", "3.4.1", "INVITE with RFC 2543 syntax", accepted, "400"},
}

var torture5118 = []tortured{
	{"ipv6-good", "4.1", "Valid SIP message with an IPv6 reference", accepted, ""},
	{"ipv6-bad", "4.2", "Invalid SIP message with an IPv6 reference", "400", ""},
	{"port-ambiguous", "4.3", "Port ambiguous in a SIP URI", accepted, ""},
	{"port-unambiguous", "4.4", "Port unambiguous in a SIP URI", accepted, ""},
	{"via-received-param-with-delim", "4.5", "IPv6 reference delimiters in Via header", accepted, ""},
	{"via-received-param-no-delim", "4.5", "The same without delimiters", accepted, ""},
	{"ipv6-in-sdp", "4.6", "IPv6 addresses in SDP", accepted, ""},
	{"mult-ip-in-header", "4.7", "Multiple IP addresses in SIP headers", accepted, ""},
	{"mult-ip-in-sdp", "4.8", "Multiple IP addresses in SDP", accepted, ""},
	{"ipv4-mapped-ipv6", "4.9", "IPv4-mapped IPv6 addresses", accepted, ""},
	{"ipv6-bug-abnf-3-colons", "4.10", "IPv6 reference bug in RFC 3261 ABNF: three colons", accepted, ""},
	{"ipv6-correct-abnf-2-colons", "4.10", "The same with two colons", accepted, ""},
}

// Each message of RFC 4475 and RFC 5118 is sent to a gateway over UDP and TCP, and answered as it is owed. docs/torture.md shows what is
// owed and what was given; go test -run Torture ./cmd/p2psip-gateway/internal/gateway -update writes it.
//
// Feature: TRN-05 SEC-07 PRX-36
func TestRFC4475_RFC5118_TortureOverSockets(t *testing.T) {
	g := ring(t, 1, 1)[0]
	x := torturer{t: t, udp: g.flows.Listeners()[0].Local, tcp: g.flows.Listeners()[1].Local}
	var page strings.Builder
	page.WriteString(tortureHead)
	for _, r := range []struct {
		rfc      string
		messages []tortured
	}{{"RFC 4475", torture4475}, {"RFC 5118", torture5118}} {
		fmt.Fprintf(&page, "\n## %s: %d messages\n\n| Section | Message | What it is | Owed | Over UDP | Over TCP |\n|---|---|---|---|---|---|\n", r.rfc, len(r.messages))
		for _, m := range r.messages {
			udp, tcp := x.over("udp", m, m.owed), x.over("tcp", m, orElse(m.tcp, m.owed))
			owed := strings.Join(alternatives(m.owed), " or ")
			if m.tcp != "" {
				owed += "; over TCP " + m.tcp
			}
			fmt.Fprintf(&page, "| %s | `%s` | %s | %s | %s | %s |\n", m.section, m.name, m.what, owed, udp, tcp)
		}
	}
	if *updateTorture {
		if err := os.WriteFile(torturePage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(torturePage); err != nil || string(have) != page.String() {
		t.Errorf("docs/torture.md is not what was answered (%v): go test -run Torture ./cmd/p2psip-gateway/internal/gateway -update", err)
	}
}

const tortureHead = `# Torture messages

Each message of RFC 4475 and RFC 5118 as a gateway answers it, over real sockets, and what it is owed. "accepted" is any final answer of the registrar or proxy
behind the parser: the messages are for other domains, so 403 (no relaying) and 404 are what most of them get; the word in the Warning of the answer stands
beside it, and ` + "`p2psip-gateway explain WORD`" + ` explains it. Where the RFC lets a server be lenient both answers stand. "no answer" is what a response without a transaction
gets, and what cannot be answered.

The messages are those of the RFCs' archives (` + "`sip/message/testdata/torture`" + `); but ` + "`baddn`" + ` has got the CRLF that its end lacks, and those of RFC 5118 have CRLF line ends, the empty line that
two of them lack, and the Content-Length of their body.

This page is generated: go test -run Torture ./cmd/p2psip-gateway/internal/gateway -update
`

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// alternatives are the words of an owed field; silence is two.
func alternatives(owed string) []string {
	if owed == silence {
		return []string{silence}
	}
	return strings.Fields(owed)
}

type torturer struct {
	t        *testing.T
	udp, tcp netip.AddrPort
	n        int
}

// over sends a message and tells what came back, which must be what is owed.
func (x *torturer) over(network string, m tortured, owed string) string {
	x.t.Helper()
	raw, err := os.ReadFile(filepath.Join(tortureDir, m.name+".dat"))
	if err != nil {
		x.t.Fatal(err)
	}
	x.n++
	conn := x.dial(network, raw)
	answers := bufio.NewReaderSize(conn, 65535)
	defer func() { _ = conn.Close() }()
	if strings.HasPrefix(owed, accepted+" ") {
		raw = completed(raw)
		owed = accepted
	}
	if _, err := conn.Write(raw); err != nil {
		x.t.Fatal(err)
	}
	if owed == silence {
		probe := fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:9;rport;branch=z9hG4bKp%d\r\nFrom: <sip:p@example.com>;tag=1\r\n"+
			"To: <sip:p@example.com>\r\nCall-ID: probe%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", testDomain, strings.ToUpper(network), x.n, x.n)
		if _, err := conn.Write([]byte(probe)); err != nil {
			x.t.Fatal(err)
		}
	}
	for {
		head, err := answer(answers)
		if err != nil {
			x.t.Errorf("%s over %s: no answer: %v", m.name, network, err)
			return "none"
		}
		if owed == silence && strings.Contains(head, fmt.Sprintf("Call-ID: probe%d\r\n", x.n)) {
			return silence
		}
		if !strings.HasPrefix(head, "SIP/2.0 1") {
			return x.judge(m, network, owed, head)
		}
	}
}

// answer reads the head of a message, which has no body. What came malformed goes back malformed: no parser could read it.
func answer(r *bufio.Reader) (head string, err error) {
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		head += line
	}
	return head, nil
}

// judge holds an answer against what is owed.
func (x *torturer) judge(m tortured, network, owed, head string) string {
	x.t.Helper()
	status, err := strconv.Atoi(strings.TrimPrefix(head, "SIP/2.0 ")[:3])
	ok := false
	for _, want := range alternatives(owed) {
		ok = ok || want == strconv.Itoa(status) || want == accepted && !slices.Contains([]int{400, 414, 505, 513}, status)
	}
	if !ok || err != nil {
		x.t.Errorf("%s over %s: owed %s, have\n%s", m.name, network, owed, head)
	}
	word := ""
	if w := regexp.MustCompile(`399 p2psip "(\S+)`).FindStringSubmatch(head); w != nil {
		word = " " + w[1]
	}
	return strconv.Itoa(status) + word
}

var viaPort = regexp.MustCompile(`(?im)^(?:v|via)[ \t]*:\s*SIP\s*/\s*2\.0\s*/\s*\S+\s+(?:\[[^\]]*\]|[^\s:;,]+)\s*:\s*(\d+)`)

// dial opens the way to the gateway. Over UDP the answer goes to the port in the top Via, so that has to be ours, at an address of the host
// that nobody else uses.
func (x *torturer) dial(network string, raw []byte) (conn net.Conn) {
	x.t.Helper()
	if network == "tcp" {
		conn = dial(x.t, "TCP", x.tcp).(*octets)
	} else {
		port := "5060"
		if m := viaPort.FindSubmatch(raw); m != nil {
			port = string(m[1])
		}
		own, err := net.ResolveUDPAddr("udp", fmt.Sprintf("127.77.%d.%d:%s", os.Getpid()%256, x.n, port))
		if err != nil {
			own, err = net.ResolveUDPAddr("udp", fmt.Sprintf("127.77.%d.%d:0", os.Getpid()%256, x.n)) // a Via that nobody can read
		}
		if err != nil {
			x.t.Fatal(err)
		}
		c, err := net.DialUDP("udp", own, net.UDPAddrFromAddrPort(x.udp))
		if err != nil {
			x.t.Fatal(err)
		}
		conn = c
	}
	if err := conn.SetDeadline(time.Now().Add(phoneWait)); err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// completed has as much body as its Content-Length says.
func completed(raw []byte) []byte {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	m := regexp.MustCompile(`(?im)^content-length\s*:\s*(\d+)`).FindSubmatch(head)
	n, err := strconv.Atoi(string(m[1]))
	if err != nil || n < len(body) {
		panic(errors.New("the message lacks nothing"))
	}
	return append(raw, bytes.Repeat([]byte("x"), n-len(body))...)
}
