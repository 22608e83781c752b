package digest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/keyed"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Verdict is what a request's credentials are worth.
type Verdict uint8

// The verdicts, from worst to best. NoCredentials and Stale want a challenge; Refused wants one too, or a 403.
const (
	NoCredentials Verdict = iota // none for our realm
	Refused                      // wrong: see Result.Err
	Stale                        // right, but the nonce is too old, not ours, or was used with this count before
	OK
)

// Why credentials are refused: for logs and counters, never for the client.
var (
	ErrMalformed   = errors.New("digest: parameter missing or malformed")
	ErrAlgorithm   = errors.New("digest: algorithm not offered")
	ErrUnknownUser = errors.New("digest: no such user")
	ErrPassword    = errors.New("digest: wrong password")
)

// Result is what Verify found.
type Result struct {
	Verdict Verdict
	User    string // who it is, or claims to be; "" for NoCredentials
	Err     error  // why, for Refused
	// OtherURI tells, for OK, that the credentials were made for another URI than the Request-URI. RFC 3261 §22.4
	// point 5 lets proxies on the way change the Request-URI, so this alone is no reason to refuse.
	OtherURI bool
}

// Lookup finds what is known of a user. It must not block.
type Lookup func(user string) (HA1, bool)

// Server challenges and verifies for one realm.
type Server struct {
	realm  string
	lookup Lookup
	code   *keyed.Code // of nonces
	nobody HA1         // computed with in place of an unknown user's

	mu   sync.Mutex
	used counts // mu
}

// NewServer returns a server for a realm, which is the domain. The key of its nonces is its own and new: a nonce from
// before a restart, or of another gateway, is answered with stale.
func NewServer(realm string, lookup Lookup) *Server {
	s := &Server{realm: realm, lookup: lookup}
	var key [keyLen]byte
	_, _ = rand.Read(key[:]) // never fails
	s.code = keyed.New(key[:])
	s.nobody = NewHA1("", realm, hex.EncodeToString(key[:]))
	s.used.cur = make(map[[16]byte]window)
	return s
}

// Challenge returns the values for WWW-Authenticate or Proxy-Authenticate fields, one for each algorithm in that
// order; none stands for MD5. All hold one nonce, which is good for NonceLife, less up to 32 s, and for these algorithms only; the same
// request gets the same within that time. stale tells the client to try again without asking its user (RFC 7616 §3.3).
func (s *Server) Challenge(req *message.Message, now time.Time, stale bool, algs ...Algorithm) []string {
	if len(algs) == 0 {
		algs = []Algorithm{MD5}
	}
	var offered uint8
	for _, a := range algs {
		offered |= 1 << a
	}
	nonce := s.newNonce(req, now, offered)
	out := make([]string, 0, len(algs))
	for _, a := range algs {
		// RFC 7616 §3.3: realm, nonce and qop are quoted, algorithm and stale are not.
		v := "Digest realm=" + message.Quote(s.realm) + `, nonce="` + nonce + `", algorithm=` + a.String() + `, qop="auth"`
		if stale {
			v += ", stale=true"
		}
		out = append(out, v)
	}
	return out
}

// Verify checks the credentials for our realm in a request: every set, as a phone that follows a redirect sends the
// old ones first (up to MaxCredentials). field is message.Authorization or message.ProxyAuthorization. The best
// verdict counts.
func (s *Server) Verify(req *message.Message, field message.Name, now time.Time) Result {
	var best Result
	tried := 0
	for i := range req.Fields {
		if req.Fields[i].Name != field {
			continue
		}
		c, ok := parseCredentials(req.Fields[i].Value)
		if !ok || c.realm != s.realm {
			continue
		}
		if r := s.check(&c, req, now); r.Verdict > best.Verdict {
			best = r
		}
		if tried++; best.Verdict == OK || tried == MaxCredentials {
			break
		}
	}
	return best
}

// credentials are the digest-response parameters of RFC 7616 §3.4, without quotes.
type credentials struct {
	user, realm, nonce, uri, response, algorithm, cnonce, qop, nc string
}

// parseCredentials reads "Digest" and its parameters; ok is false for another scheme.
func parseCredentials(v string) (c credentials, ok bool) {
	ok = parameters(v, func(name, value string) {
		if to := c.param(name); to != nil {
			*to = value
		}
	})
	return c, ok
}

// parameters tells f of each parameter behind "Digest" (RFC 3261 §25.1: LWS between them, a tab too): its name in lower case, its value without
// quotes. It reports false for another scheme.
func parameters(v string, f func(name, value string)) bool {
	end := strings.IndexAny(v, " \t")
	if end < 0 || !message.EqualFold(v[:end], "Digest") {
		return false
	}
	var room [16]string
	for _, p := range message.AppendValues(room[:0], v[end+1:]) {
		name, value, _ := strings.Cut(p, "=")
		f(strings.ToLower(strings.TrimSpace(name)), message.Unquote(strings.TrimSpace(value)))
	}
	return true
}

func (c *credentials) param(name string) *string {
	switch name {
	case "username":
		return &c.user
	case "realm":
		return &c.realm
	case "nonce":
		return &c.nonce
	case "uri":
		return &c.uri
	case "response":
		return &c.response
	case "algorithm":
		return &c.algorithm
	case "cnonce":
		return &c.cnonce
	case "qop":
		return &c.qop
	case "nc":
		return &c.nc
	}
	return nil
}

// check judges one set of credentials. The response is computed before anything is said about user or nonce, so that
// time tells nothing about either.
func (s *Server) check(c *credentials, req *message.Message, now time.Time) Result {
	refuse := func(err error) Result { return Result{Verdict: Refused, User: c.user, Err: err} }
	alg, known := parseAlgorithm(c.algorithm)
	if !known {
		return refuse(ErrAlgorithm)
	}
	count, ok := c.count()
	if !ok || c.user == "" || c.uri == "" || c.nonce == "" {
		return refuse(ErrMalformed)
	}
	ha1, known := s.lookup(c.user)
	if ha1.of(alg) == "" {
		ha1, known = s.nobody, false
	}
	right := c.matches(c.expect(alg, ha1.of(alg), req.Method))
	n, ours := s.readNonce(c.nonce)
	switch {
	case !known:
		return refuse(ErrUnknownUser)
	case !right:
		return refuse(ErrPassword)
	case ours && n.offered&(1<<alg) == 0:
		return refuse(ErrAlgorithm)
	case !ours || !s.fresh(n, count, now):
		// RFC 7616 §3.3: stale says that "the request was rejected because the nonce value was stale"; the password
		// was right.
		return Result{Verdict: Stale, User: c.user}
	}
	return Result{Verdict: OK, User: c.user, OtherURI: !message.EqualURI(c.uri, req.RequestURI)}
}

// count reads nc, which comes with qop and not without (RFC 7616 §3.4). RFC 3261 §22.4 point 8 has servers take
// credentials without qop; such a nonce serves once, as if its count were 1.
func (c *credentials) count() (uint32, bool) {
	if c.qop == "" {
		return 1, true
	}
	n, err := strconv.ParseUint(c.nc, 16, 32)
	return uint32(n), err == nil && len(c.nc) == 8 && n > 0 && c.cnonce != "" && message.EqualFold(c.qop, "auth")
}

// expect is the request-digest of RFC 7616 §3.4.1, or of RFC 2617 §3.2.2.1 without qop. nc and qop count as they were
// sent.
func (c *credentials) expect(alg Algorithm, ha1, method string) string {
	ha2 := alg.join(method, c.uri)
	if c.qop == "" {
		return alg.join(ha1, c.nonce, ha2)
	}
	return alg.join(ha1, c.nonce, c.nc, c.cnonce, c.qop, ha2)
}

func (c *credentials) matches(want string) bool {
	return subtle.ConstantTimeCompare([]byte(strings.ToLower(c.response)), []byte(want)) == 1
}

// generation is that of the counts now.
func (s *Server) generation() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.gen
}

// fresh reports whether the nonce is still good and this count of it was not used, and notes the use.
func (s *Server) fresh(n nonce, count uint32, now time.Time) bool {
	if age := now.Sub(n.made); age > NonceLife || age < -clockSlack {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.use(n, count, now)
}
