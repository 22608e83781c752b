package digest

import (
	"errors"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

func challengeWith(field message.Name, values ...string) *message.Message {
	res := &message.Message{StatusCode: 401}
	for _, v := range values {
		res.Add(field, v)
	}
	return res
}

// RFC 7616 §3.9.1: the credentials for both challenges of the example.
func TestRFC7616_3_9_1_ClientAnswers(t *testing.T) {
	const (
		nonce  = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
		opaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
		cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	)
	for alg, want := range map[string]string{
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
	} {
		c := Client{User: "Mufasa", Password: "Circle of Life", Realm: "http-auth@example.org"}
		ch, err := c.Choose(challengeWith(message.WWWAuthenticate,
			`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=`+alg+`, nonce="`+nonce+`", opaque="`+opaque+`"`))
		if err != nil {
			t.Fatal(err)
		}
		got := c.answer(ch, "GET", "/dir/index.html", credentials{nc: "00000001", cnonce: cnonce})
		for _, part := range []string{`response="` + want + `"`, `opaque="` + opaque + `"`, "qop=auth,", "nc=00000001", "algorithm=" + alg} {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %s in %s", alg, part, got)
			}
		}
	}
}

// What the client makes the server takes, with either field and algorithm, and with and without qop.
func TestClientAndServerAgree(t *testing.T) {
	s := testServer(t)
	c := Client{User: "alice", Password: "secret", Realm: realm}
	for _, alg := range []Algorithm{MD5, SHA256} {
		for _, challenge := range []message.Name{message.WWWAuthenticate, message.ProxyAuthenticate} {
			value := s.Challenge(another(), start, false, alg)[0]
			for _, v := range []string{value, strings.Replace(s.Challenge(another(), start, false, alg)[0], `, qop="auth"`, "", 1)} {
				ch, err := c.Choose(challengeWith(challenge, v))
				if err != nil {
					t.Fatal(err)
				}
				req := register(t)
				req.Add(ch.Field, c.Answer(ch, "REGISTER", "sip:example.org", 1))
				expect(t, v, s.Verify(req, ch.Field, start), OK)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	c := Client{User: "alice", Password: "secret", Realm: realm}
	const good = `Digest realm="example.org", nonce="n", qop="auth"`
	for _, tt := range []struct {
		name   string
		values []string
		want   error
		nonce  string
	}{
		{"one", []string{good}, nil, "n"},
		{"first that is understood", []string{`Digest realm="example.org", nonce="x", algorithm=SHA-512-256`, `digest  realm="example.org",nonce="m"`, good}, nil, "m"},
		{"another realm", []string{`Digest realm="elsewhere", nonce="n"`}, ErrRealm, ""},
		{"the right realm behind another", []string{`Digest realm="elsewhere", nonce="x"`, good}, nil, "n"},
		{"no nonce", []string{`Digest realm="example.org"`}, ErrNoChallenge, ""},
		{"auth-int alone", []string{`Digest realm="example.org", nonce="n", qop="auth-int"`}, ErrNoChallenge, ""},
		{"another scheme", []string{`Basic realm="example.org"`}, ErrNoChallenge, ""},
		{"garbage", []string{"", "Digest", `Digest ,,=,"`, "\x00"}, ErrNoChallenge, ""},
		{"none", nil, ErrNoChallenge, ""},
	} {
		ch, err := c.Choose(challengeWith(message.ProxyAuthenticate, tt.values...))
		if !errors.Is(err, tt.want) || ch.Nonce != tt.nonce {
			t.Errorf("%s: %+v %v", tt.name, ch, err)
		}
	}
	if _, err := (Client{}).Choose(challengeWith(message.WWWAuthenticate, `Digest realm="anything", nonce="n", stale=TRUE`)); err != nil {
		t.Error(err)
	}
}

// RFC 7616 §3.4: quotes and backslashes in what is quoted are escaped.
func TestAnswerQuotes(t *testing.T) {
	c := Client{User: `a"b\c`, Password: "p"}
	ch, err := c.Choose(challengeWith(message.WWWAuthenticate, `Digest realm="r\"s", nonce="n"`))
	if err != nil || ch.Realm != `r"s` {
		t.Fatal(ch, err)
	}
	if got := c.Answer(ch, "INVITE", "sip:x", 1); !strings.Contains(got, `username="a\"b\\c", realm="r\"s"`) {
		t.Error(got)
	}
}
