package digest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

const realm = "example.org"

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testServer(t testing.TB) *Server {
	t.Helper()
	u, err := ReadUsers(strings.NewReader("alice secret\nbob hunter2\n"), realm)
	if err != nil {
		t.Fatal(err)
	}
	return NewServer(realm, u.Lookup)
}

// register is a REGISTER with credentials.
func register(t testing.TB, values ...string) *message.Message {
	t.Helper()
	m, err := message.Parse([]byte("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=1\r\nFrom: <sip:alice@example.org>;tag=1\r\n" +
		"To: <sip:alice@example.org>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		m.Add(message.Authorization, v)
	}
	return m
}

// another is a request that is no repetition of any other.
func another() *message.Message {
	m := &message.Message{Method: "REGISTER"}
	m.Add(message.CallID, strconv.FormatUint(requests.Add(1), 10))
	return m
}

var requests atomic.Uint64

// answer computes credentials by another implementation than ours.
func answer(t testing.TB, challenge, user, password string, count int) string {
	t.Helper()
	c, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := digest.Digest(c, digest.Options{Method: "REGISTER", URI: "sip:example.org", Username: user, Password: password, Count: count, Cnonce: "0a4f113b"})
	if err != nil {
		t.Fatal(err)
	}
	return cred.String()
}

func expect(t *testing.T, what string, got Result, want Verdict) {
	t.Helper()
	if got.Verdict != want || (got.Err != nil) != (want == Refused) {
		t.Errorf("%s: %+v, want %d", what, got, want)
	}
}

// The vectors of RFC 7616 §3.9.1 and RFC 2617 §3.5.
func TestRFC7616_3_9_1_Vectors(t *testing.T) {
	tests := []struct {
		alg             Algorithm
		realm, password string
		c               credentials
	}{
		{MD5, "http-auth@example.org", "Circle of Life", credentials{
			nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc: "00000001", cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
			response: "8ca523f5e9506fed4657c9700eebdbec"}},
		{SHA256, "http-auth@example.org", "Circle of Life", credentials{
			nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc: "00000001", cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
			response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"}},
		{MD5, "testrealm@host.com", "Circle Of Life", credentials{
			nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", nc: "00000001", cnonce: "0a4f113b", response: "6629fae49393a05397450978507c4ef1"}},
	}
	for _, tt := range tests {
		tt.c.uri, tt.c.qop = "/dir/index.html", "auth"
		ha1 := NewHA1("Mufasa", tt.realm, tt.password)
		if !tt.c.matches(tt.c.expect(tt.alg, ha1.of(tt.alg), "GET")) {
			t.Errorf("%v: %s", tt.alg, tt.c.expect(tt.alg, ha1.of(tt.alg), "GET"))
		}
	}
}

// Feature: REG-12 REG-13
func TestVerify(t *testing.T) {
	s := testServer(t)
	for _, alg := range []Algorithm{MD5, SHA256} {
		ch := s.Challenge(another(), start, false, alg)[0]
		r := s.Verify(register(t, answer(t, ch, "alice", "secret", 1)), message.Authorization, start)
		expect(t, alg.String(), r, OK)
		if r.User != "alice" || r.OtherURI {
			t.Errorf("%+v", r)
		}
	}
	ch := s.Challenge(another(), start, false)[0]
	good := answer(t, ch, "alice", "secret", 1)
	expect(t, "none", s.Verify(register(t), message.Authorization, start), NoCredentials)
	expect(t, "other field", s.Verify(register(t, good), message.ProxyAuthorization, start), NoCredentials)
	expect(t, "other scheme", s.Verify(register(t, "Basic YTpi", "NoOneKnowsThisScheme opaque-data=here"), message.Authorization, start), NoCredentials)
	other := strings.Replace(good, `realm="example.org"`, `realm="other.example"`, 1)
	expect(t, "other realm", s.Verify(register(t, other), message.Authorization, start), NoCredentials)
	expect(t, "wrong password", s.Verify(register(t, answer(t, ch, "alice", "x", 1)), message.Authorization, start), Refused)
	expect(t, "another's password", s.Verify(register(t, answer(t, ch, "bob", "secret", 1)), message.Authorization, start), Refused)
	expect(t, "unknown user", s.Verify(register(t, answer(t, ch, "carol", "secret", 1)), message.Authorization, start), Refused)
	expect(t, "right after the wrong ones", s.Verify(register(t, good), message.Authorization, start), OK)

	proxied := register(t)
	proxied.Set(message.ProxyAuthorization, answer(t, s.Challenge(another(), start, false)[0], "bob", "hunter2", 1))
	expect(t, "407", s.Verify(proxied, message.ProxyAuthorization, start), OK)
}

// RFC 7616 §3.3: any change to what the response was computed over is a wrong password.
func TestTampering(t *testing.T) {
	s := testServer(t)
	good := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	for _, p := range []string{"nonce", "uri", "cnonce", "response", "username"} {
		re := regexp.MustCompile(`(\b` + p + `=")(.)`)
		bad := re.ReplaceAllStringFunc(good, func(m string) string {
			c := m[len(m)-1]
			return m[:len(m)-1] + string(c^1)
		})
		if bad == good {
			t.Fatal(p)
		}
		expect(t, p, s.Verify(register(t, bad), message.Authorization, start), Refused)
	}
	expect(t, "nc", s.Verify(register(t, strings.Replace(good, "nc=00000001", "nc=00000002", 1)), message.Authorization, start), Refused)
	m := register(t, good)
	m.Method = "INVITE"
	expect(t, "method", s.Verify(m, message.Authorization, start), Refused)
	expect(t, "untouched", s.Verify(register(t, good), message.Authorization, start), OK)
}

func TestMalformedCredentials(t *testing.T) {
	s := testServer(t)
	good := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	for _, p := range []string{"nonce", "uri", "cnonce", "response", "username", "nc"} {
		bad := regexp.MustCompile(`\b`+p+`=[^,]*,?`).ReplaceAllString(good, "")
		expect(t, "without "+p, s.Verify(register(t, bad), message.Authorization, start), Refused)
	}
	for _, v := range []string{"nc=1", "nc=00000000", "nc=000000001", "nc=+0000001", "nc=0000000g"} {
		expect(t, v, s.Verify(register(t, strings.Replace(good, "nc=00000001", v, 1)), message.Authorization, start), Refused)
	}
	for _, v := range []string{"qop=auth-int", "qop=x"} {
		expect(t, v, s.Verify(register(t, strings.Replace(good, "qop=auth", v, 1)), message.Authorization, start), Refused)
	}
	for _, v := range []string{"Digest", "Digest ", `Digest realm="example.org`, `Digest ,,=,"`} {
		if r := s.Verify(register(t, v), message.Authorization, start); r.Verdict > Refused {
			t.Errorf("%q: %+v", v, r)
		}
	}
}

// Phones spell the token in any case and quote it or not; without one it is MD5 (RFC 7616 §3.3).
func TestAlgorithmTokens(t *testing.T) {
	s := testServer(t)
	for _, alg := range []Algorithm{MD5, SHA256} {
		tok := alg.String()
		for _, v := range []string{tok, strings.ToLower(tok), `"` + tok + `"`, `"` + strings.ToLower(tok) + `"`} {
			good := answer(t, s.Challenge(another(), start, false, alg)[0], "alice", "secret", 1)
			good = regexp.MustCompile(`algorithm="?`+tok+`"?`).ReplaceAllString(good, "algorithm="+v)
			if !strings.Contains(good, "algorithm="+v) {
				t.Fatal(good)
			}
			expect(t, v, s.Verify(register(t, good), message.Authorization, start), OK)
		}
	}
	good := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	none := regexp.MustCompile(`algorithm="?MD5"?,? ?`).ReplaceAllString(good, "")
	expect(t, "none", s.Verify(register(t, none), message.Authorization, start), OK)
	for _, v := range []string{"MD5-sess", "SHA-512-256", "SHA1", "x"} {
		bad := regexp.MustCompile(`algorithm="?MD5"?`).ReplaceAllString(good, "algorithm="+v)
		expect(t, v, s.Verify(register(t, bad), message.Authorization, start), Refused)
	}
}

// A challenge with SHA-256 alone is not to be answered with the weaker hash.
func TestRFC8760_NoDowngrade(t *testing.T) {
	s := testServer(t)
	ch := strings.Replace(s.Challenge(another(), start, false, SHA256)[0], "SHA-256", "MD5", 1)
	r := s.Verify(register(t, answer(t, ch, "alice", "secret", 1)), message.Authorization, start)
	expect(t, "MD5 for SHA-256", r, Refused)
	both := s.Challenge(another(), start, false, SHA256, MD5)
	if len(both) != 2 || !strings.Contains(both[0], "algorithm=SHA-256,") || !strings.Contains(both[1], "algorithm=MD5,") {
		t.Fatal(both)
	}
	for _, ch := range []string{both[1]} {
		expect(t, "either of two", s.Verify(register(t, answer(t, ch, "alice", "secret", 1)), message.Authorization, start), OK)
	}
}

// A UAS that keeps nothing answers a repeated request as it answered the first one.
func TestRFC3261_8_2_7_ARepeatedRequestGetsTheSameChallenge(t *testing.T) {
	s, at := testServer(t), start.Truncate(nonceStep)
	first := s.Challenge(register(t), at, false)[0]
	if again := s.Challenge(register(t), at.Add(nonceStep-1), false)[0]; again != first {
		t.Errorf("%s, then %s", first, again)
	}
	for name, change := range map[string]func(*message.Message){
		"another call":        func(m *message.Message) { m.Set(message.CallID, "2") },
		"another CSeq":        func(m *message.Message) { m.Set(message.CSeq, "2 REGISTER") },
		"another transaction": func(m *message.Message) { m.Set(message.Via, "SIP/2.0/UDP h;branch=2") },
	} {
		m := register(t)
		change(m)
		if s.Challenge(m, at, false)[0] == first {
			t.Errorf("%s has the same nonce", name)
		}
	}
}

func TestChallenge(t *testing.T) {
	s := testServer(t)
	got := s.Challenge(another(), start, false)
	if len(got) != 1 || !regexp.MustCompile(`^Digest realm="example.org", nonce="[\w-]{44}", algorithm=MD5, qop="auth"$`).MatchString(got[0]) {
		t.Error(got)
	}
	if again := s.Challenge(another(), start, true); !strings.HasSuffix(again[0], `, qop="auth", stale=true`) || again[0][:70] == got[0][:70] {
		t.Error(again)
	}
}

// RFC 7616 §3.3, stale; and a nonce of before a restart or of another gateway is stale too, once the password is right.
//
// Feature: REG-12
func TestStale(t *testing.T) {
	s := testServer(t)
	good := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	wrong := answer(t, s.Challenge(another(), start, false)[0], "alice", "x", 1)
	late := start.Add(NonceLife + time.Second)
	expect(t, "late", s.Verify(register(t, good), message.Authorization, late), Stale)
	expect(t, "late and wrong", s.Verify(register(t, wrong), message.Authorization, late), Refused)
	expect(t, "just in time", s.Verify(register(t, good), message.Authorization, start.Add(NonceLife)), OK)
	future := answer(t, s.Challenge(another(), start.Add(time.Minute), false)[0], "alice", "secret", 1)
	expect(t, "from the future", s.Verify(register(t, future), message.Authorization, start), Stale)

	other := testServer(t)
	expect(t, "another gateway", other.Verify(register(t, answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)), message.Authorization, start), Stale)
	for _, nonce := range []string{"x", strings.Repeat("A", 44), strings.Repeat("!", 44)} {
		ch := `Digest realm="example.org", nonce="` + nonce + `", algorithm=MD5, qop="auth"`
		expect(t, nonce, s.Verify(register(t, answer(t, ch, "alice", "secret", 1)), message.Authorization, start), Stale)
	}
}

// RFC 7616 §3.3: nc lets the server detect replays; rising counts are taken, repeated ones are not.
//
// Feature: REG-12
func TestRFC7616_3_4_CountDetectsReplay(t *testing.T) {
	s := testServer(t)
	ch := s.Challenge(another(), start, false)[0]
	verify := func(n int) Verdict {
		return s.Verify(register(t, answer(t, ch, "alice", "secret", n)), message.Authorization, start).Verdict
	}
	for _, step := range []struct {
		count int
		want  Verdict
	}{{1, OK}, {1, Stale}, {2, OK}, {5, OK}, {4, OK}, {3, OK}, {3, Stale}, {4, Stale}, {5, Stale}, {200, OK}, {5, Stale}, {136, OK}, {135, Stale}, {136, Stale}, {201, OK}, {200, Stale}} {
		if got := verify(step.count); got != step.want {
			t.Errorf("count %d: %d, want %d", step.count, got, step.want)
		}
	}
}

// RFC 3261 §22.4 point 8: a client without qop is served; each nonce once, as there is no count.
//
// Feature: REG-12
func TestNoQop(t *testing.T) {
	s := testServer(t)
	ch := strings.Replace(s.Challenge(another(), start, false)[0], `, qop="auth"`, "", 1)
	old := answer(t, ch, "alice", "secret", 0)
	if strings.Contains(old, "qop") {
		t.Fatal(old)
	}
	expect(t, "first", s.Verify(register(t, old), message.Authorization, start), OK)
	expect(t, "second", s.Verify(register(t, old), message.Authorization, start), Stale)
}

// A phone that follows a redirect repeats its first credentials in front of the new ones.
func TestAllCredentialsOfOurRealmAreTried(t *testing.T) {
	s := testServer(t)
	used := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	expect(t, "first", s.Verify(register(t, used), message.Authorization, start), OK)
	fresh := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	foreign := strings.ReplaceAll(used, realm, "other.example")
	expect(t, "used, foreign, fresh", s.Verify(register(t, used, foreign, fresh), message.Authorization, start), OK)
	wrong := answer(t, s.Challenge(another(), start, false)[0], "alice", "x", 1)
	expect(t, "used and wrong", s.Verify(register(t, used, wrong), message.Authorization, start), Stale)
	many := []string{wrong, wrong, wrong, wrong, answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)}
	expect(t, "too many", s.Verify(register(t, many...), message.Authorization, start), Refused)
}

// RFC 3261 §22.4 point 5: the URI of the credentials need not be the Request-URI; the caller is told.
func TestOtherURI(t *testing.T) {
	s := testServer(t)
	m := register(t, answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1))
	m.RequestURI = "sip:gw1.example.org"
	if r := s.Verify(m, message.Authorization, start); r.Verdict != OK || !r.OtherURI {
		t.Errorf("%+v", r)
	}
}

func TestConcurrentReplaysPassOnce(t *testing.T) {
	s := testServer(t)
	req := register(t, answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1))
	got := make(chan Verdict)
	for range 16 {
		go func() { got <- s.Verify(req, message.Authorization, start).Verdict }()
	}
	passed := 0
	for range 16 {
		if <-got == OK {
			passed++
		}
	}
	if passed != 1 {
		t.Errorf("%d of 16 passed", passed)
	}
}

// The memory of counts is bounded, and what falls out of it cannot be used again.
func TestCountsAreBoundedAndForgetNothingThatIsGood(t *testing.T) {
	c := counts{cur: map[[16]byte]window{}}
	const all = 5 * perGen / 2
	made := make([]uint32, 0, all) // in which generation
	id := func(i int) (n nonce) {
		copy(n.id[:], fmt.Sprintf("%016d", i))
		n.made, n.gen = start.Add(time.Duration(i)*time.Microsecond), made[i]
		return n
	}
	for i := range all {
		made = append(made, c.gen)
		if !c.use(id(i), 1, start) {
			t.Fatalf("nonce %d refused", i)
		}
		if len(c.cur) > perGen || len(c.old) > perGen {
			t.Fatalf("%d and %d nonces", len(c.cur), len(c.old))
		}
	}
	for i := 0; i < all; i += 1001 {
		if c.use(id(i), 1, start) {
			t.Fatalf("nonce %d passed again", i)
		}
	}
	if c.use(id(1), 2, start) {
		t.Error("a forgotten nonce passed with a higher count")
	}
	if !c.use(id(all-1), 2, start) {
		t.Error("a remembered nonce did not pass with a higher count")
	}
}

func BenchmarkVerify(b *testing.B) {
	s := testServer(b)
	b.ReportAllocs()
	req := register(b, answer(b, s.Challenge(another(), start, false)[0], "alice", "secret", 1))
	for b.Loop() {
		s.Verify(req, message.Authorization, start)
	}
}

func BenchmarkChallenge(b *testing.B) {
	s := testServer(b)
	b.ReportAllocs()
	req := register(b)
	for b.Loop() {
		s.Challenge(req, start, false)
	}
}

// However many authenticate in the time that a nonce's clock stands still, who is challenged then can answer: being told that a fresh nonce is
// stale, a phone would try again, and again.
func TestACrowdDoesNotMakeFreshNoncesStale(t *testing.T) {
	s := testServer(t)
	for i := range 3 * perGen {
		var n nonce
		n.made = start
		n.id[0], n.id[1], n.id[2] = byte(i), byte(i>>8), byte(i>>16)
		n.gen = s.used.gen
		if !s.fresh(n, 1, start) {
			t.Fatalf("nonce %d is stale", i)
		}
	}
	if len(s.used.cur)+len(s.used.old) > 2*perGen {
		t.Errorf("%d nonces remembered", len(s.used.cur)+len(s.used.old))
	}
	challenge := s.Challenge(another(), start, false)[0]
	req := register(t, answer(t, challenge, "alice", "secret", 1))
	if r := s.Verify(req, message.Authorization, start); r.Verdict != OK {
		t.Errorf("%+v", r)
	}
	if r := s.Verify(req, message.Authorization, start); r.Verdict != Stale {
		t.Errorf("used again: %+v", r)
	}
}

// A nonce whose use may have been forgotten is not taken again.
func TestANonceIsNotUsedTwiceWhenItIsForgotten(t *testing.T) {
	s := testServer(t)
	challenge := s.Challenge(another(), start, false)[0]
	req := register(t, answer(t, challenge, "alice", "secret", 1))
	if r := s.Verify(req, message.Authorization, start); r.Verdict != OK {
		t.Fatalf("%+v", r)
	}
	for i := range 3 * perGen {
		n := nonce{made: start, gen: s.used.gen}
		n.id[0], n.id[1], n.id[2] = byte(i), byte(i>>8), byte(i>>16)
		s.fresh(n, 1, start)
		if i%1000 == 0 || i > 3*perGen-3 {
			if r := s.Verify(req, message.Authorization, start); r.Verdict != Stale {
				t.Fatalf("after %d others: %+v", i, r)
			}
		}
	}
}

// RFC 3261 §25.1: what stands behind "Digest" is LWS, of which a tab is a part.
func TestATabMayStandBehindDigest(t *testing.T) {
	s := testServer(t)
	credentials := answer(t, s.Challenge(another(), start, false)[0], "alice", "secret", 1)
	if r := s.Verify(register(t, strings.Replace(credentials, "Digest ", "Digest\t", 1)), message.Authorization, start); r.Verdict != OK {
		t.Errorf("%+v", r)
	}
}

// No credentials break anything, and none are good that nobody computed with the password.
func FuzzCredentials(f *testing.F) {
	u, err := ReadUsers(strings.NewReader("alice secret\n"), realm)
	if err != nil {
		f.Fatal(err)
	}
	s := NewServer(realm, u.Lookup)
	challenge := s.Challenge(another(), start, false)[0]
	f.Add(answer(f, challenge, "alice", "secret", 1), challenge)
	f.Add("Digest username=\"alice\", realm=\"example.org\", nonce=\"\", uri=\"\", response=\"\"", "Digest realm=\"a\\\"b\", qop=\"auth,auth-int\"")
	f.Add("Digest\t,=,\"", "Digest nonce=x, algorithm=SHA-256, stale=TRUE")
	f.Fuzz(func(t *testing.T, credentials, challenge string) {
		req := &message.Message{Method: "REGISTER", RequestURI: "sip:example.org"}
		req.Add(message.Authorization, credentials)
		if r := s.Verify(req, message.Authorization, start); r.Verdict == OK && !strings.Contains(credentials, "alice") {
			t.Errorf("%q: %+v", credentials, r)
		}
		res := &message.Message{StatusCode: 401}
		res.Add(message.WWWAuthenticate, challenge)
		c := Client{User: "alice", Password: "secret"}
		if ch, err := c.Choose(res); err == nil {
			if _, ok := parseCredentials(c.Answer(ch, "REGISTER", "sip:example.org", 1)); !ok {
				t.Errorf("the answer to %q can not be read", challenge)
			}
		}
	})
}
