package digest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Why a client does not answer.
var (
	ErrNoChallenge = errors.New("digest: no challenge that can be answered")
	ErrRealm       = errors.New("digest: challenge for another realm")
)

// Client is what a client proves its identity with. It is a value.
type Client struct {
	User, Password string
	// Realm is the only one whose challenges are answered, "" for any. What is sent to anybody else is a hash to guess the password from.
	Realm string
}

// Challenge is one that a server sent (RFC 7616 §3.3).
type Challenge struct {
	Realm, Nonce, Opaque string
	Algorithm            Algorithm
	Stale                bool         // the credentials were right, but for the age of their nonce
	Field                message.Name // where its credentials belong: Authorization or ProxyAuthorization

	qop bool // auth is offered
}

// Choose picks the challenge to answer in a 401 or 407. RFC 7616 §3.7: "the client should choose the first challenge it supports". The error
// is ErrRealm when there are only others' realms, else ErrNoChallenge.
func (c Client) Choose(res *message.Message) (Challenge, error) {
	err := ErrNoChallenge
	for _, f := range res.Fields {
		ch, ok := parseChallenge(f)
		switch {
		case !ok:
		case c.Realm != "" && ch.Realm != c.Realm:
			err = fmt.Errorf("%w: %q, not %q", ErrRealm, ch.Realm, c.Realm)
		default:
			return ch, nil
		}
	}
	return Challenge{}, err
}

// parseChallenge reads one header field; ok is false when it is none, or one that we can not answer.
func parseChallenge(f message.Field) (ch Challenge, ok bool) {
	switch f.Name {
	case message.WWWAuthenticate:
		ch.Field = message.Authorization
	case message.ProxyAuthenticate:
		ch.Field = message.ProxyAuthorization
	default:
		return ch, false
	}
	params := map[string]string{}
	if !parameters(f.Value, func(name, value string) {
		if params[name] == "" {
			params[name] = value
		}
	}) {
		return ch, false
	}
	ch.Realm, ch.Nonce, ch.Opaque = params["realm"], params["nonce"], params["opaque"]
	ch.Stale = message.EqualFold(params["stale"], "true")
	ch.Algorithm, ok = parseAlgorithm(params["algorithm"])
	offered, has := params["qop"]
	for q := range strings.SplitSeq(offered, ",") {
		ch.qop = ch.qop || message.EqualFold(strings.TrimSpace(q), "auth")
	}
	return ch, ok && ch.Nonce != "" && (ch.qop || !has)
}

// Answer returns the credentials for a request with this method and Request-URI. count is how many requests were sent with this challenge,
// this one included (RFC 7616 §3.4: nc).
func (c Client) Answer(ch Challenge, method, uri string, count uint32) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return c.answer(ch, method, uri, credentials{nc: fmt.Sprintf("%08x", count), cnonce: hex.EncodeToString(b[:])})
}

func (c Client) answer(ch Challenge, method, uri string, with credentials) string {
	with.nonce, with.uri = ch.Nonce, uri
	if ch.qop {
		with.qop = "auth"
	}
	response := with.expect(ch.Algorithm, NewHA1(c.User, ch.Realm, c.Password).of(ch.Algorithm), method)
	// RFC 7616 §3.4: username, realm, nonce, uri, response, cnonce and opaque are quoted; algorithm, qop and nc are not.
	v := "Digest username=" + message.Quote(c.User) + ", realm=" + message.Quote(ch.Realm) + ", nonce=" + message.Quote(ch.Nonce) +
		", uri=" + message.Quote(uri) + `, response="` + response + `", algorithm=` + ch.Algorithm.String()
	if ch.Opaque != "" {
		v += ", opaque=" + message.Quote(ch.Opaque)
	}
	if ch.qop {
		v += ", qop=auth, nc=" + with.nc + `, cnonce="` + with.cnonce + `"`
	}
	return v
}
