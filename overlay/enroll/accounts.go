package enroll

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Names in the directory of Accounts.
const (
	accountsFile = "accounts.json"
	issuedFile   = "issued.jsonl"
	rangesFile   = "ranges.json"
	lockName     = "accounts.lock"
)

// Accounts is who may enroll, and what was issued to them. It is kept in a directory:
//
//	accounts.json   the accounts, written anew in one step when one of them changes
//	issued.jsonl    a line for each certificate; lines are added before a certificate is handed out
//	ranges.json     the number ranges that were certified otherwise: see ClaimRanges
//	accounts.lock   held while either is changed, so that commands may change accounts while a server runs
//
// Files have mode 0600. Both are read again when another process has changed them. Accounts is safe for concurrent use.
type Accounts struct {
	dir  string
	cost argon

	mu       sync.Mutex
	accounts map[string]*Account
	read     stamp // of accounts.json
	log      issuedLog
}

// OpenAccounts reads the accounts in dir, an existing directory. Without files there are none yet.
func OpenAccounts(dir string) (*Accounts, error) {
	a := &Accounts{dir: dir, cost: argonDefault, log: issuedLog{path: filepath.Join(dir, issuedFile)}}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.readAccounts(); err != nil {
		return nil, err
	}
	return a, a.log.read()
}

func (a *Accounts) path(name string) string { return filepath.Join(a.dir, name) }

// refresh reads the accounts when another process has changed them. a.mu is held.
func (a *Accounts) refresh() error {
	if a.read.same(a.path(accountsFile)) {
		return nil
	}
	return a.readAccounts()
}

// change runs f on the accounts while nobody else changes them, and keeps what f did when it reports true. a.mu is not held.
func (a *Accounts) change(f func() (changed bool, err error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock, err := lockFile(a.path(lockName))
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.refresh(); err != nil {
		return err
	}
	changed, err := f()
	if err == nil && changed {
		err = a.writeAccounts()
	}
	if err != nil && changed {
		a.read = stamp{} // what f did is undone by the next refresh
		err = errors.Join(err, a.readAccounts())
	}
	return err
}

// Add makes an account. password may be empty: then only a code opens it.
func (a *Accounts) Add(n Account, password string, now time.Time) error {
	if err := n.complete(now); err != nil {
		return err
	}
	if _, looks := asCode(password); looks || password != "" && len(password) < MinPassword || len(password) > maxField {
		return fmt.Errorf("%w: a password has %d to %d octets and not the form of a code", ErrInvalid, MinPassword, maxField)
	}
	if password != "" {
		n.secret = a.cost.newSecret(password)
	}
	return a.change(func() (bool, error) {
		if a.accounts[n.Name] != nil {
			return false, fmt.Errorf("%w: %s", ErrExists, n.Name)
		}
		if len(a.accounts) >= maxAccounts {
			return false, ErrTooLarge
		}
		// RFC 6940 §13.3: user names are unique within the overlay.
		if o := a.owner(n.User); o != nil {
			return false, fmt.Errorf("%w: the user name %s belongs to the account %s", ErrInvalid, n.User, o.Name)
		}
		if err := a.rangesFree(n.User, n.ActsFor, n.Share, now); err != nil {
			return false, err
		}
		kept := n.clone()
		kept.Share = false
		a.accounts[n.Name] = kept
		return true, nil
	})
}

// owner is the account whose own user name user is, or nil. a.mu is held.
func (a *Accounts) owner(user string) *Account {
	for _, o := range a.accounts {
		if o.User == user {
			return o
		}
	}
	return nil
}

// Remove removes an account. Its certificates stay valid: see bad-node (RFC 6940 §11.1). The result is what was removed.
func (a *Accounts) Remove(name string) (Account, error) {
	var gone Account
	err := a.change(func() (bool, error) {
		n := a.accounts[name]
		if n == nil {
			return false, fmt.Errorf("%w: %s", ErrUnknown, name)
		}
		gone = *n
		delete(a.accounts, name)
		return true, nil
	})
	return gone, err
}

// NewCode makes a code for an account: until CodeLifetime from now, one key can enroll with it in the place of the password,
// and that key ever after. An older code ends.
func (a *Accounts) NewCode(name string, now time.Time) (string, error) {
	text := newCode()
	kept := &code{secret: a.cost.newSecret(text), until: now.Add(CodeLifetime).UTC().Truncate(time.Second)}
	err := a.change(func() (bool, error) {
		n := a.accounts[name]
		if n == nil {
			return false, fmt.Errorf("%w: %s", ErrUnknown, name)
		}
		n.code = kept
		return true, nil
	})
	return text, err
}

// List is every account, by name.
func (a *Accounts) List() ([]Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return nil, err
	}
	all := make([]Account, 0, len(a.accounts))
	for _, n := range a.accounts {
		all = append(all, *n.clone())
	}
	slices.SortFunc(all, func(x, y Account) int { return cmp.Compare(x.Name, y.Name) })
	return all, nil
}

// lookup is the account named name, or nil.
func (a *Accounts) lookup(name string) (*Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return nil, err
	}
	if n := a.accounts[name]; n != nil {
		return n.clone(), nil
	}
	return nil, nil
}

// accountJSON is an account as the file has it.
type accountJSON struct {
	Name            string    `json:"name"`
	User            string    `json:"user"`
	Gateway         bool      `json:"gateway,omitempty"`
	ActsFor         []string  `json:"may_act_for,omitempty"`
	MaxCertificates int       `json:"max_certificates"`
	MaxNodeIDs      int       `json:"max_node_ids"`
	Nodes           []string  `json:"node_ids,omitempty"`
	Created         time.Time `json:"created"`
	Secret          secret    `json:"secret,omitempty"`
	Code            *codeJSON `json:"code,omitempty"`
}

type codeJSON struct {
	Secret secret    `json:"secret"`
	Until  time.Time `json:"until"`
	Key    string    `json:"key,omitempty"`
}

type accountsJSON struct {
	Version  int           `json:"version"`
	Accounts []accountJSON `json:"accounts"`
}

const accountsVersion = 1

// readAccounts reads accounts.json. a.mu is held.
func (a *Accounts) readAccounts() error {
	path := a.path(accountsFile)
	b, read, err := readFile(path, maxFile)
	if err != nil {
		return err
	}
	all := map[string]*Account{}
	if b != nil {
		if all, err = parseAccounts(b); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
		}
	}
	a.accounts, a.read = all, read
	return nil
}

func parseAccounts(b []byte) (map[string]*Account, error) {
	var j accountsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, err
	}
	if j.Version != accountsVersion {
		return nil, fmt.Errorf("version %d, %d is read", j.Version, accountsVersion)
	}
	all := map[string]*Account{}
	for _, e := range j.Accounts {
		n, err := e.account()
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", e.Name, err)
		}
		all[n.Name] = n
	}
	return all, nil
}

func (e *accountJSON) account() (*Account, error) {
	n := &Account{Name: e.Name, User: e.User, Gateway: e.Gateway, ActsFor: e.ActsFor, MaxCertificates: e.MaxCertificates,
		MaxNodeIDs: e.MaxNodeIDs, Created: e.Created, secret: e.Secret}
	for _, s := range e.Nodes {
		id, err := wire.ParseNodeID(s)
		if err != nil {
			return nil, err
		}
		n.Nodes = append(n.Nodes, id)
	}
	if e.Code != nil {
		n.code = &code{e.Code.Secret, e.Code.Until, e.Code.Key}
	}
	return n, nil
}

// writeAccounts writes accounts.json. a.mu and the lock are held.
func (a *Accounts) writeAccounts() error {
	b, err := formatAccounts(a.accounts)
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	a.read, err = replaceFile(a.path(accountsFile), b)
	return err
}

func formatAccounts(all map[string]*Account) ([]byte, error) {
	j := accountsJSON{Version: accountsVersion, Accounts: []accountJSON{}}
	for _, n := range all {
		e := accountJSON{n.Name, n.User, n.Gateway, n.ActsFor, n.MaxCertificates, n.MaxNodeIDs, nil, n.Created, n.secret, nil}
		for _, id := range n.Nodes {
			e.Nodes = append(e.Nodes, id.String())
		}
		if n.code != nil {
			e.Code = &codeJSON{n.code.secret, n.code.until, n.code.key}
		}
		j.Accounts = append(j.Accounts, e)
	}
	slices.SortFunc(j.Accounts, func(x, y accountJSON) int { return cmp.Compare(x.Name, y.Name) })
	b, err := json.MarshalIndent(j, "", "  ")
	return append(b, '\n'), err
}
