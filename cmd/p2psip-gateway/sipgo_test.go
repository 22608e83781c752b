package main

import (
	"context"
	"strings"
	"testing"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// userAgent is a scripted phone on sipgo's user agent: another implementation of SIP than ours, and than SIPp's and baresip's.
type userAgent struct {
	client *sipgo.Client
	user   string
	server string
}

func newUserAgent(t *testing.T, user, server string) *userAgent {
	t.Helper()
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(user))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = ua.Close()
	})
	return &userAgent{client, user, server}
}

// do sends a request to a URI and answers a challenge.
func (u *userAgent) do(t *testing.T, method sip.RequestMethod, to string, headers ...sip.Header) *sip.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e2eWait)
	defer cancel()
	var uri sip.Uri
	if err := sip.ParseUri(to, &uri); err != nil {
		t.Fatal(err)
	}
	req := sip.NewRequest(method, uri)
	req.SetTransport("TCP")
	req.SetDestination(u.server)
	for _, h := range headers {
		req.AppendHeader(h)
	}
	res, err := u.client.Do(ctx, req)
	if err == nil && res.StatusCode == 401 {
		res, err = u.client.DoDigestAuth(ctx, req, res, sipgo.DigestAuth{Username: u.user, Password: "secret-" + u.user})
	}
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestAUserAgentOfSipgoRegistersQueriesAndLeaves(t *testing.T) {
	d := sharedDev(t)
	u := newUserAgent(t, "1018", d.udp(2))
	aor := aorURI("1018")
	names := []sip.Header{sip.NewHeader("From", "<"+aor+">;tag=u"), sip.NewHeader("To", "<"+aor+">")}
	const contact = `"Desk" <sip:1018@127.0.0.1:5099;ob>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000001018>"`
	register := func(more ...sip.Header) *sip.Response {
		t.Helper()
		return u.do(t, sip.REGISTER, "sip:p2psip.test", append(append([]sip.Header{}, names...), more...)...)
	}
	if res := register(sip.NewHeader("Contact", contact), sip.NewHeader("Expires", "120")); res.StatusCode != 200 {
		t.Fatalf("REGISTER: %s", res)
	}
	eventually(t, "the record in the overlay", func() error { return registered(d, 2, "1018") })
	res := register()
	if c := res.GetHeader("Contact"); res.StatusCode != 200 || c == nil || !strings.Contains(c.Value(), "<sip:1018@127.0.0.1:5099;ob>") {
		t.Errorf("query: %s", res)
	}
	if res := register(sip.NewHeader("Contact", "*"), sip.NewHeader("Expires", "0")); res.StatusCode != 200 || res.GetHeader("Contact") != nil {
		t.Errorf("removal: %s", res)
	}
	if res := u.do(t, sip.OPTIONS, "sip:p2psip.test"); res.StatusCode != 200 || res.GetHeader("Allow") == nil {
		t.Errorf("OPTIONS: %s", res)
	}
}
