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
)

// A token of the server's: which ones are valid, it knows itself.
var tokenForm = regexp.MustCompile(`^mlr_[A-Za-z0-9_-]{43}$`)

// What the server answers to everyone (the rows "open" of people/access.py): such an answer says nothing about a token.
var openToAll = map[string]bool{"/health": true, "/version": true}

// maxTokens is how many tokens are remembered as accepted, 32 bytes each. Beyond, any of them is forgotten.
const maxTokens = 1024

// people passes on who a user is (AUTH=on): a name with the proof that it comes from here, or the token that the server judges.
type people struct {
	proof string

	mutex    sync.Mutex
	accepted map[[sha256.Size]byte]struct{}
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
	return &people{proof: proof, accepted: map[[sha256.Size]byte]struct{}{}}, nil
}

// dropOwnHeaders takes out what a client says of itself in the place of this proxy.
func dropOwnHeaders(header http.Header) {
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

// pass lets the server judge a token. Its connection is a user's once the server has accepted the token, and until it refuses it.
func (p *people) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, token string, connection *connection) error {
	digest := sha256.Sum256([]byte(token))
	connection.judged(p.knows(digest), false)
	noting := &noted{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err := next.ServeHTTP(noting, r)
	switch {
	case noting.status == http.StatusUnauthorized:
		p.learn(digest, false)
	// Nothing else shows that the server has looked at the token: it refuses some requests before that.
	case noting.status >= http.StatusOK && noting.status < http.StatusBadRequest && !openToAll[r.URL.Path]:
		p.learn(digest, true)
	}
	return err
}

func (p *people) knows(token [sha256.Size]byte) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_, known := p.accepted[token]
	return known
}

func (p *people) learn(token [sha256.Size]byte, accepted bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !accepted {
		delete(p.accepted, token)
		return
	}
	for old := range p.accepted {
		if len(p.accepted) < maxTokens {
			break
		}
		delete(p.accepted, old)
	}
	p.accepted[token] = struct{}{}
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
