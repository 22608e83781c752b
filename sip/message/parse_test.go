package message

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// request builds a good request around lines that stand in place of, or behind, its own: a line whose name is there replaces it, and
// "Name" without a colon removes it.
func request(lines ...string) string {
	have := []string{
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", "From: <sip:a@example.org>;tag=1", "To: <sip:b@example.org>",
		"Call-ID: c1@192.0.2.1", "CSeq: 1 OPTIONS", "Max-Forwards: 70",
	}
	start := "OPTIONS sip:b@example.org SIP/2.0"
	for _, line := range lines {
		name, _, field := strings.Cut(line, ":")
		at := -1
		for i, h := range have {
			if strings.HasPrefix(h, name+":") {
				at = i
			}
		}
		switch {
		case strings.HasSuffix(line, "SIP/2.0") || strings.HasPrefix(line, "SIP/"):
			start = line
		case at >= 0 && !field:
			have = append(have[:at], have[at+1:]...)
		case at >= 0:
			have[at] = line
		default:
			have = append(have, line)
		}
	}
	return start + "\r\n" + strings.Join(have, "\r\n") + "\r\n\r\n"
}

// distinct is n fields of different names.
func distinct(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("X-%d: 1", i))
	}
	return out
}

func mustParse(t testing.TB, s string) *Message {
	t.Helper()
	m, err := Parse([]byte(s))
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return m
}

func TestParseVerdicts(t *testing.T) {
	long := strings.Repeat("a", MaxRequestURI)
	tests := []struct {
		name, msg string
		status    int // 0 accepts
	}{
		{"good", request(), 0},
		{"empty", "", drop},
		{"keep-alive", "\r\n\r\n", drop},
		{"CRLF in front", "\r\n\r\n" + request(), 0},
		{"one LF in front", "\n" + request(), 400},
		{"garbage", "\x00\x01\x02\x03", drop},
		{"STUN", "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", drop},
		{"no empty line", strings.TrimSuffix(request(), "\r\n"), 400},
		{"cut in a line", request()[:150], 400},
		{"cut before Via ends", request()[:50], drop},
		{"cut in the start line", request()[:20], drop},
		{"LF line ends", strings.ReplaceAll(request(), "\r\n", "\n"), drop},
		{"LF in a value", request("X-a: a\nP-Asserted-Identity: <sip:boss@example.org>"), 400},
		{"CR in a value", request("X-a: a\rb"), 400},
		{"CR CR LF", request("X-a: a\r"), 400},
		{"NUL in a value", request("X-a: a\x00b"), 400},
		{"NUL behind an escaped backslash", request("X-a: \"a\\\\\x00b\""), 400},
		{"NUL in a quoted pair", request("X-a: \"a\\\x00b\\\x00\""), 0},
		{"tab and invalid UTF-8", request("X-a: a\t\xff\xfe"), 0},
		{"name with space", request("X Y: a"), 400},
		{"name empty", request(": a"), 400},
		{"no colon", request("garbage"), 400},
		{"fold behind the start line", strings.Replace(request(), "\r\n", "\r\n x\r\n", 1), 400},
		{"value empty", request("Subject:"), 0},
		{"no Via", request("Via"), drop},
		{"Via malformed", request("Via: SIP/2.0/UDP"), 400},
		{"Via port 65535", request("Via: SIP/2.0/UDP h:65535"), 0},
		{"Via port 65536", request("Via: SIP/2.0/UDP h:65536"), 400},
		{"Via port negative", request("Via: SIP/2.0/UDP h:-5"), 400},
		{"Via port signed", request("Via: SIP/2.0/UDP h:+5"), 400},
		{"Via port missing", request("Via: SIP/2.0/UDP h:"), 400},
		{"Via host missing", request("Via: SIP/2.0/UDP ;branch=1"), 400},
		{"Via IPv6 without brackets", request("Via: SIP/2.0/UDP 2001:db8::1;branch=1"), 400},
		{"Via of another protocol", request("Via: SIPX/3.0/UDP h;branch=1"), 0},
		{"second Via malformed", request("Via: SIP/2.0/UDP h;branch=1, nonsense"), 0},
		{"no From", request("From"), 400},
		{"no To", request("To"), 400},
		{"no Call-ID", request("Call-ID"), 400},
		{"no CSeq", request("CSeq"), 400},
		{"no Max-Forwards", request("Max-Forwards"), 0},
		{"two From", request("f: <sip:x@example.org>"), 400},
		{"two To", request("t: <sip:x@example.org>"), 400},
		{"two Call-ID", request("i: x"), 400},
		{"two CSeq", request("cseq: 2 OPTIONS"), 400},
		{"two Max-Forwards", request("max-forwards: 7"), 400},
		{"two Content-Length", request("Content-Length: 0", "l: 0"), 400},
		{"From unterminated", request(`From: "x <sip:a@example.org>;tag=1`), 400},
		{"From unclosed", request(`From: <sip:a@example.org;tag=1`), 400},
		{"From empty URI", request(`From: <>;tag=1`), 400},
		{"From trailing text", request(`From: <sip:a@example.org> x;tag=1`), 400},
		{"To with ? outside brackets", request("To: sip:a@example.org?x=y"), 400},
		{"To with empty parameter", request("To: <sip:a@example.org>;;x"), 400},
		{"Call-ID empty", request("Call-ID:"), 400},
		{"Call-ID of two words", request("Call-ID: a b"), 400},
		{"CSeq 2^31-1", request("CSeq: 2147483647 OPTIONS"), 0},
		{"CSeq 2^31", request("CSeq: 2147483648 OPTIONS"), 400},
		{"CSeq 20 digits", request("CSeq: 99999999999999999999 OPTIONS"), 400},
		{"CSeq negative", request("CSeq: -1 OPTIONS"), 400},
		{"CSeq without method", request("CSeq: 1"), 400},
		{"CSeq of another method", request("CSeq: 1 INVITE"), 400},
		{"CSeq of other case", request("CSeq: 1 options"), 400},
		{"Content-Length word", request("Content-Length: x"), 400},
		{"Content-Length signed", request("Content-Length: +0"), 400},
		{"Content-Length empty", request("Content-Length:"), 400},
		{"Content-Length short of the body", request("Content-Length: 1") + "ab", 0},
		{"Content-Length over the body", request("Content-Length: 3") + "ab", 400},
		{"Content-Length huge", request("Content-Length: 99999999999999999999"), 400},
		{"method malformed", request("OPT(ONS sip:b@example.org SIP/2.0"), 400},
		{"method empty", request(" sip:b@example.org SIP/2.0"), 400},
		{"method lower case is another", request("options sip:b@example.org SIP/2.0", "CSeq: 1 options"), 0},
		{"two spaces", request("OPTIONS  sip:b@example.org SIP/2.0"), 400},
		{"no URI", request("OPTIONS SIP/2.0"), 400},
		{"URI in brackets", request("OPTIONS <sip:b@example.org> SIP/2.0"), 400},
		{"URI with a tab", request("OPTIONS sip:b@exam\tple.org SIP/2.0"), 400},
		{"URI without host", request("OPTIONS sip:b@ SIP/2.0"), 400},
		{"URI port 70000", request("OPTIONS sip:b@example.org:70000 SIP/2.0"), 400},
		{"URI with headers", request("OPTIONS sip:b@example.org?Route=x SIP/2.0"), 400},
		{"URI scheme unknown", request("OPTIONS soap.beep://192.0.2.1 SIP/2.0"), 0},
		{"URI scheme malformed", request("OPTIONS 1x:y SIP/2.0"), 400},
		{"URI at the limit", request("OPTIONS sip:" + long[4:] + " SIP/2.0"), 0},
		{"URI over the limit", request("OPTIONS sip:" + long + " SIP/2.0"), 414},
		{"version 7.0", strings.Replace(request(), "SIP/2.0", "SIP/7.0", 1), 505},
		{"version 2.00", strings.Replace(request(), "SIP/2.0", "SIP/2.00", 1), 505},
		{"version in lower case", strings.Replace(request(), "SIP/2.0", "sip/2.0", 1), 0},
		{"version without number", strings.Replace(request(), "SIP/2.0", "SIP/x", 1), 400},
		{"HTTP", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", drop},
		{"ACK is never answered", request("ACK sip:b@example.org SIP/2.0", "CSeq: 1 INVITE"), drop},
		{"too large", request("X-a: " + strings.Repeat("x", MaxMessage)), 513},
		{"as many fields as may be", request(distinct(MaxFields - 6)...), 0},
		{"too many fields", request(distinct(MaxFields - 5)...), 400},
		{"response", request("SIP/2.0 200 OK"), 0},
		{"response without reason", request("SIP/2.0 200 "), 0},
		{"response without space", request("SIP/2.0 200"), drop},
		{"response 099", request("SIP/2.0 099 x"), drop},
		{"response 100", request("SIP/2.0 100 x"), 0},
		{"response 699", request("SIP/2.0 699 x"), 0},
		{"response 700", request("SIP/2.0 700 x"), drop},
		{"response 1000", request("SIP/2.0 1000 x"), drop},
		{"response of version 3", request("SIP/3.0 200 x"), drop},
		{"response of another method", request("SIP/2.0 200 OK", "CSeq: 1 INVITE"), 0},
		{"response without To", request("SIP/2.0 200 OK", "To"), drop},
	}
	for _, tt := range tests {
		m, err := Parse([]byte(tt.msg))
		if got := verdict(t, m, err); got != tt.status {
			t.Errorf("%s: %d (%v), want %d", tt.name, got, err, tt.status)
		}
	}
}

// Nothing of a refused line may look like a header field to whoever answers.
func TestSmuggledFieldIsNotRead(t *testing.T) {
	m, err := Parse([]byte(request("X-a: a\nP-Asserted-Identity: <sip:boss@example.org>")))
	if err == nil || m.Has(PAssertedIdentity) {
		t.Errorf("%v, %q", err, m.Get(PAssertedIdentity))
	}
}

// Fields come in order, compact forms are the names they stand for, folding becomes one space.
func TestRFC3261_7_3_Fields(t *testing.T) {
	m := mustParse(t, "INVITE sip:b@example.org SIP/2.0\r\nv: SIP/2.0/TCP h\r\nf:sip:a@example.org\r\n"+
		"T :\r\n sip:b@example.org \r\ni: x\r\nCSEQ:  0009 \t\r\n\t INVITE\r\nm: *\r\nk: a, b\r\ns:\r\nx-New: 1\r\n"+
		"Record-route: <sip:p;lr>\r\ne: gzip\r\no: reg\r\nu: reg\r\nr: <sip:c@d>\r\nb: <sip:e@f>\r\nx: 90\r\nl: 3\r\n\r\nabcdef")
	want := &Message{
		Method: "INVITE", RequestURI: "sip:b@example.org", Body: []byte("abc"),
		Fields: []Field{
			{Via, "", "SIP/2.0/TCP h"}, {From, "", "sip:a@example.org"}, {To, "", "sip:b@example.org"}, {CallID, "", "x"},
			{CSeq, "", "0009 INVITE"}, {Contact, "", "*"}, {Supported, "", "a, b"}, {Subject, "", ""}, {Other, "x-New", "1"},
			{RecordRoute, "", "<sip:p;lr>"}, {ContentEncoding, "", "gzip"}, {Event, "", "reg"}, {AllowEvents, "", "reg"},
			{ReferTo, "", "<sip:c@d>"}, {ReferredBy, "", "<sip:e@f>"}, {SessionExpires, "", "90"}, {ContentLength, "", "3"},
		},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if c, err := m.CSeq(); err != nil || c != (CSeqValue{9, "INVITE"}) {
		t.Errorf("%v %v", c, err)
	}
	if !strings.Contains(string(m.AppendTo(nil)), "\r\nRecord-Route: <sip:p;lr>\r\n") {
		t.Error("Record-Route is not in its usual spelling")
	}
}

func TestNames(t *testing.T) {
	for n := range Name(len(usual)) {
		if n == Other {
			continue
		}
		s := n.String()
		if s == "" || len(s) > longestName {
			t.Fatalf("Name %d has no spelling", n)
		}
		for _, v := range []string{s, strings.ToLower(s), strings.ToUpper(s)} {
			if got := ParseName(v); got != n {
				t.Errorf("%s: %d, want %d", v, got, n)
			}
		}
	}
	for _, s := range []string{"", "z", "\x80", "Foo", "Content-Lengthx", strings.Repeat("x", 300)} {
		if n := ParseName(s); n != Other {
			t.Errorf("%q: %v", s, n)
		}
	}
	if Name(255).String() != "" || Other.String() != "" {
		t.Error("spelling of no name")
	}
	for c := byte('a'); c <= 'z'; c++ {
		if ParseName(string(c)) != ParseName(strings.ToUpper(string(c))) {
			t.Errorf("%c", c)
		}
	}
}

func TestRFC3261_20_22_Hops(t *testing.T) {
	for v, want := range map[string]string{"0068": "68 true", "0": "0 true", "255": "255 true", "256": "256 false", "300": "256 false",
		"-1": "0 false", "": "0 false", "x": "0 false"} {
		m := mustParse(t, request("Max-Forwards: "+v))
		n, ok := m.Hops()
		if got := fmt.Sprint(n, ok); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

// Every prefix of a message is refused or dropped without harm, but for the whole.
func TestEveryPrefix(t *testing.T) {
	for name, b := range tortureFiles(t) {
		for n := range len(b) {
			if m, err := Parse(b[:n]); err == nil {
				_ = m.AppendTo(nil)
				if n < len(b)/4 {
					t.Errorf("%s: %d octets pass", name, n)
				}
			}
		}
	}
}

// No input makes the reading grow with the square of its length. Four times as much then takes sixteen times as long, and four times as long now.
// What is quick in itself is no matter, and whatever else the machine does at the time makes no one of several tries shorter.
func TestHostileInputTakesLinearTime(t *testing.T) {
	const size, tries, quick = 60000, 6, 2 * time.Second
	for _, unit := range []string{"(,", "( ", "(", `"`, `\"`, `<"\"`, "<", ",", ";", ";a", `;a="`, "a;", "%", `"\`, "\\\x00", "&a", "sip:a;", "(((\\"} {
		short, long := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
		for range tries {
			if long = min(long, readHostile(unit, size)); long < quick {
				break
			}
			short = min(short, readHostile(unit, size/4))
		}
		if long >= quick && long > 9*short {
			t.Errorf("%q: %v for %d octets, %v for a quarter", unit, long, size, short)
		}
	}
}

// readHostile reads fields made of a unit, and tells how long it took.
func readHostile(unit string, size int) time.Duration {
	began := time.Now()
	long := strings.Repeat(unit, size/len(unit))
	for _, v := range []string{long, "<" + long + ">", "SIP/2.0/UDP h;" + long, "sip:h;x" + long, "sip:h?" + long} {
		m := &Message{Fields: []Field{{Via, "", v}, {Route, "", v}, {Contact, "", v}, {From, "", v}, {To, "", v}, {CSeq, "", v}}}
		use(m)
		_ = DelParam(";"+v, "a")
		_ = SetParam(";"+v, "b", "1")
		_ = EqualURI(v, v+"&x")
		_ = CanonicalUser(v)
	}
	_, _ = Parse([]byte(request("X-a: " + long)))
	return time.Since(began)
}
