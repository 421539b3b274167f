package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The roles, from the least to the most; the server has the same (people/roles.py).
var roles = []string{"viewer", "member", "release", "admin"}

// What oauth2-proxy answers to everyone, so that they can log in and out.
var openForLogin = map[string]bool{"/oauth2/start": true, "/oauth2/callback": true, "/oauth2/sign_in": true, "/oauth2/sign_out": true}

// The cookies of oauth2-proxy, a large one in pieces, begin with this. They go no further.
const cookiePrefix = "__Host-mlflow"

// sso asks oauth2-proxy who a browser's session belongs to. Nothing that a client says of itself reaches the answer but its cookies.
type sso struct {
	url    string
	roles  map[string]int // of a group, as an index of roles
	client *http.Client
}

// newSSO takes oauth2-proxy's address, and groups with their roles: ml-admins=admin,ml-team=member.
func newSSO(address, mapping string) (*sso, error) {
	client := &http.Client{
		Timeout: 15 * time.Second,
		// What somebody else answers says nothing, and would learn the cookies.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	made := &sso{url: address, roles: map[string]int{}, client: client}
	for _, pair := range strings.Split(mapping, ",") {
		group, word, found := strings.Cut(strings.TrimSpace(pair), "=")
		role := rank(word)
		if !found || group == "" || role < 0 {
			return nil, fmt.Errorf("SSO_ROLES: %q is no group with its role (ml-team=member is one; roles are %s)", pair, strings.Join(roles, ", "))
		}
		made.roles[group] = role
	}
	return made, nil
}

func rank(word string) int {
	for index, role := range roles {
		if role == word {
			return index
		}
	}
	return -1
}

// roleOf returns the most that one of the groups gives; empty when none does.
func (s *sso) roleOf(groups string) string {
	best := -1
	for _, group := range strings.Split(groups, ",") {
		if role, known := s.roles[strings.TrimSpace(group)]; known && role > best {
			best = role
		}
	}
	if best < 0 {
		return ""
	}
	return roles[best]
}

// serve passes the request of somebody who is logged in on. A browser that shows a page is sent to the provider otherwise.
func (s *sso) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, people *people, connection *connection) error {
	answer, err := s.ask(r)
	if err != nil {
		connection.judged(false, false)
		return caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("single sign-on does not answer: %w", err))
	}
	// It renews the session.
	for _, cookie := range answer.Header.Values("Set-Cookie") {
		w.Header().Add("Set-Cookie", cookie)
	}
	name := answer.Header.Get("X-Auth-Request-Email")
	if answer.StatusCode != http.StatusAccepted || name == "" {
		connection.judged(false, false)
		return s.logIn(w, r, answer.StatusCode)
	}
	role := s.roleOf(answer.Header.Get("X-Auth-Request-Groups"))
	connection.judged(role != "", false)
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", name)
	if role == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		_, err := fmt.Fprintf(w, "%q is in no group that has a role here (SSO_ROLES)\n", name)
		return err
	}
	people.name(r, name)
	r.Header.Set(roleHeader, role)
	dropSession(r)
	return next.ServeHTTP(w, r)
}

// ask returns oauth2-proxy's answer, without its body.
func (s *sso) ask(r *http.Request) (*http.Response, error) {
	question, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.url+"/oauth2/auth", nil)
	if err != nil {
		return nil, err
	}
	question.Host = r.Host
	question.Header["Cookie"] = r.Header["Cookie"]
	question.Header.Set("X-Forwarded-Host", r.Host)
	question.Header.Set("X-Forwarded-Proto", "https")
	answer, err := s.client.Do(question)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		return nil, fmt.Errorf("it answers with %d", answer.StatusCode)
	}
	return answer, nil
}

// logIn sends a browser to the provider, and refuses programs and what a page asks for in the background.
func (s *sso) logIn(w http.ResponseWriter, r *http.Request, status int) error {
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, "/oauth2/start?rd="+url.QueryEscape(r.URL.RequestURI()), http.StatusFound)
		return nil
	}
	return caddyhttp.Error(http.StatusUnauthorized, fmt.Errorf("not logged in: %d", status))
}

// dropSession takes the session's cookies out of what goes on.
func dropSession(r *http.Request) {
	kept := r.Cookies()
	r.Header.Del("Cookie")
	for _, cookie := range kept {
		if !strings.HasPrefix(cookie.Name, cookiePrefix) {
			r.AddCookie(cookie)
		}
	}
}
