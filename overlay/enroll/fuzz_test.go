package enroll

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// FuzzEnrollment gives the handler any form. Nothing without the password is answered with a certificate, and there is always an
// answer of the protocol.
func FuzzEnrollment(f *testing.F) {
	w := newWorld(f)
	w.add(Account{Name: "alice", MaxCertificates: 1 << 20})
	w.accounts.cost = argon{memory: 8, passes: 1}
	csr, err := newRequest(w.key(), "alice@example.org")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []string{password, "wrong horse"} {
		body, kind, err := newForm("alice", p, 2, csr)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, kind, TypeCertificate)
	}
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"csr\"\r\n\r\n0\r\n--b--"), "multipart/form-data; boundary=b", "*/*")
	f.Add([]byte("--b\r\n\r\n--b\r\n--b--"), `multipart/form-data; boundary="b"; boundary=c`, TypeCertificate)
	f.Fuzz(func(t *testing.T, body []byte, kind, accept string) {
		s, err := NewServer(w.server.c) // its limits are not what is looked for
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Accept", accept)
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		switch rec.Code {
		case http.StatusOK:
			if !bytes.Contains(body, []byte(password)) {
				t.Error("a certificate without a password")
			}
		case http.StatusForbidden, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}

// FuzzRequest reads any certificate signing request. What is accepted is signed with a key that overlays use, and what an account
// may have because of it is a name that a certificate can carry.
func FuzzRequest(f *testing.F) {
	w := newWorld(f)
	for _, user := range []string{"", "alice@example.org", "a\x00b@example.org", "*@example.org"} {
		csr, err := newRequest(w.key(), user)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(csr)
	}
	a := &Account{User: "gw1@example.org", ActsFor: []string{"*@example.org"}}
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, user, err := readRequest(der)
		if err != nil {
			return
		}
		if _, err := trust.KeyTypeOf(csr.PublicKey); err != nil {
			t.Error(err)
		}
		name, err := CanonicalUser(user)
		if err != nil {
			return
		}
		if ok, _ := a.covers(name); !ok {
			return
		}
		if _, err := w.authority.IssueNode(w.clock.now(), name, csr.PublicKey); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	})
}

// FuzzAccounts reads any files. What was read is written so that it is read again as the same.
func FuzzAccounts(f *testing.F) {
	f.Add([]byte(`{"version":1,"accounts":[{"name":"a","user":"a@b","node_ids":["00112233445566778899aabbccddeeff"],"code":{"secret":"x"}}]}`),
		[]byte(`{"serial":"1","account":"a","node_ids":["12"]}`+"\n"))
	f.Fuzz(func(t *testing.T, accounts, issued []byte) {
		var l issuedLog
		if l.parse(issued) == nil && (l.size > int64(len(issued)) || len(l.last) > l.lines) {
			t.Errorf("%+v", l)
		}
		all, err := parseAccounts(accounts)
		if err != nil {
			return
		}
		first, err := formatAccounts(all)
		if err != nil {
			return // a time that JSON has no words for
		}
		if all, err = parseAccounts(first); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if second, err := formatAccounts(all); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v\n%s\n%s", err, first, second)
		}
	})
}
