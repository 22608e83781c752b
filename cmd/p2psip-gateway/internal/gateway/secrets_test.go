package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/sip/digest"
)

// kept is a log that many write to.
type kept struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(p)
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}

// What phones prove who they are with, and what this node does, is in no line of the log, however much is written, and in no answer of the admin
// server.
//
// Feature: SEC-11
func TestSecretsAreInNoLogAndNoReport(t *testing.T) {
	log := &kept{}
	g := ringOf(t, 1, 2, func(_ int, o *Options) { o.Log, o.OpenCalls = zerolog.New(log).Level(zerolog.TraceLevel), false })[0]
	p := newPhone(t, "1001", g)
	if res := p.register(300); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	given := p.credentials()
	_, response, _ := strings.Cut(given, `response="`)
	response = response[:32]
	ha1 := digest.NewHA1("1001", testDomain, "secret")
	secrets := map[string]string{"HA1": ha1.MD5, "HA1 of SHA-256": ha1.SHA256, "response": response, "credentials": "Digest username"}
	if key, ok := g.Signer().Key().(*ecdsa.PrivateKey); ok {
		b, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets["key"], secrets["key as base64"] = hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b)
	} else {
		t.Fatalf("the key is %T", g.Signer().Key())
	}

	// Refused in each way that there is: a wrong response, another user's, a call, and what can not be read.
	wrong := strings.Replace(given, response, strings.Repeat("0", 31)+"1", 1)
	secrets["wrong response"] = strings.Repeat("0", 31) + "1"
	refused := func(method, uri, to string, status int, fields ...string) {
		t.Helper()
		p.cseq++
		p.send(append([]string{method + " " + uri + " SIP/2.0", p.via(), "Max-Forwards: 70", "From: " + addressOf("1001") + ";tag=x", "To: " + to,
			fmt.Sprintf("Call-ID: refused-%d", p.cseq), fmt.Sprintf("CSeq: %d %s", p.cseq, method), "Contact: " + p.contact(), "Content-Length: 0"}, fields...)...)
		if res := p.receive(final); res.StatusCode != status {
			t.Errorf("%s: %d, want %d", method, res.StatusCode, status)
		}
	}
	refused("REGISTER", "sip:"+testDomain, addressOf("1001"), 401, wrong)
	refused("REGISTER", "sip:"+testDomain, addressOf("1002"), 403, p.credentials())
	refused("REGISTER", "sip:"+testDomain, addressOf("1001"), 420, p.credentials(), "Require: x")
	refused("MESSAGE", "sip:1002@"+testDomain, addressOf("1002"), 480, "Proxy-"+p.credentials())
	refused("OPTIONS", "sip:[", addressOf("1002"), 400, "Proxy-"+given)

	shown := log.String()
	if !strings.Contains(shown, "request refused") || !strings.Contains(shown, "credentials refused") {
		t.Errorf("the log does not have what is looked through:\n%s", shown)
	}
	for _, path := range []string{"/api/v1/status", "/api/v1/config", "/api/v1/registrations", "/api/v1/ring", "/api/v1/peers", "/api/v1/lookup?aor=1001", "/metrics"} {
		res, err := http.Get("http://" + g.admin.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 {
			t.Errorf("%s: %d, %v", path, res.StatusCode, err)
		}
		shown += string(b)
	}
	for what, secret := range secrets {
		if i := strings.Index(strings.ToLower(shown), strings.ToLower(secret)); i >= 0 {
			t.Errorf("%s is shown: %s", what, shown[max(0, i-200):min(len(shown), i+100)])
		}
	}
}
