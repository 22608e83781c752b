package ice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"
)

func tryAllocate(t testing.TB, s Server) (*relay, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := allocate(ctx, s)
	if err == nil {
		t.Cleanup(func() { _ = r.Close() })
	}
	return r, err
}

// Never an open relay: without a credential of ours there is no allocation.
func TestTURNNeedsACredential(t *testing.T) {
	server, at := turnServer(t, nil)
	now := time.Now()
	of := func(k Secret, user string, now time.Time) Server {
		name, password := k.Credential(user, now)
		return Server{at, name, password}
	}
	forever := fmt.Sprintf("%d:n1@%s", now.Add(maxCredential+time.Hour).Unix(), secret.hint())
	for name, s := range map[string]Server{
		"other secret":   of(Secret(strings.Repeat("x", 32)), "n1", now),
		"expired":        of(secret, "n1", now.Add(-credentialLife-time.Minute)),
		"too long valid": {at, forever, secret.password(forever)},
		"no user":        of(secret, "", now),
		"long user":      of(secret, strings.Repeat("u", maxUser+1), now),
		"no time":        {at, "n1", secret.password("n1")},
		"empty password": {at, fmt.Sprint(now.Add(time.Hour).Unix(), ":n1"), "x"},
	} {
		if _, err := tryAllocate(t, s); err == nil {
			t.Errorf("%s: allocated", name)
		}
	}
	if got := server.Stats(); got.Made != 0 || got.Unauthorized < 7 {
		t.Errorf("%+v", got)
	}
	// A secret without the hint is that of others, coturn for one: the first one of the server.
	name := fmt.Sprintf("%d:n1", now.Add(time.Hour).Unix())
	if _, err := tryAllocate(t, Server{at, name, secret.password(name)}); err != nil {
		t.Errorf("without a hint: %v", err)
	}
}

func TestTURNSecretsChange(t *testing.T) {
	old := Secret(strings.Repeat("o", 32))
	_, at := turnServer(t, func(c *TURNConfig) { c.Secrets = []Secret{secret, old} })
	name, password := old.Credential("n1", time.Now())
	for _, s := range []Server{credential(at, "n1"), {at, name, password}} {
		if _, err := tryAllocate(t, s); err != nil {
			t.Error(err)
		}
	}
}

// An allocation outlives the credential with which it was made.
func TestTURNRefreshWithAnEndedCredential(t *testing.T) {
	server, at := turnServer(t, nil)
	r, err := tryAllocate(t, credential(at, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	client := addressOfSocket(r.socket)
	name := fmt.Sprintf("%d:n1@%s", time.Now().Add(-time.Hour).Unix(), secret.hint())
	ask := func(from netip.AddrPort, allocate bool) bool {
		a := &turn.RequestAttributes{Username: name, Realm: overlayName, SrcAddr: net.UDPAddrFromAddrPort(from), Method: 4}
		if allocate {
			a.Method = 3
		}
		_, _, ok := server.authenticate(a)
		return ok
	}
	if !ask(client, false) {
		t.Error("Refresh was refused")
	}
	if ask(client, true) || ask(netip.AddrPortFrom(client.Addr(), client.Port()+1), false) {
		t.Error("an ended credential made an allocation, or served another client")
	}
}

func TestRFC5766_6_2_Quotas(t *testing.T) {
	server, at := turnServer(t, func(c *TURNConfig) { c.MaxAllocations, c.MaxPerUser = 3, 2 })
	var held []*relay
	for _, c := range []struct {
		user  string
		fails bool
	}{{"n1", false}, {"n1", false}, {"n1", true}, {"n2", false}, {"n2", true}} {
		r, err := tryAllocate(t, credential(at, c.user))
		if (err != nil) != c.fails {
			t.Fatalf("%s with %d held: %v", c.user, len(held), err)
		}
		if err == nil {
			held = append(held, r)
		}
	}
	if got := server.Stats(); got.OverQuota != 2 || got.Allocations != 3 {
		t.Errorf("%+v", got)
	}
	_ = held[0].Close()
	until(t, "allocation given back", func() bool { return server.Stats().Allocations == 2 })
	if _, err := tryAllocate(t, credential(at, "n1")); err != nil {
		t.Error(err)
	}
}

func TestTURNPortRange(t *testing.T) {
	socket := listen(t, "127.0.0.1:0")
	taken := addressOfSocket(socket).Port()
	defer func() { _ = socket.Close() }()
	server, at := turnServer(t, func(c *TURNConfig) { c.MinPort, c.MaxPort = taken, taken })
	if _, err := tryAllocate(t, credential(at, "n1")); err == nil {
		t.Error("allocated without a free port")
	}
	if got := server.Stats(); got.NoPort != 1 {
		t.Errorf("%+v", got)
	}
	_ = socket.Close()
	r, err := tryAllocate(t, credential(at, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := addressOfSocket(r).Port(); got != taken {
		t.Errorf("port %d, want %d", got, taken)
	}
}

// Unless it is allowed, nobody reaches the server's own network through it.
func TestTURNRefusesPrivatePeers(t *testing.T) {
	server, at := turnServer(t, func(c *TURNConfig) { c.AllowPrivate = false })
	r, err := tryAllocate(t, credential(at, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	inside := listen(t, "127.0.0.1:0")
	defer func() { _ = inside.Close() }()
	if err := r.client.CreatePermission(inside.LocalAddr()); err == nil {
		t.Error("a permission for a loopback address")
	}
	if got := server.Stats(); got.BadPeer != 1 {
		t.Errorf("%+v", got)
	}
	if err := r.client.CreatePermission(&net.UDPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 1}); err != nil {
		t.Errorf("a public address: %v", err)
	}
}

func TestPublicAddresses(t *testing.T) {
	for _, s := range []string{"203.0.113.7", "8.8.8.8", "2001:db8::1", "2a00::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is refused", s)
		}
	}
	for _, s := range []string{"10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
		"0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001::1", "::7f00:1", "fec0::1"} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is let through", s)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is let through")
	}
}

func TestServeTURNChecksItsConfiguration(t *testing.T) {
	for name, change := range map[string]func(*TURNConfig){
		"no secret":     func(c *TURNConfig) { c.Secrets = nil },
		"short secret":  func(c *TURNConfig) { c.Secrets = []Secret{secret, secret[:15]} },
		"no realm":      func(c *TURNConfig) { c.Realm = "" },
		"no address":    func(c *TURNConfig) { c.Relay = netip.Addr{} },
		"unspecified":   func(c *TURNConfig) { c.Relay = netip.IPv4Unspecified() },
		"no port":       func(c *TURNConfig) { c.MinPort = 0 },
		"ports swapped": func(c *TURNConfig) { c.MinPort, c.MaxPort = 2000, 1999 },
	} {
		c := TURNConfig{Socket: listen(t, "127.0.0.1:0"), Relay: netip.MustParseAddr("127.0.0.1"), MinPort: 20000, MaxPort: 20010,
			Realm: overlayName, Secrets: []Secret{secret}}
		change(&c)
		if s, err := ServeTURN(c); !errors.Is(err, ErrTURN) {
			_ = s.Close()
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Socket.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the socket is open: %v", name, err)
		}
	}
}

// The server is also a STUN server.
func TestRFC5766_5_BindingAtATURNServer(t *testing.T) {
	_, at := turnServer(t, nil)
	m := newMux(t)
	got, err := m.Mapped(t.Context(), at)
	if err != nil || got != m.LocalAddr() {
		t.Errorf("%s, %v; want %s", got, err, m.LocalAddr())
	}
}

// A credential with known inputs, computed with openssl dgst -sha1 -hmac.
func TestCredentialVector(t *testing.T) {
	name, password := secret.Credential("00112233445566778899aabbccddeeff", time.Unix(1700000000, 0))
	if name != "1700086400:00112233445566778899aabbccddeeff@"+secret.hint() || password != "kqujLZ33dUvAa/it/adpJTyxwlM=" {
		t.Errorf("%s %s", name, password)
	}
}
