package resync

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/publish"
	"github.com/caject/caject/cabundle/work"
)

// tracker is the index of the annotated targets, by target and by source. It tells the ledger which sources are named, and the
// publisher what has changed about their targets; it queues targets that are due. It is safe for concurrent use.
type tracker struct {
	ledger    sourceLedger
	publisher publisher
	queue     *work.Queue[cabundle.Target]
	clock     clock.PassiveClock
	leads     func() bool
	own       func(cabundle.Target) bool

	mu       sync.Mutex // guards what follows
	states   map[cabundle.Target]*state
	bySource map[cabundle.Reference]map[cabundle.Target]*state // those whose annotation can be understood
}

// see records an annotated target as the watch shows it, and queues it if it is due.
func (t *tracker) see(target cabundle.Target, seen seen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.states[target]
	switch {
	case !ok:
		s = &state{seen: seen}
		t.link(target, s)
	case s.seen.uid != seen.uid:
		t.unlink(target, s)
		s = &state{seen: seen}
		t.link(target, s)
	case s.seen.ref != seen.ref || (s.seen.invalid == nil) != (seen.invalid == nil):
		t.unlink(target, s)
		s.ask(seen)
		t.link(target, s)
	default:
		seen.before = s.seen.at
		if seen.version == s.seen.version { // it is shown once more
			seen.at, seen.before = s.seen.at, s.seen.before
		}
		s.seen = seen
	}
	if s.due(t.clock.Now(), s.revision(t.ledger.Latest(seen.ref))) {
		t.enqueue(target)
	}
}

// forget drops a target that is gone, or no longer annotated.
func (t *tracker) forget(target cabundle.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.states[target]; ok {
		t.unlink(target, s)
		delete(t.states, target)
	}
}

// link puts s into both indexes. The caller holds t.mu.
func (t *tracker) link(target cabundle.Target, s *state) {
	t.states[target] = s
	if s.seen.invalid != nil {
		return
	}
	ref := s.seen.ref
	if t.bySource[ref] == nil {
		t.bySource[ref] = map[cabundle.Target]*state{}
		t.ledger.Follow(ref)
	}
	t.bySource[ref][target] = s
	t.publisher.Changed(ref)
}

// unlink takes s out of the index by source. The caller holds t.mu.
func (t *tracker) unlink(target cabundle.Target, s *state) {
	ref := s.seen.ref
	if _, ok := t.bySource[ref][target]; !ok {
		return
	}
	delete(t.bySource[ref], target)
	if len(t.bySource[ref]) == 0 {
		delete(t.bySource, ref)
		t.ledger.Unfollow(ref)
	}
	t.publisher.Changed(ref)
}

// enqueue queues a target for which something is to be done: at once if this replica leads, else after the leader has had its time.
// Nobody else may know of a hint, and caject's own configurations are what everything begins with. The caller holds t.mu.
func (t *tracker) enqueue(target cabundle.Target) {
	s := t.states[target]
	if t.leads() || t.own(target) || hinted(s, t.ledger.Latest(s.seen.ref)) {
		t.queue.Add(target)
	} else {
		t.queue.AddAfter(target, followAfter)
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

// update changes what is known of the target that had the given UID, if it is still there. It queues nothing: what changes during
// a look is queued by whoever notices, and the watch shows the look's own write only later.
func (t *tracker) update(target cabundle.Target, uid types.UID, change func(*state)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.states[target]; ok && s.seen.uid == uid {
		change(s)
		if s.seen.invalid == nil {
			t.publisher.Changed(s.seen.ref)
		}
	}
}

// sourceChanged queues the targets of ref that are due.
func (t *tracker) sourceChanged(ref cabundle.Reference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, source := t.clock.Now(), t.ledger.Latest(ref)
	for target, s := range t.bySource[ref] {
		if s.due(now, s.revision(source)) {
			t.enqueue(target)
		}
	}
}

// sweep queues all targets that are due, or of which something is to be told. It finds those whose certificates have expired, and
// is the safety net for everything else.
func (t *tracker) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	for ref, targets := range t.bySource {
		source := t.ledger.Latest(ref)
		for target, s := range targets {
			if s.failures == 0 && s.due(now, s.revision(source)) || s.unreported && t.leads() {
				t.enqueue(target)
			}
		}
	}
	for target, s := range t.states {
		if s.seen.invalid != nil && (s.due(now, 0) || s.unreported && t.leads()) {
			t.enqueue(target)
		}
	}
}

// admitted returns a target that the webhook is called for: the preferred one, if it is there.
func (t *tracker) admitted(preferred cabundle.Target) (cabundle.Target, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.states[preferred]; ok {
		return preferred, true
	}
	for target := range t.states {
		if target.Kind.Admitted() {
			return target, true
		}
	}
	return cabundle.Target{}, false
}

// Summary returns what is known of the targets of ref, as source has it.
func (t *tracker) Summary(ref cabundle.Reference, source ledger.Reading) publish.Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	var summary publish.Summary
	for target, s := range t.bySource[ref] {
		switch {
		case s.idle():
			continue
		case target.Kind.Conditional() && !s.looked.known:
			summary.Pending++
			continue
		case s.right(s.revision(source)):
			summary.Injected++
		}
		summary.Total++
	}
	return summary
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
