package enroll

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Issued is a certificate that was handed out.
type Issued struct {
	Serial  string    `json:"serial"` // hexadecimal
	Account string    `json:"account"`
	User    string    `json:"user"`
	Nodes   []string  `json:"node_ids"`
	Key     string    `json:"key"` // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
}

func issuedOf(account, user string, nodes []wire.NodeID, cert *x509.Certificate) Issued {
	e := Issued{Serial: cert.SerialNumber.Text(16), Account: account, User: user, Key: keyHash(cert.RawSubjectPublicKeyInfo),
		From: cert.NotBefore.UTC(), Until: cert.NotAfter.UTC()}
	for _, n := range nodes {
		e.Nodes = append(e.Nodes, n.String())
	}
	return e
}

func keyHash(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// holding is what a certificate that is issued again replaces.
type holding struct{ account, user, key string }

func (e *Issued) holding() holding { return holding{e.Account, e.User, e.Key} }

// issuedLog is issued.jsonl. Of the same account, user and key only the last certificate counts.
type issuedLog struct {
	path  string
	last  map[holding]Issued
	live  map[string]int // records of each account
	lines int
	size  int64 // octets of whole lines: what a crash left behind them is cut off
	seen  stamp
}

// read reads the file. A last line that was not finished was never handed out and is left out.
func (l *issuedLog) read() error {
	b, seen, err := readFile(l.path, maxIssuedFile)
	if err != nil {
		return err
	}
	l.seen = seen
	if err := l.parse(b); err != nil {
		return fmt.Errorf("%w: %s, line %d: %w", ErrDamaged, l.path, l.lines+1, err)
	}
	return nil
}

func (l *issuedLog) parse(b []byte) error {
	l.last, l.live, l.lines, l.size = map[holding]Issued{}, map[string]int{}, 0, 0
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			break
		}
		var e Issued
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		l.note(e)
		l.lines++
		l.size += int64(len(line)) + 1
		b = rest
	}
	return nil
}

func (l *issuedLog) refresh() error {
	if l.seen.same(l.path) {
		return nil
	}
	return l.read()
}

func (l *issuedLog) note(e Issued) {
	if _, again := l.last[e.holding()]; !again {
		l.live[e.Account]++
	}
	l.last[e.holding()] = e
}

// room tells whether account may get one more certificate for user and key: a new one, or one that is there already again.
func (l *issuedLog) room(h holding, most int, now time.Time) bool {
	if _, again := l.last[h]; again {
		return true
	}
	if l.live[h.account] < most && len(l.last) < maxIssued {
		return true
	}
	l.forget(now)
	return l.live[h.account] < most && len(l.last) < maxIssued
}

// forget drops the certificates that have expired.
func (l *issuedLog) forget(now time.Time) {
	for h, e := range l.last {
		if now.After(e.Until) {
			delete(l.last, h)
			l.live[h.account]--
		}
	}
}

// append puts e into the file, on the disk.
func (l *issuedLog) append(e Issued, now time.Time) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	if l.lines >= compactLines && l.lines >= 2*len(l.last) {
		if err := l.compact(now); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	if err = f.Truncate(l.size); err == nil {
		_, err = f.Seek(l.size, 0)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("enroll: %s: %w", l.path, err), f.Close())
	}
	line = append(line, '\n')
	info, err := writeSynced(f, line)
	if err != nil {
		return fmt.Errorf("enroll: %s: %w", l.path, err)
	}
	l.note(e)
	l.lines++
	l.size += int64(len(line))
	l.seen = stamp{info}
	return nil
}

// compact writes the file anew, without what has expired or was issued again.
func (l *issuedLog) compact(now time.Time) error {
	l.forget(now)
	var b []byte
	for _, e := range l.sorted() {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("enroll: %w", err)
		}
		b = append(append(b, line...), '\n')
	}
	seen, err := replaceFile(l.path, b)
	if err != nil {
		return err
	}
	l.lines, l.size, l.seen = len(l.last), int64(len(b)), seen
	return nil
}

func (l *issuedLog) sorted() []Issued {
	all := make([]Issued, 0, len(l.last))
	for _, e := range l.last {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y Issued) int { return cmpIssued(&x, &y) })
	return all
}

func cmpIssued(x, y *Issued) int {
	if c := x.From.Compare(y.From); c != 0 {
		return c
	}
	return bytes.Compare([]byte(x.Serial), []byte(y.Serial))
}

// Issued lists the certificates that are valid at now, the oldest first. Of those of one account, user and key it is the last.
func (a *Accounts) Issued(now time.Time) ([]Issued, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.log.refresh(); err != nil {
		return nil, err
	}
	all := a.log.sorted()
	return slices.DeleteFunc(all, func(e Issued) bool { return now.After(e.Until) }), nil
}
