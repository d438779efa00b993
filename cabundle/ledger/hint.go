package ledger

import (
	"slices"
	"time"

	"github.com/caject/caject/cabundle"
)

// hintDelays are the times after a hint at which the source is read, in turn, until it has changed. The API server hints before it
// writes: what is hinted at is not there yet, and may never be.
var hintDelays = [...]time.Duration{
	5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 320 * time.Millisecond, time.Second, 3 * time.Second,
}

const (
	// lookBack is how long after a change was found the source is read once more: the change may be one before that which was hinted at,
	// whose own hint went to another replica.
	lookBack = time.Second
	// freeChanges is how many changes of a source within an interval are followed at once: a source that changes every few seconds
	// is not held up.
	freeChanges = 12
	// firstDelay is how long the hint after those waits. It doubles with each further one, up to longestDelay: whoever can write one
	// Secret makes caject write its targets no more often than that.
	firstDelay, longestDelay = 250 * time.Millisecond, 4 * time.Second
)

// hint is a source that is read until it has changed. The zero value is none.
type hint struct {
	began time.Time // zero if there is none
	due   time.Time // when it is read next
	tries int
	turns int  // those of the source when the hint came
	found bool // it has changed since, and is read once more
	again bool // another hint came before it had
	// notBefore is when a source that changes too fast is next followed. It outlives the hint.
	notBefore time.Time
}

func (h *hint) active() bool { return !h.began.IsZero() }

// begin begins to follow a hint at now, or when the source may next be followed.
func (h *hint) begin(now time.Time, turns int) {
	*h = hint{began: now, turns: turns, notBefore: h.notBefore}
	if delayed := h.notBefore.Add(-hintDelays[0]); delayed.After(now) {
		h.began = delayed
	}
	h.due = h.began.Add(hintDelays[0])
}

// step notes that the source was read, and how often it has become another one until then: the hint is over, or the source is read again
// when it is due.
func (h *hint) step(now time.Time, turns int) {
	h.tries++
	switch changed := turns != h.turns; {
	case !changed && h.tries < len(hintDelays):
		h.due = h.began.Add(hintDelays[h.tries])
	case h.again:
		h.begin(now, turns)
	case changed && !h.found:
		h.found, h.due = true, now.Add(lookBack)
		if h.due.Before(h.notBefore) {
			h.due = h.notBefore
		}
	default:
		h.began = time.Time{}
	}
}

// Hint says that a source may be about to change: it is read a few times, until it has. One that no target names costs a look-up.
// Hint does not block. A thousand hints at one source are followed like one, and one more.
func (l *Ledger) Hint(ref cabundle.Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.accounts[ref]
	if !ok || !a.followed {
		return
	}
	if a.hint.active() && !a.hint.found {
		a.hint.again = true
		return
	}
	a.hint.begin(l.clock.Now(), a.turns)
	l.queue.AddAfter(ref, a.hint.due.Sub(l.clock.Now()))
}

// turn notes that the source has become another one, be it one that it has been before. From the thirteenth time within interval on, the next
// hints wait, each twice as long.
func (a *account) turn(now time.Time, interval time.Duration) {
	a.turns++
	a.turned = append(slices.DeleteFunc(a.turned, func(at time.Time) bool { return now.Sub(at) > interval }), now)
	if surplus := len(a.turned) - freeChanges; surplus > 0 {
		a.hint.notBefore = now.Add(min(interval, longestDelay, firstDelay<<min(surplus-1, 10)))
	}
}
