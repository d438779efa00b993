// Package alive tells a process that works from one that hangs: for a liveness probe. Loops say when they begin and end a
// turn; a turn that does not end, or does not begin, in time is reported.
package alive

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Loop watches a loop, or several workers that do the same.
type Loop struct {
	name  string
	limit time.Duration
	pause time.Duration
	clock clock.PassiveClock

	mu    sync.Mutex
	turns map[int]time.Time // when those that go on began
	next  int
	last  time.Time // when the last one ended; zero before the first one
}

// NewLoop returns a Loop whose turns end within limit. pause is the most that lies between two turns; 0 if there is no such
// bound, as for a worker that waits for work. It counts from the first turn: a process that stands by has not begun.
func NewLoop(name string, limit, pause time.Duration, c clock.PassiveClock) *Loop {
	return &Loop{name: name, limit: limit, pause: pause, clock: c, turns: map[int]time.Time{}}
}

// Turn says that a turn begins; what it returns is called when it ends.
func (l *Loop) Turn() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.turns[id] = l.clock.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.turns, id)
		l.last = l.clock.Now()
	}
}

// Check returns why the loop is taken to hang, or nil: a healthz.Checker of controller-runtime.
func (l *Loop) Check(*http.Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, began := range l.turns {
		if took := l.clock.Since(began); took > l.limit {
			return fmt.Errorf("%s hangs: it has been at the same thing for %s", l.name, took.Round(time.Second))
		}
	}
	if l.pause == 0 || len(l.turns) > 0 || l.last.IsZero() {
		return nil
	}
	if idle := l.clock.Since(l.last); idle > l.pause+l.limit {
		return fmt.Errorf("%s hangs: it has done nothing for %s", l.name, idle.Round(time.Second))
	}
	return nil
}
