package ledger

import (
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// keep is for how many intervals what is known of a source outlasts its last target: who makes a target anew gets the same again.
const keep = 10

// account is what is known of one source.
type account struct {
	followed bool      // a target names it
	idle     time.Time // when it was last not followed any more, or made
	stored   bool      // something may be stored of it

	reading    cabundle.Reading
	outcome    string    // of reading
	read       bool      // there was one
	consistent bool      // it was from etcd
	began      time.Time // when it began
	// contradicted says that others have stored since what the reading does not fit: no target is written from it.
	contradicted bool
	failures     int       // how many reads in a row gave nothing
	retry        time.Time // when it is to be read again after that; zero if it gave something

	history cabundle.History
	learned time.Time // when history last grew by what is stored
	review  time.Time // when time alone changes it; zero if never

	revision int
	verdict  string // what revision stands for
	exact    int    // the ExactRevision
	holds    string // what exact stands for
	via      metrics.Path

	next   *flight // is to begin
	flying bool    // the goroutine of flights runs
	verify bool    // it is to be read consistently: somebody has asked for it, and no such read has begun since
	hint   hint
	turns  int         // how often it has become another one
	turned []time.Time // when it last did
}

// Follow says that targets name ref: it ticks from now on, for the first time within Interval.
func (l *Ledger) Follow(ref cabundle.Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.of(ref); !a.followed {
		a.followed = true
		a.unread()
		l.queue.AddAfter(ref, l.within(l.options.Interval))
	}
}

// Unfollow says that no target names ref any more. What is known of its certificates stays for a while, and until Forget if something may be
// stored of it.
func (l *Ledger) Unfollow(ref cabundle.Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.accounts[ref]; ok && a.followed {
		a.followed, a.hint = false, hint{}
		a.unread()
		l.rest(ref, a)
	}
}

// Forget says that nothing is stored any more of a source that is not followed: its account is dropped.
func (l *Ledger) Forget(ref cabundle.Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.accounts[ref]
	if !ok || a.followed {
		return
	}
	if a.stored = false; a.flying {
		l.rest(ref, a)
		return
	}
	delete(l.accounts, ref)
}

// of returns the account of ref. The caller holds l.mu.
func (l *Ledger) of(ref cabundle.Reference) *account {
	a, ok := l.accounts[ref]
	if !ok {
		a = &account{history: l.recall(ref)}
		l.accounts[ref] = a
		l.rest(ref, a)
	}
	return a
}

// rest has a dropped in a while, unless it is followed then. The caller holds l.mu.
func (l *Ledger) rest(ref cabundle.Reference, a *account) {
	a.idle = l.clock.Now()
	l.queue.AddAfter(ref, keep*l.options.Interval)
}

// drop drops an account that is not followed if it is time, and returns how long to wait for that. The caller holds l.mu.
func (l *Ledger) drop(ref cabundle.Reference, a *account) (wait time.Duration) {
	if left := keep*l.options.Interval - l.clock.Since(a.idle); left > 0 {
		return left
	}
	switch {
	case a.stored: // see Forget
		return 0
	case a.flying: // another account would have the source read twice at a time
		return l.options.Interval
	}
	delete(l.accounts, ref)
	return 0
}

// unread forgets the reading of a: it is too old by now.
func (a *account) unread() {
	a.reading, a.outcome, a.read, a.consistent, a.began, a.contradicted = cabundle.Reading{}, "", false, false, time.Time{}, false
	a.failures, a.retry = 0, time.Time{}
}
