package resync

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// hintDelays are the times after a hint at which the source is read. The API server hints before it writes: what is hinted at
// is not there yet, and may never be.
var hintDelays = []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 320 * time.Millisecond, time.Second, 3 * time.Second}

// hints keeps those that are followed at the moment: one for each source, however many come.
type hints struct {
	mu      sync.Mutex
	current map[cabundle.Reference]*hint
}

// hint is a source that is read until it is seen to have changed.
type hint struct{ again bool } // another one has come meanwhile

// Hint says that a source may be about to change: it is read a few times, until it has, and then its targets are looked at. A
// source that no target names is not read. Hint does not block; what it starts ends with ctx.
func (r *Resync) Hint(ctx context.Context, ref cabundle.Reference) {
	if !slices.Contains(r.tracker.references(), ref) {
		return
	}
	r.hints.mu.Lock()
	defer r.hints.mu.Unlock()
	if followed, ok := r.hints.current[ref]; ok {
		followed.again = true
		return
	}
	r.hints.current[ref] = &hint{}
	go r.follow(ctx, ref)
}

// follow reads the source of a hint until it has changed, and once more if others have come meanwhile.
func (r *Resync) follow(ctx context.Context, ref cabundle.Reference) {
	for more := true; more; {
		r.seek(ctx, ref)
		r.hints.mu.Lock()
		more = r.hints.current[ref].again && ctx.Err() == nil
		r.hints.current[ref].again = false
		if !more {
			delete(r.hints.current, ref)
		}
		r.hints.mu.Unlock()
	}
}

// seek reads ref at hintDelays until it is not what its targets were filled from.
func (r *Resync) seek(ctx context.Context, ref cabundle.Reference) {
	begin := r.clock.Now()
	for _, delay := range hintDelays {
		select {
		case <-ctx.Done():
			return
		case <-r.clock.After(delay - r.clock.Since(begin)):
		}
		if r.readHinted(ctx, ref) {
			return
		}
	}
}

// readHinted reads ref once, and reports whether it has changed. A target that was never looked at is not waited for.
func (r *Resync) readHinted(ctx context.Context, ref cabundle.Reference) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	turns := r.publisher.begin(ref)
	bundle, problem := readSource(ctx, r.sources, ref, cluster.Consistent)
	r.metrics.SourceRead(metrics.Hint, problem)
	if problem != nil && problem.Outage() {
		r.miss() // the hint may be over before the outage is
		return false
	}
	r.publisher.note(ref, turns, bundle, problem)
	outcome := outcomeOf(bundle, problem)
	return r.tracker.refresh(ref, metrics.Hint, r.publisher != nil, func(s state) bool { return differs(s.outcome, outcome) }) > 0
}
