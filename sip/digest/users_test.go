package digest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

func TestReadUsers(t *testing.T) {
	md5 := strings.Repeat("aB", 16)
	sha := strings.Repeat("cD", 32)
	u, err := ReadUsers(strings.NewReader("# users\n\n  alice secret  \nbob ha1-md5:"+md5+" ha1-sha256:"+sha+"\n\t# end\ncarol ha1-sha256:"+sha+
		"\r\ndave pass#word\n"+Line("erin", realm, "a b")), realm)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]HA1{
		"alice": NewHA1("alice", realm, "secret"),
		"bob":   {MD5: strings.ToLower(md5), SHA256: strings.ToLower(sha)},
		"carol": {SHA256: strings.ToLower(sha)},
		"dave":  NewHA1("dave", realm, "pass#word"),
		"erin":  NewHA1("erin", realm, "a b"),
	}
	for name, h := range want {
		if got, ok := u.Lookup(name); !ok || got != h {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, ok := u.Lookup("nobody"); ok || u.Len() != len(want) {
		t.Error(u.Len())
	}
}

func TestReadUsersErrorsNameTheLine(t *testing.T) {
	for in, want := range map[string]string{
		"a b\nalice":                        `line 2: user "alice": no password and no HA1`,
		"a b\n\na c":                        `line 3: user "a" stands here twice`,
		"a:b c":                             `line 1: user "a:b": colon, quote or backslash in name`,
		"a ha1-md5:xx":                      `line 1: user "a": ha1-md5 wants 32 hexadecimal digits, once`,
		"a ha1-sha256:aa":                   `line 1: user "a": ha1-sha256 wants 64 hexadecimal digits, once`,
		"a my secret":                       `line 1: user "a": neither ha1-md5: nor ha1-sha256: starts a field behind the name`,
		"a ha1-md4:00":                      `line 1: user "a": neither ha1-md5: nor ha1-sha256: starts a field behind the name`,
		"x y\n" + strings.Repeat("a", 5000): "line 2: bufio.Scanner: token too long",
	} {
		if _, err := ReadUsers(strings.NewReader(in), realm); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestLoadUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if _, err := LoadUsers(path, realm); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("alice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadUsers(path, realm); err == nil || !strings.Contains(err.Error(), path+": line 1: ") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(Line("alice", realm, "secret")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if u, err := LoadUsers(path, realm); err != nil || u.Len() != 1 {
		t.Error(err)
	}
}

// A file with an account that cannot log in (a HA1 for one algorithm only) refuses the other, and no one gets in with an empty HA1.
func TestMissingHA1IsNoUser(t *testing.T) {
	u, err := ReadUsers(strings.NewReader("carol ha1-sha256:"+NewHA1("carol", realm, "pw").SHA256), realm)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(realm, u.Lookup)
	expect(t, "MD5", s.Verify(register(t, answer(t, s.Challenge(another(), start, false)[0], "carol", "pw", 1)), message.Authorization, start), Refused)
	expect(t, "SHA-256", s.Verify(register(t, answer(t, s.Challenge(another(), start, false, SHA256)[0], "carol", "pw", 1)), message.Authorization, start), OK)
}
