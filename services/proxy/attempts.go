package main

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// So many wrong logins from an address, or for a name, are answered in one period.
	maxWrong = 10
	period   = time.Minute
	// An address that has spent its hashes gets one more each pace, for whoever is next of at most so many who wait in line.
	pace    = 3 * time.Second
	maxLine = 10
	// The addresses, names and pairs of both that are remembered, some 100 bytes each. Beyond, any of them is forgotten.
	maxCounts = 4096
)

// attempts counts wrong logins: by address, by name, and by both together.
type attempts struct {
	now func() time.Time

	mutex  sync.Mutex
	counts map[origin]*count
}

// origin is where attempts come from, and for whom; either is empty where it does not matter. Tokens count by themselves: a program
// with an old password keeps no token out.
type origin struct {
	address netip.Prefix
	name    digest
	token   bool
}

// count is what came from an origin in the period that began with the first of it.
type count struct {
	since  time.Time
	wrong  int // all wrong logins
	hashed int // those that a hash was computed for: the others were known to be wrong
	line   int // those of this address who wait
	turn   time.Time
}

// refusal returns how long an attempt has to wait, or zero if it may go on.
//
// One that needs a hash waits when its address has spent its hashes. When its name has, it waits only if this address took part
// in that: others' attempts on a name do not keep its user out. One that is known to be wrong needs no hash; it waits when its
// address or its name had as many wrong logins as are answered.
func (a *attempts) refusal(address netip.Prefix, name digest, known bool) time.Duration {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	ofAddress, ofName := a.of(origin{address: address}), a.of(origin{name: name})
	switch {
	case ofAddress.hashed >= maxWrong, known && ofAddress.wrong >= maxWrong:
		return a.left(ofAddress)
	case a.nameIsSpent(address, name), known && ofName.wrong >= maxWrong:
		return a.left(ofName)
	}
	return 0
}

// add counts a wrong login, and whether a hash was computed for it. It says whether the address has just reached its bound.
func (a *attempts) add(address netip.Prefix, name digest, hashed bool) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, from := range []origin{{address: address}, {name: name}, {address: address, name: name}} {
		found := a.count(from)
		if hashed {
			found.hashed++
		}
	}
	return a.of(origin{address: address}).wrong == maxWrong
}

// refusalOfToken returns how long a token that was not accepted before has to wait, or zero if it may go on. Wrong ones are counted
// by address alone: whose they are meant to be, nobody knows.
func (a *attempts) refusalOfToken(address netip.Prefix) time.Duration {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if found := a.of(origin{address: address, token: true}); found.wrong >= maxWrong {
		return a.left(found)
	}
	return 0
}

// addToken counts a wrong token.
func (a *attempts) addToken(address netip.Prefix) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.count(origin{address: address, token: true})
}

// count counts one more wrong login of an origin.
func (a *attempts) count(from origin) *count {
	found := a.of(from)
	if found.wrong == 0 {
		a.makeRoom()
		a.counts[from] = &count{since: a.now()}
		found = a.counts[from]
	}
	found.wrong++
	return found
}

// stand joins the line of an address that has spent its hashes, and returns how long it takes; false if the line is full, or if
// the name is what the attempt has to wait for.
func (a *attempts) stand(address netip.Prefix, name digest) (time.Duration, bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	found := a.of(origin{address: address})
	if a.nameIsSpent(address, name) || found.line >= maxLine {
		return 0, false
	}
	found.line++
	found.turn = later(found.turn, a.now()).Add(pace)
	return found.turn.Sub(a.now()), true
}

// leave is for who stood in the line of an address.
func (a *attempts) leave(address netip.Prefix) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if found := a.of(origin{address: address}); found.line > 0 {
		found.line--
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// nameIsSpent says whether a name has spent its hashes, and this address took part in that.
func (a *attempts) nameIsSpent(address netip.Prefix, name digest) bool {
	return a.of(origin{name: name}).hashed >= maxWrong && a.of(origin{address: address, name: name}).hashed > 0
}

// of returns the count of an origin, which is an empty one when its period is over.
func (a *attempts) of(from origin) *count {
	if found := a.counts[from]; found != nil && a.left(found) > 0 {
		return found
	}
	return &count{}
}

func (a *attempts) left(of *count) time.Duration {
	return period - a.now().Sub(of.since)
}

// makeRoom sees to it that one more origin can be remembered.
func (a *attempts) makeRoom() {
	if len(a.counts) < maxCounts {
		return
	}
	for from, found := range a.counts {
		if a.left(found) <= 0 {
			delete(a.counts, from)
		}
	}
	for from := range a.counts {
		if len(a.counts) < maxCounts {
			break
		}
		delete(a.counts, from)
	}
}

// addressOf returns who attempts of this peer are counted for: an IPv4 address, or the /64 network of an IPv6 one.
func addressOf(peer string) netip.Prefix {
	parsed, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Prefix{}
	}
	address, bits := parsed.Addr().Unmap().WithZone(""), 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}
