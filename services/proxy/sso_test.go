package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// theSSO stands in oauth2-proxy's place: what it answers, and what it was asked.
type theSSO struct {
	*sso
	status     int
	mail       string
	groups     string
	location   string
	asked      http.Header
	askedFor   string
	passed     *http.Request
	connection *connection
}

func newTestSSO(t *testing.T) *theSSO {
	t.Helper()
	stand := &theSSO{status: http.StatusAccepted, mail: "alice@example.org", groups: "others,ml-team"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stand.asked, stand.askedFor = r.Header.Clone(), r.URL.Path
		w.Header().Set("X-Auth-Request-Email", stand.mail)
		w.Header().Set("X-Auth-Request-Groups", stand.groups)
		w.Header().Add("Set-Cookie", "__Host-mlflow=renewed")
		if stand.location != "" {
			w.Header().Set("Location", stand.location)
		}
		w.WriteHeader(stand.status)
	}))
	t.Cleanup(server.Close)
	made, err := newSSO(server.URL, "ml-admins=admin, ml-team=member,all=viewer")
	if err != nil {
		t.Fatal(err)
	}
	stand.sso, stand.connection = made, &connection{registry: &registry{now: connections.now}}
	return stand
}

// get asks as a browser does, with these headers.
func (s *theSSO) get(t *testing.T, headers ...string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://mlflow.example.org/a?b=c", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	for at := 0; at < len(headers); at += 2 {
		r.Header.Add(headers[at], headers[at+1])
	}
	dropOwnHeaders(r.Header)
	answer := httptest.NewRecorder()
	s.passed = nil
	err := s.serve(answer, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, passed *http.Request) error {
		s.passed = passed
		return nil
	}), newTestPeople(t), s.connection)
	return answer, err
}

func TestSessionGoesOnWithNameRoleAndProof(t *testing.T) {
	s := newTestSSO(t)
	answer, err := s.get(t, "Cookie", "__Host-mlflow_0=a; theme=dark; __Host-mlflow_1=b", "X-Replica-Role", "admin",
		"X-Auth-Request-Email", "mallory@example.org", "X-Auth-Request-Groups", "ml-admins")
	if err != nil || s.passed == nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		userHeader: "alice@example.org", roleHeader: "member", proofHeader: "the proof", "Cookie": "theme=dark",
	} {
		if got := s.passed.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	// Nothing of the client's own reaches what says who it is, but its cookies.
	if s.askedFor != "/oauth2/auth" || s.asked.Get("X-Auth-Request-Email") != "" || s.asked.Get("X-Forwarded-Host") != "mlflow.example.org" {
		t.Errorf("asked for %s with %v", s.askedFor, s.asked)
	}
	if answer.Header().Get("Set-Cookie") == "" || !s.connection.user {
		t.Error("the session is not renewed, or the connection is a stranger's")
	}
}

// What it is sent to could name anybody, and would get the session's cookies.
func TestQuestionIsAskedOfOAuth2ProxyAlone(t *testing.T) {
	s := newTestSSO(t)
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("X-Auth-Request-Email", "mallory@example.org")
		w.Header().Set("X-Auth-Request-Groups", "ml-admins")
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		s.status, s.mail, s.location = status, "", elsewhere.URL
		_, err := s.get(t, "Cookie", "__Host-mlflow=a")
		if failed, is := err.(caddyhttp.HandlerError); !is || failed.StatusCode != http.StatusUnauthorized || s.passed != nil {
			t.Errorf("%d: %v, passed on: %t", status, err, s.passed != nil)
		}
	}
	if asked > 0 {
		t.Errorf("what it redirects to was asked %d times", asked)
	}
}

func TestMostOfTheGroupsCounts(t *testing.T) {
	s := newTestSSO(t)
	for groups, want := range map[string]string{
		"": "", "others": "", "ml-team": "member", "all,ml-admins,ml-team": "admin", "ML-ADMINS": "", "ml-admins2": "", "all": "viewer",
	} {
		if got := s.roleOf(groups); got != want {
			t.Errorf("%q: %q", groups, got)
		}
	}
	s.groups = "others"
	answer, err := s.get(t)
	if err != nil || s.passed != nil || answer.Code != http.StatusForbidden {
		t.Errorf("without a group: %d, %v", answer.Code, err)
	}
	if want := "\"alice@example.org\" is in no group that has a role here (SSO_ROLES)\n"; answer.Body.String() != want {
		t.Errorf("told: %q", answer.Body.String())
	}
}

func TestWhoIsNotLoggedInIsSentToTheProvider(t *testing.T) {
	s := newTestSSO(t)
	s.status, s.mail = http.StatusUnauthorized, ""
	answer, err := s.get(t, "Accept", "text/html,*/*")
	if err != nil || answer.Code != http.StatusFound || answer.Header().Get("Location") != "/oauth2/start?rd=%2Fa%3Fb%3Dc" {
		t.Errorf("a browser: %d, %q, %v", answer.Code, answer.Header().Get("Location"), err)
	}
	for _, accept := range []string{"*/*", "application/json", ""} {
		_, err = s.get(t, "Accept", accept)
		if failed, is := err.(caddyhttp.HandlerError); !is || failed.StatusCode != http.StatusUnauthorized {
			t.Errorf("a program with %q: %v", accept, err)
		}
	}
	// An answer that lets in and names nobody.
	s.status = http.StatusAccepted
	if _, err = s.get(t); err == nil || s.passed != nil {
		t.Error("nobody is let in")
	}
}

// A header that Connection names goes no further: a session without its role would have the one that the server remembers.
func TestClientTakesNoRoleAway(t *testing.T) {
	var behind http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { behind = r.Header.Clone() }))
	defer server.Close()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	next := &reverseproxy.Handler{Upstreams: reverseproxy.UpstreamPool{{Dial: server.Listener.Addr().String()}}}
	if err := next.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Cleanup() }()
	login := Login{people: newTestPeople(t), sso: newTestSSO(t).sso}
	r := httptest.NewRequest(http.MethodGet, "https://mlflow.example.org/a", nil)
	r.Header.Set("Connection", "keep-alive, X-Replica-Role")
	answer := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), answer, &caddyhttp.Server{})
	err = login.ServeHTTP(answer, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return next.ServeHTTP(w, r, nil)
	}))
	if err != nil || behind.Get(userHeader) != "alice@example.org" || behind.Get(roleHeader) != "member" {
		t.Errorf("behind: %v, %v", behind, err)
	}
}

// oauth2-proxy judges no token, and its answer says nothing of one.
func TestLoginsPathsAcceptNoToken(t *testing.T) {
	login := Login{people: newTestPeople(t), sso: newTestSSO(t).sso, judge: newDesk(t).judge}
	for path := range openForLogin {
		r := httptest.NewRequest(http.MethodGet, "https://mlflow.example.org"+path, nil)
		r.Header.Set("Authorization", "Bearer "+aToken)
		var passed string
		err := login.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			passed = r.Header.Get("Authorization")
			w.WriteHeader(http.StatusFound)
			return nil
		}))
		if err != nil || passed != "" || len(login.people.accepted) > 0 {
			t.Errorf("%s: %q, %v, %v", path, passed, login.people.accepted, err)
		}
	}
}

// Also beside a token or a password, the cookie goes no further.
func TestSessionBesideALoginStaysHere(t *testing.T) {
	desk := newDesk(t)
	login := Login{people: newTestPeople(t), sso: newTestSSO(t).sso, judge: desk.judge}
	for _, password := range []string{aToken, "alice's"} {
		r := httptest.NewRequest(http.MethodGet, "https://mlflow.example.org/a", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		r.SetBasicAuth("alice", password)
		r.Header.Set("Cookie", "__Host-mlflow=a; theme=dark")
		passed := ""
		err := login.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			passed = r.Header.Get("Cookie")
			return nil
		}))
		if err != nil || passed != "theme=dark" {
			t.Errorf("%s: %q, %v", password, passed, err)
		}
	}
}

func TestWithoutAnAnswerNobodyIsLetIn(t *testing.T) {
	s := newTestSSO(t)
	for _, away := range []bool{false, true} {
		s.status = http.StatusInternalServerError
		if away {
			s.url = "http://127.0.0.1:1"
		}
		_, err := s.get(t, "Accept", "text/html")
		if failed, is := err.(caddyhttp.HandlerError); !is || failed.StatusCode != http.StatusBadGateway || s.passed != nil {
			t.Errorf("let in, or told something else: %v", err)
		}
	}
}

func TestWrongRolesEndTheStart(t *testing.T) {
	for _, mapping := range []string{"", "ml-team", "ml-team=wizard", "=admin", "a=viewer,"} {
		if _, err := newSSO("http://sso", mapping); err == nil {
			t.Errorf("%q is taken", mapping)
		}
	}
}
