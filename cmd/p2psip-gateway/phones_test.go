package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// The matrix of docs/phones.md: programs that people use, as they are packaged, against gateways, with each transport, at one gateway and across
// several. Each line of phones is a subtest that goes through its cells. What a cell waits for is read in the traces of the phones: the
// messages that they sent and received, as they saw them.

// handsetConfig says who a phone is.
type handsetConfig struct {
	user, transport string
	server          string // host:port of its gateway
	expires         int    // seconds asked for
	password        string // empty: the right one
	peer            string // the user whom it writes to and watches
	watches         bool
	single          bool // it takes one call at a time, and lets it ring for singleRings
}

// singleRings is how many seconds a phone of one line lets a call ring.
const singleRings = 6

func (c handsetConfig) secret() string { return cmp.Or(c.password, "secret-"+c.user) }

// handset is a running phone.
type handset interface {
	// do presses a key: dial, answer, busy, decline, hangup, cancel, hold, resume, transfer, attended, message, appear, vanish, quit.
	do(t *testing.T, action, argument string)
	trace() string
	off() // the plug is pulled
}

// phoneProgram is one of the phones of the matrix.
type phoneProgram struct {
	name    string
	start   func(t *testing.T, c handsetConfig) handset
	appears bool              // its user can tell watchers whether he is there
	cannot  map[string]string // by cell: why it is not in the table
}

// station is a handset and where it is.
type station struct {
	handset
	handsetConfig
	gateway int
	mark    int // where in the trace the cell began
}

// line is one line of phones of the matrix: a, b and c of a program, and the single one d.
type line struct {
	program    phoneProgram
	callees    phoneProgram // b and d are of this one
	transport  string
	across     bool // each phone has a gateway of its own
	d          *devRun
	users      int // the number of the first
	a, b, c, s *station
	second     *station // of the user of c
	brief      *station // registers for briefExpires
}

func (l *line) String() string {
	where := "one gateway"
	if l.across {
		where = "two gateways"
	}
	name := l.program.name
	if l.callees.name != name {
		name += " to " + l.callees.name
	}
	return strings.Join([]string{name, l.transport, where}, ", ")
}

// server is the address of gateway k for the line's transport.
func (l *line) server(k int) string {
	switch l.transport {
	case "tls":
		return l.d.tls(k)
	case "wss":
		return l.d.wss(k)
	}
	return l.d.udp(k)
}

// station starts the phone number n of the line and waits until it is registered.
func (l *line) station(t *testing.T, p phoneProgram, n int, change func(*handsetConfig)) *station {
	t.Helper()
	k := l.users % 3
	if l.across {
		k = (l.users + n) % 3
	}
	c := handsetConfig{user: fmt.Sprint(l.users + n), transport: l.transport, server: l.server(k), expires: 300}
	if change != nil {
		change(&c)
	}
	return &station{handset: p.start(t, c), handsetConfig: c, gateway: k}
}

// registered waits for a station's record in the overlay.
func (l *line) registered(t *testing.T, s *station) {
	t.Helper()
	eventually(t, s.user+" to be registered", func() error { return registered(l.d, s.gateway, s.user) })
}

// begin starts the phones of a line.
func (l *line) begin(t *testing.T) {
	t.Helper()
	user := func(n int) string { return fmt.Sprint(l.users + n) }
	l.b = l.station(t, l.callees, 1, func(c *handsetConfig) { c.peer = user(0) })
	l.c = l.station(t, l.program, 2, nil)
	l.s = l.station(t, l.callees, 3, func(c *handsetConfig) { c.single = true })
	l.registered(t, l.b)
	if l.callees.appears {
		l.b.do(t, "appear", "") // before anybody asks: linphone refuses with 488 what baresip says of a state that it does not know
	}
	l.a = l.station(t, l.program, 0, func(c *handsetConfig) { c.peer, c.watches = user(1), true })
	for _, s := range []*station{l.a, l.c, l.s} {
		l.registered(t, s)
	}
}

// briefExpires is the lifetime in seconds that the phone asks for whose refreshes and end are waited for.
const briefExpires = 4

// The patterns of what a phone sent or received.
func statusOf(code, method string) string {
	return fmt.Sprintf(`SIP/2\.0 %s [^\n]*\n(?:\S[^\n]*\n)*?CSeq: *\d+ %s`, code, method)
}
func requestOf(method string) string { return method + ` sip:\S+ SIP/2\.0` }

// mark forgets what the stations have seen.
func mark(stations ...*station) {
	for _, s := range stations {
		s.mark = len(s.trace())
	}
}

// sees waits until the pattern is in what the station sent and received since its mark.
func (s *station) sees(t *testing.T, pattern string) {
	t.Helper()
	s.seesTimes(t, pattern, 1)
}

func (s *station) seesTimes(t *testing.T, pattern string, n int) {
	t.Helper()
	p := regexp.MustCompile(pattern)
	eventually(t, fmt.Sprintf("%s to see %s", s.user, pattern), func() error {
		seen := strings.ReplaceAll(s.trace()[s.mark:], "\r\n", "\n")
		if k := len(p.FindAllString(seen, n)); k < n {
			return fmt.Errorf("%d of %d in\n%.6000s", k, n, seen)
		}
		return nil
	})
}

// talk lets from call to, who answers.
func talk(t *testing.T, from, to *station) {
	t.Helper()
	mark(from, to)
	from.do(t, "dial", aorURI(to.user))
	to.sees(t, statusOf("180", "INVITE"))
	to.do(t, "answer", "")
	from.sees(t, statusOf("200", "INVITE"))
	to.sees(t, requestOf("ACK"))
}

// end lets from hang up on to.
func end(t *testing.T, from, to *station) {
	t.Helper()
	mark(from, to)
	from.do(t, "hangup", "")
	to.sees(t, requestOf("BYE"))
	from.sees(t, statusOf("200", "BYE"))
}

// letRing lets from call to until it rings.
func letRing(t *testing.T, from, to *station) {
	t.Helper()
	mark(from, to)
	from.do(t, "dial", aorURI(to.user))
	to.sees(t, statusOf("180", "INVITE"))
	from.sees(t, statusOf("180", "INVITE"))
}

// cell is a column of the table.
type cell struct {
	name string
	run  func(t *testing.T, l *line)
}

var phoneCells = []cell{
	{"register", func(t *testing.T, l *line) { l.begin(t) }},
	{"call", func(t *testing.T, l *line) {
		talk(t, l.a, l.b)
		end(t, l.a, l.b)
		talk(t, l.b, l.a)
		end(t, l.a, l.b)
	}},
	{"cancel", func(t *testing.T, l *line) {
		letRing(t, l.a, l.b)
		l.a.do(t, "cancel", "")
		l.b.sees(t, requestOf("CANCEL"))
		l.a.sees(t, statusOf("487", "INVITE"))
	}},
	{"forking", func(t *testing.T, l *line) {
		// Nobody has called c yet: a gateway remembers for five seconds where it found somebody.
		l.second = l.station(t, l.program, 4, func(c *handsetConfig) { c.user = l.c.user })
		eventually(t, "a second contact of "+l.c.user, func() error { return bindings(l.d, l.second.gateway, l.c.user, l.contacts()) })
		mark(l.second)
		letRing(t, l.a, l.c)
		l.second.sees(t, statusOf("180", "INVITE"))
		l.c.do(t, "answer", "")
		l.a.sees(t, statusOf("200", "INVITE"))
		l.second.sees(t, requestOf("CANCEL"))
		l.second.sees(t, statusOf("487", "INVITE"))
		end(t, l.a, l.c)
	}},
	{"unregister", func(t *testing.T, l *line) {
		n := l.contacts()
		mark(l.second)
		l.second.do(t, "quit", "")
		l.second.sees(t, statusOf("200", "REGISTER"))
		eventually(t, "its contact to be gone", func() error { return bindings(l.d, l.second.gateway, l.c.user, n-1) })
	}},
	{"busy", func(t *testing.T, l *line) {
		talk(t, l.c, l.s)
		mark(l.a)
		l.a.do(t, "dial", aorURI(l.s.user))
		l.a.sees(t, statusOf("486", "INVITE"))
		end(t, l.c, l.s)
	}},
	{"decline", func(t *testing.T, l *line) {
		letRing(t, l.a, l.b)
		l.b.do(t, "decline", "")
		l.a.sees(t, statusOf("603", "INVITE"))
	}},
	{"no answer", func(t *testing.T, l *line) {
		letRing(t, l.a, l.s)
		l.a.sees(t, statusOf("4(?:08|8[06])", "INVITE"))
	}},
	{"hold", func(t *testing.T, l *line) {
		talk(t, l.a, l.b)
		mark(l.a, l.b)
		l.a.do(t, "hold", "")
		l.b.sees(t, `a=sendonly`)
		l.a.sees(t, `a=recvonly`)
		l.b.sees(t, requestOf("ACK"))
		mark(l.a, l.b)
		l.a.do(t, "resume", "")
		l.b.sees(t, requestOf("INVITE"))
		l.a.sees(t, statusOf("200", "INVITE"))
		l.b.sees(t, requestOf("ACK"))
		end(t, l.a, l.b)
	}},
	{"blind transfer", func(t *testing.T, l *line) {
		talk(t, l.a, l.b)
		mark(l.a, l.b, l.c)
		l.a.do(t, "transfer", aorURI(l.c.user))
		l.b.sees(t, requestOf("REFER"))
		l.c.sees(t, statusOf("180", "INVITE"))
		l.c.do(t, "answer", "")
		l.c.sees(t, requestOf("ACK"))
		l.a.sees(t, `(?s)NOTIFY sip:.*SIP/2\.0 200`)
		l.b.sees(t, requestOf("BYE"))
		end(t, l.c, l.b)
	}},
	{"attended transfer", func(t *testing.T, l *line) {
		talk(t, l.a, l.b)
		mark(l.a, l.b)
		l.a.do(t, "hold", "")
		l.b.sees(t, `a=sendonly`)
		l.a.sees(t, `a=recvonly`)
		l.b.sees(t, requestOf("ACK"))
		talk(t, l.a, l.c)
		mark(l.a, l.b, l.c)
		l.a.do(t, "attended", "")
		l.b.sees(t, requestOf("REFER"))
		l.c.sees(t, `Replaces:`)
		l.c.sees(t, requestOf("BYE"))
		l.b.sees(t, requestOf("BYE"))
		end(t, l.c, l.b)
	}},
	{"MESSAGE both ways", func(t *testing.T, l *line) {
		for _, s := range [][2]*station{{l.a, l.b}, {l.b, l.a}} {
			mark(s[0], s[1])
			s[0].do(t, "message", aorURI(s[1].user)+" good morning")
			s[1].sees(t, `(?s)`+requestOf("MESSAGE")+`.*good morning`)
			s[0].sees(t, statusOf("200", "MESSAGE"))
		}
	}},
	{"BLF", func(t *testing.T, l *line) {
		l.a.mark = 0 // it subscribed when it started
		l.a.sees(t, statusOf("20.", "SUBSCRIBE"))
		l.a.sees(t, requestOf("NOTIFY"))
		l.a.sees(t, `<basic>open</basic>`)
		if l.callees.appears {
			l.b.do(t, "vanish", "")
			l.a.sees(t, `<basic>closed</basic>`)
		}
	}},
	{"wrong password", func(t *testing.T, l *line) {
		s := l.station(t, l.program, 5, func(c *handsetConfig) { c.password = "wrong" })
		s.seesTimes(t, statusOf("40.", "REGISTER"), 2)
		if registered(l.d, s.gateway, s.user) == nil {
			t.Error("registered with a wrong password")
		}
		s.off()
	}},
	{"unknown user", func(t *testing.T, l *line) {
		mark(l.a)
		l.a.do(t, "dial", aorURI("nobody"))
		l.a.sees(t, statusOf("404", "INVITE"))
	}},
	{"refresh", func(t *testing.T, l *line) {
		l.brief = l.station(t, l.program, 6, func(c *handsetConfig) { c.expires = briefExpires })
		l.brief.seesTimes(t, statusOf("200", "REGISTER"), 2)
	}},
	{"expiry", func(t *testing.T, l *line) {
		l.brief.off()
		eventually(t, "the registration to end", func() error { return bindings(l.d, l.brief.gateway, l.brief.user, 0) })
	}},
	{"offline user", func(t *testing.T, l *line) {
		mark(l.a)
		l.a.do(t, "dial", aorURI(l.brief.user))
		l.a.sees(t, statusOf("480", "INVITE"))
	}},
}

// contacts is how many contacts the user of c has at the gateway of the second phone.
func (l *line) contacts() int {
	if l.c.gateway == l.second.gateway {
		return 2
	}
	return 1
}

// bindings tells why a user has not n contacts at gateway k and in the overlay.
func bindings(d *devRun, k int, user string, n int) error {
	var r gateway.RegistrationsReport
	if err := d.get(k, "/api/v1/registrations", &r); err != nil {
		return err
	}
	have := slices.DeleteFunc(r.Registrations, func(g gateway.Registration) bool { return g.AOR != user+"@p2psip.test" })
	if len(have) != n || slices.ContainsFunc(have, func(g gateway.Registration) bool { return g.State != "stored" }) {
		return fmt.Errorf("%d contacts, want %d: %+v", len(have), n, have)
	}
	return nil
}

// phonesDev is an overlay that grants short registrations, however busy the machine is.
func phonesDev(t *testing.T) *devRun {
	t.Helper()
	base := freePorts(t)
	o := devOptions{gateways: 3, host: "127.0.0.1", domain: "p2psip.test", sipPort: base, overlayPort: base + 100, adminPort: base + 120,
		users: 600, data: t.TempDir(), change: func(c *gateway.Config) {
			c.SIP.QueueDelay = 0 // dozens of phones share this machine's CPUs with the gateways
			c.Registrar.Expires.Min, c.Registrar.Expires.Jitter = 2*time.Second, 0
		}}
	d := &devRun{sip: base, overlay: o.overlayPort, admin: o.adminPort, out: &buffer{}, err: &buffer{}, code: make(chan int, 1)}
	std := stdio{strings.NewReader(""), d.out, d.err}
	g, err := openDev(o, std)
	if err != nil {
		t.Fatal(err)
	}
	g.describe(std)
	var ctx context.Context
	ctx, d.stop = context.WithCancel(t.Context())
	go func() { d.code <- g.run(ctx, std, time.Now()) }()
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	d.waitReady(t)
	return d
}

// linesAtOnce is how many lines of phones run at a time.
const linesAtOnce = 6

func TestPhones(t *testing.T) {
	d := phonesDev(t)
	var running sync.WaitGroup
	slots := make(chan struct{}, linesAtOnce)
	page := startBrowser(t)
	for i, l := range phoneLines(page) {
		l.d, l.users = d, 1001+10*i
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(l.String(), func(t *testing.T) { l.run(t) })
		})
	}
	for i, transport := range []string{"udp", "tcp", "tls"} {
		for k, where := range []string{"one gateway", "two gateways"} {
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				t.Run("SIPp 3.6.1, "+transport+", "+where, func(t *testing.T) { sippLine(t, d, 1400+20*(2*i+k), transport, k == 1) })
			})
		}
	}
	running.Wait()
}

// phoneLines are the lines of the matrix: each program with itself, at one gateway and across several, and the programs with each other.
func phoneLines(page *browser) (lines []*line) {
	jssip := newJsSIP(page)
	lines = append(lines, &line{program: jssip, callees: jssip, transport: "wss"}, &line{program: jssip, callees: jssip, transport: "wss", across: true})
	for _, transport := range []string{"udp", "tcp", "tls"} {
		for _, p := range []phoneProgram{baresip, linphone5} {
			lines = append(lines, &line{program: p, callees: p, transport: transport}, &line{program: p, callees: p, transport: transport, across: true})
		}
		lines = append(lines, &line{program: baresip, callees: linphone5, transport: transport, across: true},
			&line{program: linphone5, callees: baresip, transport: transport, across: true})
	}
	return lines
}

// run runs the cells of a line that its programs know, one after the other.
func (l *line) run(t *testing.T) {
	for _, c := range phoneCells {
		if l.program.cannot[c.name] == "" && l.callees.cannot[c.name] == "" {
			begin := time.Now()
			t.Log(c.name)
			c.run(t, l)
			t.Logf("%s: %.1f s", c.name, time.Since(begin).Seconds())
		}
	}
}

var baresip = phoneProgram{
	name:    "baresip 1.0.0",
	start:   func(t *testing.T, c handsetConfig) handset { return launchBaresip(t, c, "manual") },
	appears: true,
	cannot: map[string]string{
		"decline":           "refuses with 486 only",
		"attended transfer": "has no key for it",
	},
}
