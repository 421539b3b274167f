package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/crypto/bcrypt"
)

var (
	here  = addressOf("192.0.2.1:1000")
	there = addressOf("192.0.2.2:1000")
)

// desk is a judge whose clock stands still, with a file of users and a record of what is compared.
type desk struct {
	*judge
	test     *testing.T
	clock    time.Time
	from     *connection
	compared []string // the hashes
	warnings []string
}

// newDesk knows alice and bob, whose passwords are "alice's" and "bob's".
func newDesk(t *testing.T) *desk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	d := &desk{test: t, clock: time.Now()}
	made, err := newJudge(path, func(message string) { d.warnings = append(d.warnings, message) })
	if err != nil {
		t.Fatal(err)
	}
	d.judge = made
	d.attempts.now = func() time.Time { return d.clock }
	// One on which somebody guessed: it does not wait in line.
	d.from = &connection{registry: &registry{}, guessed: true}
	d.sleep = func(_ context.Context, length time.Duration) error {
		d.clock = d.clock.Add(length)
		return nil
	}
	// What bcrypt does, at no cost: each hash here ends with its password.
	d.compare = func(hash, password []byte) error {
		d.compared = append(d.compared, string(hash))
		if strings.HasSuffix(string(hash), string(password)) {
			return nil
		}
		return errors.New("another password")
	}
	d.write("# names, and hashes", "alice "+hashOf("alice's"), "bob "+hashOf("bob's"))
	return d
}

// hashOf returns what looks like a bcrypt hash of this stack's cost.
func hashOf(password string) string {
	return "$2b$10$" + strings.Repeat("x", 53-len(password)) + password
}

// write puts another file in the place of the users'.
func (d *desk) write(lines ...string) {
	d.test.Helper()
	next := d.users.path + ".new"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		d.test.Fatal(err)
	}
	if err := os.Rename(next, d.users.path); err != nil {
		d.test.Fatal(err)
	}
}

// expect fails the test unless a login is answered so, after so many hashes.
func (d *desk) expect(want verdict, hashes int, name, password string, address netip.Prefix) time.Duration {
	d.test.Helper()
	before := len(d.compared)
	got, wait := d.decide(context.Background(), name, password, address, d.from)
	if got != want || len(d.compared)-before != hashes {
		d.test.Fatalf("%s %q from %s: %d after %d hashes, not %d after %d", name, password, address, got, len(d.compared)-before, want, hashes)
	}
	if (wait > 0) != (got == postponed) {
		d.test.Fatalf("%s is answered %d and has to wait %s", name, got, wait)
	}
	return wait
}

// guess spends all wrong logins that are answered, each with another password.
func (d *desk) guess(name string, address netip.Prefix) {
	d.test.Helper()
	for number := range maxWrong {
		d.expect(refused, 1, name, fmt.Sprintf("guess %d", number), address)
	}
}

func TestUnknownNameCostsWhatAKnownOneDoes(t *testing.T) {
	d := newDesk(t)
	d.expect(refused, 1, "alice", "wrong", here)
	d.expect(refused, 1, "nobody", "wrong", here)
	for _, hash := range d.compared {
		if found, err := bcrypt.Cost([]byte(hash)); err != nil || found != cost {
			t.Errorf("%s: cost %d, %v", hash, found, err)
		}
	}
}

func TestHashesOfMkpasswdAreUnderstood(t *testing.T) {
	made, err := newJudge(filepath.Join(t.TempDir(), "users"), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	// mkpasswd --method=bcrypt --rounds=10 correct-horse-battery
	line := "alice $2b$10$N9qo8uLOickgx2ZMRZoMye.MXDoKH1kdFhEbHpRGuoZZkgqXzvqBe\n"
	hash, err := bcrypt.GenerateFromPassword([]byte("correct-horse-battery"), cost)
	if err != nil {
		t.Fatal(err)
	}
	line += "carol " + strings.Replace(string(hash), "$2a$", "$2b$", 1) + "\n"
	if err := os.WriteFile(made.users.path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := made.decide(context.Background(), "carol", "correct-horse-battery", here, nil); got != admitted {
		t.Error("the right password is refused")
	}
	if got, _ := made.decide(context.Background(), "alice", "correct-horse-battery", here, nil); got != refused {
		t.Error("a wrong password is admitted")
	}
}

func TestEleventhWrongLoginFromAnAddressWaitsAtNoCost(t *testing.T) {
	d := newDesk(t)
	for number := range maxWrong {
		d.expect(refused, 1, fmt.Sprintf("name%d", number), "wrong", here)
	}
	if wait := d.expect(postponed, 0, "another", "wrong", here); wait > period {
		t.Errorf("it waits %s", wait)
	}
	if len(d.warnings) != 1 || !strings.Contains(d.warnings[0], "192.0.2.1") {
		t.Errorf("warnings: %q", d.warnings)
	}
	d.expect(refused, 1, "another", "wrong", there)
	d.clock = d.clock.Add(period)
	d.expect(refused, 1, "another", "still wrong", here)
}

func TestEleventhWrongLoginForANameWaits(t *testing.T) {
	d := newDesk(t)
	d.guess("alice", here)
	d.expect(postponed, 0, "alice", "wrong", here)
	// An address that did nothing wrong is heard once, because alice may be there.
	d.expect(postponed, 1, "alice", "wrong", there)
	d.expect(postponed, 0, "alice", "wrong again", there)
	d.expect(postponed, 0, "alice", "alice's", there)
	d.expect(refused, 1, "bob", "wrong", there)
}

func TestOthersAttemptsKeepNobodyOut(t *testing.T) {
	d := newDesk(t)
	d.expect(admitted, 1, "bob", "bob's", here)
	d.guess("alice", here)
	// Never seen before, from another address.
	d.expect(admitted, 1, "alice", "alice's", there)
	// Seen before, from the very address that the attempts come from.
	d.expect(admitted, 0, "bob", "bob's", here)
	d.expect(admitted, 0, "alice", "alice's", here)
}

func TestWhoComesFromAGuessingAddressWaitsInLine(t *testing.T) {
	d := newDesk(t)
	d.guess("alice", here)
	guessing, fresh := d.from, &connection{registry: &registry{}}
	before := d.clock
	// The guesser does not hold him up: he does not stand in line.
	d.expect(postponed, 0, "bob", "wrong", here)
	d.from = fresh
	d.expect(admitted, 1, "bob", "bob's", here)
	if d.clock.Sub(before) != pace {
		t.Errorf("it took %s", d.clock.Sub(before))
	}
	// A name that this address guessed at has to wait itself.
	d.expect(postponed, 0, "alice", "alice's", here)
	// A guess on a fresh connection costs its turn, and gets no other answer.
	d.expect(postponed, 1, "bob", "wrong", here)
	d.from = guessing
	d.expect(postponed, 0, "nobody", "wrong", here)
}

func TestLineIsShort(t *testing.T) {
	d := newDesk(t)
	d.guess("alice", here)
	d.from = &connection{registry: &registry{}}
	turns := []time.Duration{}
	gone := errors.New("gone")
	d.sleep = func(_ context.Context, length time.Duration) error {
		turns = append(turns, length)
		if len(turns) <= maxLine {
			d.expect(postponed, 0, fmt.Sprint(len(turns)), "wrong", here)
		}
		return gone
	}
	d.expect(postponed, 0, "bob", "bob's", here)
	if len(turns) != maxLine || turns[0] != pace || turns[maxLine-1] != maxLine*pace {
		t.Errorf("turns: %v", turns)
	}
	if left := d.attempts.of(origin{address: here}).line; left != 0 {
		t.Errorf("%d are left in line", left)
	}
}

func TestWhoWaitsInLineMayBeClosed(t *testing.T) {
	d := newDesk(t)
	d.guess("alice", here)
	d.from = &connection{registry: &registry{}, busy: true}
	d.sleep = func(context.Context, time.Duration) error {
		if d.from.busy {
			t.Error("it keeps its place")
		}
		return nil
	}
	d.expect(admitted, 1, "bob", "bob's", here)
	if !d.from.busy {
		t.Error("it lost its place in its turn")
	}
}

func TestSleepEndsWithTheRequest(t *testing.T) {
	gone, leave := context.WithCancel(context.Background())
	leave()
	if err := sleep(gone, time.Hour); err == nil {
		t.Error("it slept")
	}
	if err := sleep(context.Background(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}

func TestSameWrongLoginAgainCostsNothing(t *testing.T) {
	d := newDesk(t)
	d.expect(refused, 1, "alice", "the old one", here)
	for range maxWrong - 1 {
		d.expect(refused, 0, "alice", "the old one", here)
	}
	d.expect(postponed, 0, "alice", "the old one", here)
	// A program with an old password does not keep those out who come from the same address, nor alice.
	d.expect(admitted, 1, "bob", "bob's", here)
	d.expect(admitted, 1, "alice", "alice's", here)
	d.clock = d.clock.Add(period)
	d.expect(refused, 0, "alice", "the old one", here)
}

func TestPasswordThatNobodyCanHaveCostsNothing(t *testing.T) {
	d := newDesk(t)
	for range maxWrong {
		d.expect(refused, 0, "alice", strings.Repeat("x", 73), here)
	}
	d.expect(postponed, 0, "alice", strings.Repeat("x", 73), here)
}

func TestOneHashAtATime(t *testing.T) {
	d := newDesk(t)
	var running, most, hashes atomic.Int32
	d.compare = func([]byte, []byte) error {
		most.Store(max(most.Load(), running.Add(1)))
		time.Sleep(time.Millisecond)
		running.Add(-1)
		hashes.Add(1)
		return errors.New("another password")
	}
	var waiting sync.WaitGroup
	for number := range 50 {
		waiting.Go(func() {
			d.decide(context.Background(), "alice", fmt.Sprint(number), here, d.from)
		})
	}
	waiting.Wait()
	if most.Load() != 1 || hashes.Load() != maxWrong {
		t.Errorf("%d hashes, %d at once", hashes.Load(), most.Load())
	}
}

func TestManyConnectionsOfOneUserNeedOneHash(t *testing.T) {
	d := newDesk(t)
	var waiting sync.WaitGroup
	var let atomic.Int32
	for range 50 {
		waiting.Go(func() {
			if got, _ := d.decide(context.Background(), "alice", "alice's", here, d.from); got == admitted {
				let.Add(1)
			}
		})
	}
	waiting.Wait()
	if let.Load() != 50 || len(d.compared) != 1 {
		t.Errorf("%d let in after %d hashes", let.Load(), len(d.compared))
	}
}

func TestWhoLeavesWhileWaitingIsForgotten(t *testing.T) {
	d := newDesk(t)
	d.hashing <- struct{}{}
	gone, leave := context.WithCancel(context.Background())
	leave()
	if got, _ := d.decide(gone, "alice", "alice's", here, d.from); got != refused || len(d.compared) != 0 {
		t.Errorf("%d after %d hashes", got, len(d.compared))
	}
}

func TestChangedFileTakesEffectAtOnce(t *testing.T) {
	d := newDesk(t)
	d.expect(refused, 1, "carol", "carol's", here)
	d.expect(admitted, 1, "alice", "alice's", here)
	d.expect(admitted, 1, "bob", "bob's", here)
	d.write("alice "+hashOf("another"), "bob "+hashOf("bob's"), "carol "+hashOf("carol's"))
	d.expect(refused, 1, "alice", "alice's", here)
	d.expect(admitted, 1, "alice", "another", here)
	// What was wrong may be right now; whose hash is the same stays logged in.
	d.expect(admitted, 1, "carol", "carol's", here)
	d.expect(admitted, 0, "bob", "bob's", here)
	d.write("alice " + hashOf("another"))
	d.expect(refused, 1, "bob", "bob's", here)
}

func TestWithoutAFileNobodyIsLetIn(t *testing.T) {
	d := newDesk(t)
	d.expect(admitted, 1, "alice", "alice's", here)
	if err := os.Remove(d.users.path); err != nil {
		t.Fatal(err)
	}
	d.expect(refused, 1, "alice", "alice's", here)
	d.expect(refused, 1, "alice", "alice's", here)
	if len(d.warnings) != 1 || !strings.Contains(d.warnings[0], "nobody can log in") {
		t.Errorf("warnings: %q", d.warnings)
	}
}

func TestLineOfAnotherCostOrShapeIsLeftOut(t *testing.T) {
	d := newDesk(t)
	costly := strings.Replace(hashOf("dave's"), "$10$", "$12$", 1)
	d.write("alice "+hashOf("alice's"), "", "dave "+costly, "erin secret", "frank")
	d.expect(admitted, 1, "alice", "alice's", here)
	d.expect(refused, 1, "dave", "dave's", here)
	if len(d.warnings) != 3 || !strings.Contains(d.warnings[0], "line 3: a hash of cost 12, not 10") {
		t.Errorf("warnings: %q", d.warnings)
	}
	for _, warning := range d.warnings {
		if strings.Contains(warning, "secret") {
			t.Errorf("it tells what is in the file: %s", warning)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	d := newDesk(t)
	for number := range 2 * maxCounts {
		address := addressOf(fmt.Sprintf("10.%d.%d.%d:1", number>>16, number>>8&255, number&255))
		d.decide(context.Background(), fmt.Sprintf("name%d", number), "wrong", address, d.from)
	}
	if len(d.attempts.counts) > maxCounts || len(d.users.refuted) > maxRefuted {
		t.Errorf("%d counts, %d wrong logins", len(d.attempts.counts), len(d.users.refuted))
	}
}

func TestAddressIsAHostOrAnIPv6Network(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.1:443":               "192.0.2.1/32",
		"[::ffff:192.0.2.1]:443":      "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:443":  "2001:db8:1:2::/64",
		"[fe80::1%eth0]:443":          "fe80::/64",
		"what no TCP connection says": "invalid Prefix",
	} {
		if got := addressOf(peer).String(); got != want {
			t.Errorf("%s: %s", peer, got)
		}
	}
}

// ask sends one request through the handler, and returns the status of its error (200 if there is none) and the headers.
func ask(t *testing.T, login *Login, authorization string) (int, http.Header) {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("Authorization", authorization)
	request = request.WithContext(context.WithValue(request.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	answer := httptest.NewRecorder()
	passed := false
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	})
	err := login.ServeHTTP(answer, request, next)
	if passed != (err == nil) {
		t.Fatalf("passed on: %t, with the error %v", passed, err)
	}
	if handled, is := errors.AsType[caddyhttp.HandlerError](err); is {
		return handled.StatusCode, answer.Header()
	}
	return http.StatusOK, answer.Header()
}

func TestAnswersOfTheHandler(t *testing.T) {
	login := &Login{judge: newDesk(t).judge}
	basic := func(name, password string) string {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.SetBasicAuth(name, password)
		return request.Header.Get("Authorization")
	}
	if status, _ := ask(t, login, basic("alice", "alice's")); status != http.StatusOK {
		t.Errorf("a user: %d", status)
	}
	for _, wrong := range []string{"", "Bearer token", "Basic !", basic("alice", "wrong"), basic("", "")} {
		if status, headers := ask(t, login, wrong); status != http.StatusUnauthorized || headers.Get("WWW-Authenticate") != `Basic realm="MLflow"` {
			t.Errorf("%q: %d %v", wrong, status, headers)
		}
	}
	for number := range maxWrong - 2 {
		ask(t, login, basic("alice", fmt.Sprint(number)))
	}
	status, headers := ask(t, login, basic("alice", "wrong"))
	if status != http.StatusTooManyRequests || !slices.Equal(headers["Retry-After"], []string{"60"}) {
		t.Errorf("one too many: %d %v", status, headers)
	}
	if status, _ := ask(t, login, ""); status != http.StatusUnauthorized {
		t.Errorf("without a login: %d", status)
	}
}
