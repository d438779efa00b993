package resync

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// state is what is known of one annotated target.
type state struct {
	// As the watch last showed it.
	uid     types.UID
	version string // changes whenever the object may need another look
	ref     cabundle.Reference
	invalid *cabundle.Problem // of the annotation
	work    bool              // it most likely needs a write

	// refreshes counts how often the source was found changed.
	refreshes int
	via       metrics.Path // how it was found out the last time; empty means by resync
	noted     int          // refreshes when the publisher last knew, from a consistent read, what the source is

	// As the last look left it. The zero values mean that it was never looked at.
	checked  string    // the version that needs no further look
	answered int       // refreshes at the time of the look
	outcome  string    // of reading the source: see outcomeOf
	waiting  string    // the version of which nothing but a usable source was missing
	expiry   time.Time // when the first certificate in it expires; zero if none will
	reported string    // the problem last reported; empty if there is none

	// For the metrics.
	looked       bool            // there was a look that came to something
	problem      cabundle.Reason // that it came to; empty if all is right
	sourceExpiry time.Time       // when the first certificate of the source expires; zero if that is not known

	dueSince     time.Time // when it was first left to the leader; zero if it was not
	unknownSince time.Time // when looks began to come to nothing: see Problem.Outage
	takenOver    bool      // cert-manager's cainjector was removed from its owners
	notBefore    time.Time // when caject may write it again
	contest      contest
}

// stale reports that the source is known to have changed since the last look.
func (s state) stale() bool { return s.answered != s.refreshes }

// known reports that what the source is now need not be read again: it was, consistently, before this was found stale.
func (s state) known() bool { return s.stale() && s.noted == s.refreshes }

// expired reports that a certificate has expired since the last look.
func (s state) expired(now time.Time) bool { return !s.expiry.IsZero() && now.After(s.expiry) }

// due reports that s needs another look at now.
func (s state) due(now time.Time) bool {
	return s.checked != s.version || s.stale() || s.expired(now)
}

// outcomeOf is what reading a source came to, in a form that is compared with that of another reading.
func outcomeOf(bundle cabundle.Bundle, problem *cabundle.Problem) string {
	if problem != nil {
		return string(problem.Reason)
	}
	return bundle.Digest()
}

// differs reports that a look came to another outcome of reading the source than the latest. If it did not read the source, that is
// not known.
func differs(looked, latest string) bool { return looked != "" && looked != latest }

// tracker is the index of the annotated targets, by target and by source, and the queue that they are worked off.
// It is safe for concurrent use.
type tracker struct {
	mu     sync.Mutex
	states map[cabundle.Target]*state
	add    func(cabundle.Target)
	// changed is called with each source whose targets have changed in number, or in what is known of them.
	changed func(cabundle.Reference)
}

func newTracker() *tracker {
	return &tracker{
		states:  map[cabundle.Target]*state{},
		add:     func(cabundle.Target) {},
		changed: func(cabundle.Reference) {},
	}
}

// setQueue says where targets that need a look are put.
func (t *tracker) setQueue(queue interface{ Add(cabundle.Target) }) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add = queue.Add
}

// see records an annotated target as the watch shows it, and enqueues it if it needs a look.
func (t *tracker) see(target cabundle.Target, seen state, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known := t.states[target]
	if !known || s.uid != seen.uid {
		s = &state{}
		t.states[target] = s
	}
	if !known || s.ref != seen.ref {
		t.changed(s.ref)
		t.changed(seen.ref)
	}
	s.uid, s.version, s.ref, s.invalid, s.work = seen.uid, seen.version, seen.ref, seen.invalid, seen.work
	if s.due(now) {
		t.add(target)
	}
}

// forget drops a target that is gone, or no longer annotated.
func (t *tracker) forget(target cabundle.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, known := t.states[target]; known {
		delete(t.states, target)
		t.changed(s.ref)
	}
}

// get returns a copy of what is known of target.
func (t *tracker) get(target cabundle.Target) (state, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.states[target]
	if !ok {
		return state{}, false
	}
	return *s, true
}

// dueSince returns since when target is left to the leader: now, if it was not before.
func (t *tracker) dueSince(target cabundle.Target, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.states[target]
	switch {
	case !ok:
		return now
	case s.dueSince.IsZero():
		s.dueSince = now
	}
	return s.dueSince
}

// enqueueDue enqueues all targets that need a look at now.
func (t *tracker) enqueueDue(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for target, s := range t.states {
		if s.due(now) {
			t.add(target)
		}
	}
}

// update changes what is known of the target that had the given uid, if it is still there.
func (t *tracker) update(target cabundle.Target, uid types.UID, change func(*state)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.states[target]; ok && s.uid == uid {
		change(s)
		t.changed(s.ref)
	}
}

// outdate has the target that had the given uid, if it is still there, looked at again, for its source is not what it was at the
// last look.
func (t *tracker) outdate(target cabundle.Target, uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.states[target]; ok && s.uid == uid {
		s.refreshes++
		t.add(target)
	}
}

// of returns a copy of what is known of the targets that name ref.
func (t *tracker) of(ref cabundle.Reference) map[cabundle.Target]state {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[cabundle.Target]state{}
	for target, s := range t.states {
		if s.ref == ref && s.invalid == nil {
			all[target] = *s
		}
	}
	return all
}

// snapshot returns a copy of all that is known.
func (t *tracker) snapshot() map[cabundle.Target]state {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[cabundle.Target]state, len(t.states))
	for target, s := range t.states {
		all[target] = *s
	}
	return all
}

// references returns the sources that targets name.
func (t *tracker) references() []cabundle.Reference {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[cabundle.Reference]bool{}
	var refs []cabundle.Reference
	for _, s := range t.states {
		if s.invalid == nil && !seen[s.ref] {
			seen[s.ref] = true
			refs = append(refs, s.ref)
		}
	}
	return refs
}

// refresh has those targets of ref looked at again for which wanted is true, and returns how many that are. via is how
// it came to this; noted says that the publisher has just noted a consistent read.
func (t *tracker) refresh(ref cabundle.Reference, via metrics.Path, noted bool, wanted func(state) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for target, s := range t.states {
		if s.ref == ref && s.invalid == nil && wanted(*s) {
			s.refreshes++
			s.via = via
			s.noted = s.refreshes
			if !noted {
				s.noted = 0
			}
			t.add(target)
			n++
		}
	}
	return n
}
