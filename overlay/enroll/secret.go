package enroll

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argon is what one computation of a password costs.
type argon struct {
	memory uint32 // KiB
	passes uint32
}

var argonDefault = argon{argonMemory, argonPasses}

// secret is what is kept of a password: argon2id in the usual notation "$argon2id$v=19$m=..,t=..,p=..$salt$hash".
type secret string

// newSecret makes the secret of password, which is taken as octets. RFC 6940 §11.3: "strings compared as binary objects".
func (a argon) newSecret(password string) secret {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	hash := argon2.IDKey([]byte(password), salt, a.passes, a.memory, argonLanes, argonHash)
	enc := base64.RawStdEncoding
	return secret(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.passes, argonLanes,
		enc.EncodeToString(salt), enc.EncodeToString(hash)))
}

var errSecret = errors.New("not an argon2id secret")

type parsedSecret struct {
	argon
	lanes      uint8
	salt, hash []byte
}

func (s secret) parse() (parsedSecret, error) {
	var p parsedSecret
	parts := strings.Split(string(s), "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errSecret
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil {
		return p, errSecret
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.hash, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.hash) < 16 || len(p.hash) > 64 || len(p.salt) > 64 ||
		p.memory > maxMemory || p.passes == 0 || p.passes > maxArgonTime || p.lanes == 0 {
		return p, errSecret
	}
	return p, nil
}

// matches computes password's hash and compares it. An empty or damaged secret matches nothing and costs as much as another.
func (s secret) matches(password string, cost argon) bool {
	p, err := s.parse()
	if err != nil {
		p = parsedSecret{argon: cost, lanes: argonLanes, salt: make([]byte, argonSalt), hash: make([]byte, argonHash)}
	}
	got := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(len(p.hash)))
	return subtle.ConstantTimeCompare(got, p.hash) == 1 && err == nil
}

// codeAlphabet has no symbol that is taken for another one (after Crockford).
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newCode is a random code as people type it: "7K2QM-94XTB".
func newCode() string {
	b := make([]byte, codeSymbols)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = codeAlphabet[int(b[i])%len(codeAlphabet)]
	}
	return string(b[:codeSymbols/2]) + "-" + string(b[codeSymbols/2:])
}

// asCode tells whether a password has the form of a code, and gives it in one spelling. It depends on the password alone, so
// that it gives nothing away of an account.
func asCode(password string) (code string, ok bool) {
	if len(password) != codeSymbols+1 || password[codeSymbols/2] != '-' {
		return "", false
	}
	code = strings.ToUpper(password)
	for i, c := range code {
		if i != codeSymbols/2 && !strings.ContainsRune(codeAlphabet, c) {
			return "", false
		}
	}
	return code, true
}
