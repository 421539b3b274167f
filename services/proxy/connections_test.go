package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// wire is a connection of this remote address that nothing goes over.
type wire struct {
	net.Conn
	remote net.Addr
	closed bool
}

func (w *wire) RemoteAddr() net.Addr { return w.remote }
func (w *wire) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443} }
func (w *wire) Close() error         { w.closed = true; return nil }

// hall is a registry whose clock the test moves.
type hall struct {
	*registry
	test  *testing.T
	clock time.Time
	ports int
}

func newHall(t *testing.T, limit int) *hall {
	h := &hall{registry: &registry{limit: limit, open: map[endpoints]*connection{}}, test: t, clock: time.Now()}
	h.now = func() time.Time { return h.clock }
	return h
}

// enter opens a connection from an address, some time after the one before, and returns it, nil if it has no place.
func (h *hall) enter(address string) *wire {
	h.clock = h.clock.Add(grace / 2)
	h.ports++
	made := &wire{remote: &net.TCPAddr{IP: net.ParseIP(address), Port: h.ports}}
	if h.place(made) == nil {
		return nil
	}
	return made
}

// request begins a request on a connection, of a user or a stranger, and returns its end.
func (h *hall) request(on *wire, user bool) func() {
	h.clock = h.clock.Add(grace / 2)
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.RemoteAddr = on.remote.String()
	open := h.begin(request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, on.LocalAddr())))
	open.judged(user, true)
	return open.end
}

// expectClosed fails the test unless exactly these are.
func expectClosed(t *testing.T, all map[string]*wire, closed ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, name := range closed {
		want[name] = true
	}
	for name, one := range all {
		if one.closed != want[name] {
			t.Errorf("%s closed: %t", name, one.closed)
		}
	}
}

func TestFloodFromOneAddressTakesItsOwnPlaces(t *testing.T) {
	h := newHall(t, 8)
	all := map[string]*wire{"user": h.enter("192.0.2.1"), "other": h.enter("192.0.2.2")}
	done := h.request(all["user"], true)
	for number := range 20 {
		all[fmt.Sprint(number)] = h.enter("192.0.2.9")
	}
	gone := []string{}
	for number := range 17 {
		gone = append(gone, fmt.Sprint(number))
	}
	expectClosed(t, all, gone...)
	done()
	// Strangers have no more than half, and others' idle connections stay.
	if len(h.open) != 5 {
		t.Errorf("%d are open", len(h.open))
	}
	expectClosed(t, all, gone...)
}

func TestNewcomersHaveTimeToLogIn(t *testing.T) {
	h := newHall(t, 4)
	all := map[string]*wire{"first": h.enter("192.0.2.9"), "second": h.enter("192.0.2.9")}
	if h.enter("192.0.2.9") == nil {
		t.Error("the first had its time")
	}
	h.clock = h.clock.Add(-grace / 2)
	if h.enter("192.0.2.9") != nil {
		t.Error("the second had no time")
	}
	expectClosed(t, all, "first")
	// Another address need not wait.
	if h.enter("192.0.2.1") == nil {
		t.Error("one that has no place yet is refused")
	}
	expectClosed(t, all, "first", "second")
}

func TestUserWithARequestUnderWayIsNeverClosed(t *testing.T) {
	h := newHall(t, 4)
	all := map[string]*wire{}
	for number := range 4 {
		name := fmt.Sprint(number)
		all[name] = h.enter("192.0.2.1")
		h.request(all[name], true)
	}
	if h.enter("192.0.2.2") != nil {
		t.Error("there was a place")
	}
	expectClosed(t, all)
}

func TestStrangerWhoseLoginIsLookedAtIsNotClosed(t *testing.T) {
	h := newHall(t, 4)
	all := map[string]*wire{"first": h.enter("192.0.2.9"), "second": h.enter("192.0.2.9")}
	end := h.request(all["first"], false)
	all["third"] = h.enter("192.0.2.9")
	expectClosed(t, all, "second")
	end()
	all["fourth"] = h.enter("192.0.2.9")
	expectClosed(t, all, "first", "second")
}

func TestUserThatIsIdleForLongestMakesRoom(t *testing.T) {
	h := newHall(t, 4)
	all := map[string]*wire{}
	for _, name := range []string{"busy", "long idle", "short idle", "again busy"} {
		all[name] = h.enter("192.0.2.1")
		done := h.request(all[name], true)
		if name != "busy" {
			done()
		}
	}
	h.request(all["again busy"], true)
	if h.enter("192.0.2.2") != nil {
		t.Error("none has been idle for long")
	}
	h.clock = h.clock.Add(rest)
	if h.enter("192.0.2.2") == nil {
		t.Error("there was no place")
	}
	expectClosed(t, all, "long idle")
}

func TestConnectionWhoseLoginIsNoLongerRightIsAStrangers(t *testing.T) {
	h := newHall(t, 2)
	all := map[string]*wire{"removed": h.enter("192.0.2.1")}
	h.request(all["removed"], true)()
	h.request(all["removed"], false)()
	h.clock = h.clock.Add(grace)
	all["next"] = h.enter("192.0.2.2")
	expectClosed(t, all, "removed")
}

func TestClosedConnectionGivesItsPlaceFree(t *testing.T) {
	h := newHall(t, 2)
	for range 5 {
		h.clock = h.clock.Add(grace)
		made := &wire{remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
		placed := h.place(made)
		if placed == nil {
			t.Fatal("there was no place")
		}
		if err := placed.Close(); err != nil || !made.closed || len(h.open) != 0 {
			t.Errorf("%v; closed: %t; %d are open", err, made.closed, len(h.open))
		}
		// As servers do.
		_ = placed.Close()
	}
}

func TestHealthCheckNeedsNoPlace(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	h := newHall(t, 0)
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := (&listener{inner, h.registry}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
}
