package digest

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Users is the contents of a users file. It does not change; a file that did is read anew.
type Users struct {
	byName map[string]HA1
}

// LoadUsers reads a users file: see ReadUsers.
func LoadUsers(path, realm string) (*Users, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("digest: users: %w", err)
	}
	defer func() { _ = f.Close() }()
	u, err := ReadUsers(f, realm)
	if err != nil {
		return nil, fmt.Errorf("digest: %s: %w", path, err)
	}
	return u, nil
}

// ReadUsers reads lines of two forms; empty ones and those that begin with "#" are skipped:
//
//	user password
//	user ha1-md5:<32 hex digits> ha1-sha256:<64 hex digits>
//
// A password stands for its HA1 values with this realm and is forgotten; the second form is for one realm. Either HA1
// may be missing. Errors name the line.
func ReadUsers(r io.Reader, realm string) (*Users, error) {
	u := &Users{byName: map[string]HA1{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	line := 0
	for sc.Scan() {
		line++
		f := strings.Fields(sc.Text())
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if err := u.add(f, realm); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", line+1, err)
	}
	return u, nil
}

func (u *Users) add(f []string, realm string) error {
	name := f[0]
	if strings.ContainsAny(name, `:"\`) {
		return fmt.Errorf("user %q: colon, quote or backslash in name", name)
	}
	if _, twice := u.byName[name]; twice {
		return fmt.Errorf("user %q stands here twice", name)
	}
	if len(u.byName) == MaxUsers {
		return fmt.Errorf("more than %d users", MaxUsers)
	}
	h, err := readHA1(f[1:], name, realm)
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	u.byName[name] = h
	return nil
}

func readHA1(f []string, name, realm string) (h HA1, err error) {
	if len(f) == 1 && !strings.HasPrefix(f[0], "ha1-") {
		return NewHA1(name, realm, f[0]), nil
	}
	for _, s := range f {
		kind, digits, _ := strings.Cut(s, ":")
		var to *string
		switch kind {
		case "ha1-md5":
			to = &h.MD5
		case "ha1-sha256":
			to = &h.SHA256
		default:
			// The field is not named: it may be a password.
			return h, fmt.Errorf("neither ha1-md5: nor ha1-sha256: starts a field behind the name")
		}
		want := 32
		if to == &h.SHA256 {
			want = 64
		}
		if _, err := hex.DecodeString(digits); err != nil || len(digits) != want || *to != "" {
			return h, fmt.Errorf("%s wants %d hexadecimal digits, once", kind, want)
		}
		*to = strings.ToLower(digits)
	}
	if h == (HA1{}) {
		return h, fmt.Errorf("no password and no HA1")
	}
	return h, nil
}

// Lookup finds a user: a Lookup.
func (u *Users) Lookup(user string) (HA1, bool) {
	h, ok := u.byName[user]
	return h, ok
}

// Compare counts the users that were not in old, that are there no more, and that have other HA1 values.
func (u *Users) Compare(old *Users) (added, removed, changed int) {
	for name, h := range u.byName {
		was, ok := old.byName[name]
		switch {
		case !ok:
			added++
		case was != h:
			changed++
		}
	}
	return added, len(old.byName) - (len(u.byName) - added), changed
}

// Len is the number of users.
func (u *Users) Len() int { return len(u.byName) }

// Line is the line of a users file for a user, without the password.
func Line(user, realm, password string) string {
	h := NewHA1(user, realm, password)
	return user + " ha1-md5:" + h.MD5 + " ha1-sha256:" + h.SHA256
}
