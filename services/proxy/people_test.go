package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var aToken = "mlr_" + strings.Repeat("a", 43)

func newTestPeople(t *testing.T) *people {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proof")
	if err := os.WriteFile(path, []byte("the proof\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := newPeople(path)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestProofThatIsMissingOrEmptyEndsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proof")
	if _, err := newPeople(path); err == nil {
		t.Error("there is none")
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newPeople(path); err == nil {
		t.Error("it is empty")
	}
}

func TestClientSaysNothingInTheProxysPlace(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, name := range []string{"X-Replica-User", "x-replica-proof", "X-REPLICA-CONSOLE", "X-Replica-Other"} {
		r.Header.Add(name, "mallory")
		r.Header.Add(name, "mallory")
	}
	r.Header.Set("X-Other", "kept")
	dropOwnHeaders(r.Header)
	if len(r.Header) != 1 || r.Header.Get("X-Other") != "kept" {
		t.Errorf("left: %v", r.Header)
	}
}

func TestNameGoesOnWithItsProofAndNoPassword(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("alice", "a password")
	newTestPeople(t).name(r, "alice")
	if r.Header.Get(userHeader) != "alice" || r.Header.Get(proofHeader) != "the proof" || r.Header.Get("Authorization") != "" {
		t.Errorf("passed on: %v", r.Header)
	}
	// AUTH=off: neither a name nor a password goes on.
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("alice", "a password")
	var none *people
	none.name(r, "alice")
	if len(r.Header) != 0 {
		t.Errorf("passed on: %v", r.Header)
	}
}

func TestTokenGoesOnWithTheProofAndNoName(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+aToken)
	place := &connection{registry: &registry{now: connections.now}}
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if r.Header.Get(proofHeader) != "the proof" || r.Header.Get(userHeader) != "" || r.Header.Get("Authorization") != "Bearer "+aToken {
			t.Errorf("passed on: %v", r.Header)
		}
		return nil
	})
	counted := &attempts{now: time.Now, counts: map[origin]*count{}}
	if err := newTestPeople(t).pass(httptest.NewRecorder(), r, next, aToken, place, counted); err != nil {
		t.Fatal(err)
	}
}

func TestTokenIsTheBearersOrAPassword(t *testing.T) {
	p := newTestPeople(t)
	for header, want := range map[string]string{
		"Bearer " + aToken:        aToken,
		"Bearer " + aToken + "b":  "",
		"Bearer mlr_":             "",
		"Bearer a password":       "",
		"":                        "",
		"Basic not in base64 at ": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", header)
		if got := p.token(r); got != want {
			t.Errorf("%q: %q", header, got)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("alice", aToken)
	if p.token(r) != aToken {
		t.Error("a token as a password is not seen")
	}
	var none *people
	if none.token(r) != "" {
		t.Error("with AUTH=off a token would get past the login")
	}
}

func TestTokensConnectionIsAUsersOnceItIsAccepted(t *testing.T) {
	p, place := newTestPeople(t), &connection{registry: &registry{now: connections.now}}
	answer, path := http.StatusUnauthorized, "/"
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(answer)
		return nil
	})
	ask := func() bool {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if err := p.pass(httptest.NewRecorder(), r, next, aToken, place, &attempts{now: time.Now, counts: map[origin]*count{}}); err != nil {
			t.Fatal(err)
		}
		return place.user
	}
	if ask() || ask() {
		t.Error("a token that is refused makes a user")
	}
	// Not looked at: a route that is open, a request that is refused before, a server that cannot tell.
	for _, path = range []string{"/health", "/version"} {
		if answer = http.StatusOK; ask() || ask() {
			t.Errorf("any token makes a user at %s", path)
		}
	}
	path = "/"
	for _, answer = range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
		if ask() || ask() {
			t.Errorf("a token that is answered with %d makes a user", answer)
		}
	}
	answer = http.StatusOK
	if ask() || !ask() {
		t.Error("a token that is accepted makes no user of the next request")
	}
	answer = http.StatusForbidden
	if !ask() || !ask() {
		t.Error("a role that does not suffice makes a stranger")
	}
	answer = http.StatusUnauthorized
	if !ask() || ask() {
		t.Error("a token that was withdrawn makes a user")
	}
}

func TestWrongTokensOfAnAddressHaveToWait(t *testing.T) {
	clock := time.Now()
	p, counted := newTestPeople(t), &attempts{now: func() time.Time { return clock }, counts: map[origin]*count{}}
	asked := 0
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		asked++
		if r.Header.Get("X-Right") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
	// ask says whether the server was asked, and what a client is told to wait.
	ask := func(token, right, from string) (bool, string) {
		before, answer := asked, httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Right", right)
		r.RemoteAddr = from
		place := &connection{registry: &registry{now: connections.now}}
		if err := p.pass(answer, r, next, token, place, counted); (err != nil) != (asked == before) {
			t.Fatalf("refused without a reason, or for one and asked: %v", err)
		}
		return asked > before, answer.Header().Get("Retry-After")
	}
	one, other := "192.0.2.1:1000", "192.0.2.2:1000"
	ask("used before", "yes", one)
	// A program with a token that was withdrawn tries it for ever, and counts once.
	for range 3 * maxWrong {
		ask("withdrawn", "", one)
	}
	for number := range maxWrong - 1 {
		if was, _ := ask(fmt.Sprint(number), "", one); !was {
			t.Fatalf("wrong token %d has to wait", number)
		}
	}
	if was, wait := ask("new", "yes", one); was || wait != "60" {
		t.Errorf("after %d wrong tokens the next one goes on, or waits %q s", maxWrong, wait)
	}
	if was, _ := ask("used before", "yes", one); !was {
		t.Error("a token that was accepted before has to wait")
	}
	if was, _ := ask("new", "yes", other); !was {
		t.Error("another address has to wait")
	}
	clock = clock.Add(period)
	if was, _ := ask("newer", "yes", one); !was {
		t.Error("it waits for more than a period")
	}
}

// Behind one address, a program with an old password and one with a token that the proxy has not seen yet.
func TestWrongPasswordsKeepNoTokenOut(t *testing.T) {
	counted := &attempts{now: time.Now, counts: map[origin]*count{}}
	for range 2 * maxWrong {
		counted.add(here, digest{1}, false)
	}
	if wait := counted.refusalOfToken(here); wait > 0 {
		t.Errorf("a token has to wait for %s", wait)
	}
	for range maxWrong {
		counted.addToken(there)
	}
	if wait := counted.refusal(there, digest{2}, true); wait > 0 {
		t.Errorf("a password has to wait for %s", wait)
	}
	if counted.refusalOfToken(there) == 0 {
		t.Error("wrong tokens do not count")
	}
}
