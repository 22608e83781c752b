package message

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// torture says what is owed for each message of RFC 4475 and RFC 5118: 0 stands for one that is accepted, drop for one that gets
// no answer. Refusals that are the cores' (416, 420, 483, ..) are accepted here.
//
// Against the archives of the RFCs, baddn has got the CRLF that its end lacks, and the messages of RFC 5118 have CRLF line ends, the empty
// line that two of them lack and, in three, the Content-Length of their body.
const drop = -1

var torture = map[string]struct {
	status int
	stream int  // when it is not the same: a datagram needs no Content-Length, and a body may come later
	waits  bool // a stream waits for the rest of the body
}{
	// RFC 4475 §3.1.1: valid.
	"wsinv": {}, "intmeth": {}, "esc01": {}, "escnull": {}, "esc02": {}, "lwsdisp": {}, "longreq": {}, "dblreq": {}, "semiuri": {},
	"transports": {}, "mpart01": {}, "unreason": {}, "noreason": {},
	// §3.1.2: invalid.
	"badinv01": {status: 400}, "clerr": {status: 400, waits: true}, "ncl": {status: 400}, "scalar02": {status: 400},
	"scalarlg": {status: drop}, "quotbal": {status: 400}, "ltgtruri": {status: 400}, "lwsruri": {status: 400},
	"lwsstart": {status: 400}, "trws": {status: 400}, "escruri": {status: 400}, "baddate": {}, "regbadct": {},
	"badaspec": {status: 400}, "baddn": {status: 400}, "badvers": {status: 505}, "mismatch01": {status: 400},
	"mismatch02": {status: 400}, "bigcode": {status: drop},
	// §3.2 and §3.3: semantics of transactions and applications.
	"badbranch": {}, "insuf": {status: 400}, "unkscm": {}, "novelsc": {}, "unksm2": {}, "bext01": {}, "invut": {}, "regaut01": {},
	"multi01": {status: 400}, "mcl01": {status: 400}, "bcast": {}, "zeromf": {}, "cparam01": {}, "cparam02": {}, "regescrt": {},
	"sdp01": {},
	// §3.4: backward compatibility. No Content-Length.
	"inv2543": {stream: 400},
	// RFC 5118.
	"ipv6-good": {}, "ipv6-bad": {status: 400}, "port-ambiguous": {}, "port-unambiguous": {},
	"via-received-param-with-delim": {}, "via-received-param-no-delim": {}, "ipv6-in-sdp": {}, "mult-ip-in-header": {},
	"mult-ip-in-sdp": {}, "ipv4-mapped-ipv6": {}, "ipv6-bug-abnf-3-colons": {}, "ipv6-correct-abnf-2-colons": {},
}

func tortureFiles(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/torture/*.dat")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, path := range names {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".dat")] = b
	}
	return out
}

// verdict is the status of an error as torture has it.
func verdict(t *testing.T, m *Message, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	e := AsParseError(err)
	if e == nil {
		t.Fatalf("%v is no ParseError", err)
	}
	if (m == nil) != (e.Status == 0) {
		t.Errorf("status %d with message %v", e.Status, m)
	}
	if e.Status == 0 {
		return drop
	}
	return e.Status
}

// Feature: PRX-36
func TestRFC4475_RFC5118_Torture(t *testing.T) {
	files := tortureFiles(t)
	if len(files) != 49+12 || len(torture) != len(files) {
		t.Fatalf("%d files, %d verdicts", len(files), len(torture))
	}
	for name, b := range files {
		want, ok := torture[name]
		if !ok {
			t.Errorf("%s: no verdict", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			m, err := Parse(b)
			if got := verdict(t, m, err); got != want.status {
				t.Errorf("datagram: %d (%v), want %d", got, err, want.status)
			}
			stream := max(want.status, want.stream)
			if want.status == drop {
				stream = drop
			}
			r := NewReader(bytes.NewReader(b))
			sm, _, serr := r.Next()
			if want.waits {
				if AsParseError(serr) != nil || !r.Partial() {
					t.Errorf("stream: %v, want it to wait for the body", serr)
				}
				return
			}
			if got := verdict(t, sm, serr); got != stream {
				t.Errorf("stream: %d (%v), want %d", got, serr, stream)
			}
			if err == nil && serr == nil {
				if d := cmp.Diff(m, sm); d != "" {
					t.Errorf("stream differs from datagram:\n%s", d)
				}
			}
		})
	}
}

// Every accepted message leaves as it came: each value the same, but for folding, and names in their usual spelling.
func TestTortureVerbatim(t *testing.T) {
	for name, b := range tortureFiles(t) {
		if torture[name].status != 0 {
			continue
		}
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		got, want := string(m.AppendTo(nil)), usualForm(string(b))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// usualForm rewrites a good message by another way than Parse: unfolded, white space around values gone, names spelled as usual.
func usualForm(s string) string {
	head, body, _ := strings.Cut(s, "\r\n\r\n")
	for _, fold := range []string{"\r\n ", "\r\n\t"} {
		for strings.Contains(head, fold) {
			i := strings.Index(head, fold)
			head = strings.TrimRight(head[:i], " \t") + " " + strings.TrimLeft(head[i+2:], " \t")
		}
	}
	start, rest, _ := strings.Cut(head, "\r\n")
	out := start + "\r\n"
	length := false
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if n := ParseName(name); n != Other {
			name = n.String()
		}
		if name == "Content-Length" {
			length = true
			if n, err := strconv.Atoi(value); err == nil && n >= 0 && n <= len(body) {
				body, value = body[:n], strconv.Itoa(n)
			}
		}
		out += name + ": " + value + "\r\n"
	}
	if !length {
		out += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return out + "\r\n" + body
}

// A refused request is answered from what could be read of it: RFC 3261 §8.2.6.2 wants Via, From, To, Call-ID and CSeq back.
func TestRefusalCanBeAnswered(t *testing.T) {
	for name, b := range tortureFiles(t) {
		if torture[name].status <= 0 {
			continue
		}
		m, err := Parse(b)
		e := AsParseError(err)
		res := NewResponse(m, e.Status, "", "x")
		for _, n := range []Name{Via, From, To, CallID, CSeq} {
			if got, want := len(res.Lines(n)), count(usualForm(string(b)), n); got != want {
				if name == "multi01" && got == 1 {
					continue // the first of each
				}
				t.Errorf("%s: %d %s in the answer, %d in the request", name, got, n, want)
			}
		}
	}
}

func count(s string, n Name) int {
	head, _, _ := strings.Cut(s, "\r\n\r\n")
	return strings.Count(head, "\r\n"+n.String()+":")
}
