package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What the server knows a name by: these headers are set here alone, and taken out of what clients send.
const (
	ownHeaders  = "X-Replica-"
	userHeader  = "X-Replica-User"
	proofHeader = "X-Replica-Proof"
	roleHeader  = "X-Replica-Role" // by single sign-on
)

// A token of the server's: which ones are valid, it knows itself.
var tokenForm = regexp.MustCompile(`^mlr_[A-Za-z0-9_-]{43}$`)

// What the server answers to everyone (the rows "open" of people/access_table.py): such an answer says nothing about a token.
var openToAll = map[string]bool{"/health": true, "/version": true}

// maxTokens is how many tokens are remembered as accepted, and as many as refused, 32 bytes each. Beyond, any of them is forgotten.
const maxTokens = 1024

// people passes on who a user is (AUTH=on): a name with the proof that it comes from here, or the token that the server judges.
type people struct {
	proof string

	mutex    sync.Mutex
	accepted map[[sha256.Size]byte]struct{}
	refused  map[[sha256.Size]byte]struct{}
}

// newPeople reads the proof, which only this container and the server's have.
func newPeople(path string) (*people, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the proof that names come from here cannot be read: %w", err)
	}
	proof := strings.TrimSpace(string(text))
	if proof == "" {
		return nil, errors.New("the proof that names come from here is empty")
	}
	return &people{proof: proof, accepted: map[[sha256.Size]byte]struct{}{}, refused: map[[sha256.Size]byte]struct{}{}}, nil
}

// dropOwnHeaders takes out what a client says of itself in the place of this proxy, and what would take out what the proxy says:
// a header that Connection names goes no further.
func dropOwnHeaders(header http.Header) {
	header.Del("Connection")
	for name := range header {
		if strings.HasPrefix(name, ownHeaders) {
			delete(header, name)
		}
	}
}

// name notes who a request's user is, and takes the password out.
func (p *people) name(r *http.Request, user string) {
	r.Header.Del("Authorization")
	if p != nil {
		r.Header.Set(userHeader, user)
		r.Header.Set(proofHeader, p.proof)
	}
}

// token returns a request's token: the bearer's, or the password of a Basic login. It is empty where there is none.
func (p *people) token(r *http.Request) string {
	if p == nil {
		return ""
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer {
		_, token, _ = r.BasicAuth()
	}
	if !tokenForm.MatchString(token) {
		return ""
	}
	return token
}

// pass lets the server judge a token, with the proof that it comes from here: the record then has the client's address. Its connection is a user's once the server has accepted the token, and until it refuses it.
//
// An address that has sent many wrong tokens has to wait with further ones; accepted ones go on. A program that sends the same wrong
// one again and again keeps nobody out: it counts once.
func (p *people) pass(
	w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, token string, connection *connection, attempts *attempts,
) error {
	digest, address := sha256.Sum256([]byte(token)), addressOf(r.RemoteAddr)
	known := p.knows(digest)
	connection.judged(known, false)
	if wait := attempts.refusalOfToken(address); wait > 0 && !known {
		return tooMany(w, wait)
	}
	r.Header.Set(proofHeader, p.proof)
	noting := &noted{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err := next.ServeHTTP(noting, r)
	switch {
	case noting.status == http.StatusUnauthorized:
		if p.refuse(digest) {
			attempts.addToken(address)
		}
	// Nothing else shows that the server has looked at the token: it refuses some requests before that.
	case noting.status >= http.StatusOK && noting.status < http.StatusBadRequest && !openToAll[r.URL.Path]:
		p.accept(digest)
	}
	return err
}

func (p *people) knows(token [sha256.Size]byte) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_, known := p.accepted[token]
	return known
}

func (p *people) accept(token [sha256.Size]byte) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.refused, token)
	remember(p.accepted, token)
}

// refuse remembers a wrong token, and says whether it is another one than those that are remembered.
func (p *people) refuse(token [sha256.Size]byte) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.accepted, token)
	_, before := p.refused[token]
	remember(p.refused, token)
	return !before
}

// remember puts a token into a set that is bounded.
func remember(set map[[sha256.Size]byte]struct{}, token [sha256.Size]byte) {
	for old := range set {
		if len(set) < maxTokens {
			break
		}
		delete(set, old)
	}
	set[token] = struct{}{}
}

// noted remembers an answer's status.
type noted struct {
	*caddyhttp.ResponseWriterWrapper
	status int
}

// WriteHeader notes the status.
func (n *noted) WriteHeader(status int) {
	if status >= http.StatusOK {
		n.status = status
	}
	n.ResponseWriterWrapper.WriteHeader(status)
}
