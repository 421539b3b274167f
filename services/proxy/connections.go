package main

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(Bounded{})
}

// A newcomer has this long for a handshake and a first request before another one from the same address may take the place.
const grace = 250 * time.Millisecond

// A user's connection on which nothing was asked for this long may be closed to make room.
const rest = 2 * time.Second

// Bounded is a listener wrapper that bounds the open connections, so that they fit into the memory, whoever opens them.
//
// A connection is a user's while the last request on it was let in by Login, and a stranger's otherwise. Strangers have at most
// half of the places. What is closed when there is none left, choose says.
type Bounded struct {
	// Limit is how many connections may be open, on all listeners together.
	Limit int `json:"limit"`
}

// CaddyModule names the module.
func (Bounded) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.bounded", New: func() caddy.Module { return new(Bounded) }}
}

// UnmarshalCaddyfile reads `bounded LIMIT`.
func (b *Bounded) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	var limit string
	if !d.AllArgs(&limit) {
		return d.ArgErr()
	}
	var err error
	if b.Limit, err = strconv.Atoi(limit); err != nil || b.Limit < 2 {
		return d.Errf("bounded: %q is no number of connections (2 is the least)", limit)
	}
	return nil
}

// WrapListener makes a listener share the places with the others.
func (b *Bounded) WrapListener(inner net.Listener) net.Listener {
	connections.resize(b.Limit)
	return &listener{inner, connections}
}

// The places of this process, which its listeners share, and Login knows.
var connections = &registry{now: time.Now, open: map[endpoints]*connection{}}

type registry struct {
	now func() time.Time

	mutex sync.Mutex
	limit int
	open  map[endpoints]*connection
}

// endpoints names a connection, for those who know its request only.
type endpoints struct {
	remote, local string
}

type connection struct {
	net.Conn
	registry  *registry
	endpoints endpoints
	address   netip.Prefix
	since     time.Time // of a stranger: when it came; of a user: the end of the last request
	user      bool
	busy      bool
	guessed   bool // there was a login on it that was not let in
}

type listener struct {
	net.Listener
	registry *registry
}

// Accept returns the next connection that has a place; those that have none are closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		// The health check's own.
		if addressOf(conn.RemoteAddr().String()).Addr().IsLoopback() {
			return conn, nil
		}
		if placed := l.registry.place(conn); placed != nil {
			return placed, nil
		}
		abort(conn)
	}
}

// Close gives the place free.
func (c *connection) Close() error {
	c.registry.mutex.Lock()
	if c.registry.open[c.endpoints] == c {
		delete(c.registry.open, c.endpoints)
	}
	c.registry.mutex.Unlock()
	return c.Conn.Close()
}

// abort closes a connection at once, with what the system still holds for it.
func abort(conn net.Conn) {
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (r *registry) resize(limit int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.limit = limit
}

// place returns the connection with a place, for which another may have to go; nil if there is none.
func (r *registry) place(conn net.Conn) net.Conn {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	address := addressOf(conn.RemoteAddr().String())
	room, victim := r.choose(address)
	if !room && victim == nil {
		return nil
	}
	if victim != nil {
		delete(r.open, victim.endpoints)
		abort(victim.Conn)
	}
	placed := &connection{
		Conn:      conn,
		registry:  r,
		endpoints: endpoints{conn.RemoteAddr().String(), conn.LocalAddr().String()},
		address:   address,
		since:     r.now(),
	}
	r.open[placed.endpoints] = placed
	return placed
}

// choose says whether there is room for a stranger from this address, and if not, which connection makes room:
//
//   - a user's that is idle, the one that has been for longest, unless strangers have their share;
//   - the oldest stranger's from the address that has most of them. An address that has most makes room for itself only after
//     the grace, so that a flood leaves those whom it lets in the time to log in.
//
// A connection with a request under way is never closed: neither a user's, nor one whose login is being looked at.
func (r *registry) choose(address netip.Prefix) (room bool, victim *connection) {
	strangers := map[netip.Prefix]int{}
	count, most := 0, 0
	var idle *connection
	for _, open := range r.open {
		if !open.user {
			count++
			strangers[open.address]++
			most = max(most, strangers[open.address])
		} else if !open.busy && r.now().Sub(open.since) >= rest && (idle == nil || open.since.Before(idle.since)) {
			idle = open
		}
	}
	if count < r.limit/2 {
		if len(r.open) < r.limit {
			return true, nil
		}
		if idle != nil {
			return false, idle
		}
	}
	for _, open := range r.open {
		if !open.user && !open.busy && strangers[open.address] == most && (victim == nil || open.since.Before(victim.since)) {
			victim = open
		}
	}
	if victim != nil && strangers[address] == most && r.now().Sub(victim.since) < grace {
		victim = nil
	}
	return false, victim
}

// begin notes that a request is under way on its connection, which it returns: nil for the health check's.
func (r *registry) begin(request *http.Request) *connection {
	local, _ := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return nil
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	open := r.open[endpoints{request.RemoteAddr, local.String()}]
	if open != nil {
		open.busy = true
	}
	return open
}

// judged notes whether the request under way is a user's, and whether it brought a login.
func (c *connection) judged(user, login bool) {
	if c == nil {
		return
	}
	c.registry.mutex.Lock()
	defer c.registry.mutex.Unlock()
	if user != c.user {
		c.user, c.since = user, c.registry.now()
	}
	c.guessed = c.guessed || login && !user
}

// hasGuessed says whether there was a login on the connection that was not let in.
func (c *connection) hasGuessed() bool {
	if c == nil {
		return false
	}
	c.registry.mutex.Lock()
	defer c.registry.mutex.Unlock()
	return c.guessed
}

// setBusy notes whether the request under way keeps the connection from being closed.
func (c *connection) setBusy(busy bool) {
	if c == nil {
		return
	}
	c.registry.mutex.Lock()
	defer c.registry.mutex.Unlock()
	c.busy = busy
}

// end notes that the request is answered.
func (c *connection) end() {
	if c == nil {
		return
	}
	c.registry.mutex.Lock()
	defer c.registry.mutex.Unlock()
	c.busy = false
	if c.user {
		c.since = c.registry.now()
	}
}

var (
	_ caddy.ListenerWrapper = (*Bounded)(nil)
	_ caddyfile.Unmarshaler = (*Bounded)(nil)
)
