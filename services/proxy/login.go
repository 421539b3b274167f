package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/crypto/bcrypt"
)

func init() {
	caddy.RegisterModule(Login{})
	httpcaddyfile.RegisterHandlerDirective("login", func(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		login := new(Login)
		return login, login.UnmarshalCaddyfile(helper.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("login", httpcaddyfile.Before, "basic_auth")
}

// Login lets requests through whose Basic credentials are those of a user. It differs from Caddy's basic_auth in this:
//
//   - A login with a name that nobody has costs what one with a wrong password does, and one hash is computed at a time.
//   - Wrong logins are limited by address and by name. Right ones that were seen before are never refused and need no hash. One
//     that was not, and comes from an address that guesses, on a connection without a wrong login, waits in line for its hash.
//   - The file of users is read again when it changes.
//   - With single sign-on, who sends no credentials is asked for a session (sso.go).
//   - With a proof, the server learns who the user is, and a token is passed on for the server to judge.
type Login struct {
	// Users is the file's path: a name and its bcrypt hash a line.
	Users string `json:"users"`
	// Proof is the path of a file with which the server knows that a name comes from here; empty: it asks for none (AUTH=off).
	Proof string `json:"proof,omitempty"`
	// SSO is the address of oauth2-proxy, which knows who a browser's session belongs to; empty: there is no single sign-on.
	SSO string `json:"sso,omitempty"`

	judge  *judge
	people *people
	sso    *sso
}

// CaddyModule names the module.
func (Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.login", New: func() caddy.Module { return new(Login) }}
}

// UnmarshalCaddyfile reads `login FILE [PROOF [SSO]]`.
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	switch arguments := d.RemainingArgs(); len(arguments) {
	case 3:
		l.SSO = arguments[2]
		fallthrough
	case 2:
		l.Proof = arguments[1]
		fallthrough
	case 1:
		l.Users = arguments[0]
		return nil
	}
	return d.ArgErr()
}

// Provision prepares the judge of logins.
func (l *Login) Provision(ctx caddy.Context) error {
	var err error
	if l.Proof != "" {
		if l.people, err = newPeople(l.Proof); err != nil {
			return err
		}
	}
	if l.SSO != "" {
		if l.sso, err = newSSO(l.SSO, os.Getenv("SSO_ROLES")); err != nil {
			return err
		}
	}
	l.judge, err = newJudge(l.Users, func(message string) { ctx.Logger().Warn(message) })
	return err
}

// ServeHTTP passes a user's request on, and refuses others with 401, or with 429 and the seconds to wait.
func (l *Login) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	connection := connections.begin(r)
	defer connection.end()
	dropOwnHeaders(r.Header)
	// Before tokens, which nobody judges at oauth2-proxy.
	if l.sso != nil && openForLogin[r.URL.Path] {
		connection.judged(false, false)
		r.Header.Del("Authorization")
		return next.ServeHTTP(w, r)
	}
	token := l.people.token(r)
	name, password, given := r.BasicAuth()
	if l.sso != nil {
		if token == "" && !given {
			return l.sso.serve(w, r, next, l.people, connection)
		}
		dropSession(r)
	}
	if token != "" {
		return l.people.pass(w, r, next, token, connection, l.judge.attempts)
	}
	verdict := refused
	var wait time.Duration
	if given {
		verdict, wait = l.judge.decide(r.Context(), name, password, addressOf(r.RemoteAddr), connection)
	}
	connection.judged(verdict == admitted, given)
	switch verdict {
	case admitted:
		// For the access log.
		r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", name)
		l.people.name(r, name)
		return next.ServeHTTP(w, r)
	case postponed:
		return tooMany(w, wait)
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="MLflow"`)
		return caddyhttp.Error(http.StatusUnauthorized, fmt.Errorf("not logged in"))
	}
}

// tooMany refuses a request with 429 and the seconds to wait.
func tooMany(w http.ResponseWriter, wait time.Duration) error {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	return caddyhttp.Error(http.StatusTooManyRequests, fmt.Errorf("too many wrong logins"))
}

// digest stands for a login or a name: it is of one length, and nobody can compute it without this process's key.
type digest [sha256.Size]byte

type verdict int

const (
	undecided verdict = iota // a hash has to tell
	refused
	postponed
	admitted
)

// judge decides about logins.
type judge struct {
	users    *users
	attempts *attempts
	warn     func(message string)
	key      []byte        // of this process's digests
	nobody   []byte        // compared with when nobody has the name
	hashing  chan struct{} // holds an element while a hash is computed: one at a time
	compare  func(hash, password []byte) error
	sleep    func(ctx context.Context, length time.Duration) error
}

func newJudge(path string, warn func(message string)) (*judge, error) {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	nobody, err := bcrypt.GenerateFromPassword(key, cost)
	if err != nil {
		return nil, err
	}
	return &judge{
		users:    &users{path: path, warn: warn},
		attempts: &attempts{now: time.Now, counts: map[origin]*count{}},
		warn:     warn,
		key:      key,
		nobody:   nobody,
		hashing:  make(chan struct{}, 1),
		compare:  bcrypt.CompareHashAndPassword,
		sleep:    sleep,
	}, nil
}

func (j *judge) digest(name, password string) digest {
	mac := hmac.New(sha256.New, j.key)
	// No name holds a colon, which ends it in the header.
	mac.Write([]byte(name + ":" + password))
	return digest(mac.Sum(nil))
}

// decide says whether a login is let in, and how long it has to wait if it is postponed.
func (j *judge) decide(
	ctx context.Context, name, password string, address netip.Prefix, from *connection,
) (verdict, time.Duration) {
	login, who := j.digest(name, password), j.digest(name, "")
	verdict, wait, _ := j.settle(name, password, login, who, address)
	if verdict != undecided {
		return verdict, wait
	}
	inTurn := false
	if wait > 0 {
		if inTurn = j.wait(ctx, address, who, from); !inTurn {
			return postponed, wait
		}
	}
	select {
	case j.hashing <- struct{}{}:
		defer func() { <-j.hashing }()
	case <-ctx.Done():
		return refused, 0
	}
	// Those before may have settled it, or spent the hashes.
	verdict, wait, hash := j.settle(name, password, login, who, address)
	if verdict != undecided {
		return verdict, wait
	}
	if wait > 0 && !inTurn {
		return postponed, wait
	}
	against := hash
	if hash == nil {
		against = j.nobody
	}
	matches := j.compare(against, []byte(password)) == nil && hash != nil
	j.users.learn(name, login, hash, matches)
	if matches {
		return admitted, 0
	}
	return j.count(address, who, true)
}

// settle decides what can be decided without a hash. Otherwise, it returns how long an attempt that needs one has to wait, and
// which hash would tell: nil if nobody has this name.
func (j *judge) settle(name, password string, login, who digest, address netip.Prefix) (verdict, time.Duration, []byte) {
	known, hash := j.users.recall(name, login)
	// bcrypt looks at 72 bytes, and `user` takes no more.
	if known == right && len(password) <= 72 {
		return admitted, 0, nil
	}
	if known == wrong || len(password) > 72 {
		if wait := j.attempts.refusal(address, who, true); wait > 0 {
			return postponed, wait, nil
		}
		verdict, wait := j.count(address, who, false)
		return verdict, wait, nil
	}
	return undecided, j.attempts.refusal(address, who, false), hash
}

// wait stands in the line of an address that guesses, so that its other users get in too, and says whether it is their turn now.
// Who guessed on this connection before does not stand in line. It may be closed while it waits.
func (j *judge) wait(ctx context.Context, address netip.Prefix, who digest, from *connection) bool {
	if from.hasGuessed() {
		return false
	}
	length, stands := j.attempts.stand(address, who)
	if !stands {
		return false
	}
	from.setBusy(false)
	err := j.sleep(ctx, length)
	from.setBusy(true)
	j.attempts.leave(address)
	return err == nil
}

func sleep(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// count counts a wrong login, which is answered as such, or as one too many for its name.
func (j *judge) count(address netip.Prefix, who digest, hashed bool) (verdict, time.Duration) {
	wait := j.attempts.refusal(address, who, true)
	if j.attempts.add(address, who, hashed) {
		j.warn(fmt.Sprintf("%d wrong logins from %s within a minute: further ones have to wait", maxWrong, address.Masked().Addr()))
	}
	if wait > 0 {
		return postponed, wait
	}
	return refused, 0
}

var (
	_ caddy.Provisioner           = (*Login)(nil)
	_ caddyhttp.MiddlewareHandler = (*Login)(nil)
)
