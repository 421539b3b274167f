package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Every hash has this cost (`user` makes them), so that the time of a wrong login does not tell which names exist.
const cost = 10

// users is who may log in: the names and bcrypt hashes of a file, which is read again when it has changed.
type users struct {
	path string
	warn func(message string)

	mutex    sync.Mutex
	seen     os.FileInfo // the file that was read last
	accounts map[string]*account
	refuted  map[digest]struct{} // logins that are known to be wrong, as long as the file stays as it is
}

// account is one user. Its hash is computed once for the right password, and then only for wrong ones.
type account struct {
	hash   []byte
	proof  digest // of the login that matched the hash
	proven bool
}

// opinion is what is known of a login without computing a hash.
type opinion int

const (
	unknown opinion = iota
	right
	wrong
)

// The wrong logins that are remembered, 32 bytes each. Beyond, any of them is forgotten.
const maxRefuted = 1024

// recall says what is known of a login, and which hash would tell more: nil if nobody has this name.
func (u *users) recall(name string, login digest) (opinion, []byte) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	u.refresh()
	if _, found := u.refuted[login]; found {
		return wrong, nil
	}
	account, found := u.accounts[name]
	if !found {
		return unknown, nil
	}
	if account.proven && hmac.Equal(account.proof[:], login[:]) {
		return right, nil
	}
	return unknown, account.hash
}

// learn remembers how a login compared with a hash, unless the file has changed meanwhile.
func (u *users) learn(name string, login digest, hash []byte, matches bool) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	account := u.accounts[name]
	if (account == nil) != (hash == nil) || account != nil && !bytes.Equal(account.hash, hash) {
		return
	}
	if matches {
		account.proof, account.proven = login, true
		return
	}
	for old := range u.refuted {
		if len(u.refuted) < maxRefuted {
			break
		}
		delete(u.refuted, old)
	}
	u.refuted[login] = struct{}{}
}

// refresh reads the file again if it is another one than before. Without a file that can be read, nobody may log in.
func (u *users) refresh() {
	now, err := os.Stat(u.path)
	if err == nil && u.seen != nil && os.SameFile(now, u.seen) && now.ModTime().Equal(u.seen.ModTime()) && now.Size() == u.seen.Size() {
		return
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(u.path)
	}
	if err != nil {
		// Said once: it is asked for at each request.
		if u.accounts == nil || len(u.accounts) > 0 {
			u.warn(fmt.Sprintf("nobody can log in: %v", err))
		}
		now = nil
	}
	before := u.accounts
	u.seen, u.accounts, u.refuted = now, map[string]*account{}, map[digest]struct{}{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := checkLine(fields); err != nil {
			u.warn(fmt.Sprintf("%s, line %d: %v: left out; `user add` writes it anew", u.path, number, err))
			continue
		}
		read := &account{hash: []byte(fields[1])}
		if old := before[fields[0]]; old != nil && bytes.Equal(old.hash, read.hash) {
			read = old
		}
		u.accounts[fields[0]] = read
	}
}

// checkLine returns what is wrong with the fields of a line.
func checkLine(fields []string) error {
	if len(fields) != 2 {
		return errors.New("not a name and a hash")
	}
	found, err := bcrypt.Cost([]byte(fields[1]))
	if err != nil {
		return errors.New("not a bcrypt hash")
	}
	if found != cost {
		return fmt.Errorf("a hash of cost %d, not %d", found, cost)
	}
	return nil
}
