package ledger

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	// maxReads is how many sources are read side by side, whoever asks.
	maxReads = 16
	// requestTimeout bounds one read.
	requestTimeout = 10 * time.Second
	// hangs is how long a read can take at most, with all that is repeated in it.
	hangs = 2 * time.Minute
	// maxRepeats is how often a read is repeated in one flight if others have stored something newer meanwhile.
	maxRepeats = 3
)

type sources interface {
	Read(context.Context, cabundle.Reference, cluster.Freshness) cabundle.Reading
}

// flight is a read that has not begun yet, for all who ask until it does.
type flight struct {
	freshness cluster.Freshness // guarded by Ledger.mu until it begins
	via       metrics.Path
	landed    chan struct{}
	result    Reading // set before landed is closed
}

// Read reads ref, and returns what is known then. With Consistent the read begins after the call; it may be shared with others that
// ask at the same time. With Cached it is from the API server's watch cache, and only if that differs from what was known, a
// consistent one follows.
//
// If the source does not answer, or ctx ends first, the result is what was known before with a Problem that is an Outage.
func (l *Ledger) Read(ctx context.Context, ref cabundle.Reference, freshness cluster.Freshness, via metrics.Path) Reading {
	l.mu.Lock()
	a := l.of(ref)
	if a.next == nil {
		a.next = &flight{freshness: freshness, via: via, landed: make(chan struct{})}
	}
	next := a.next
	if freshness == cluster.Consistent {
		next.freshness = freshness
	}
	if !a.flying {
		a.flying = true
		go l.fly(context.WithoutCancel(ctx), ref, a) // others may wait for it when this caller has gone
	}
	l.mu.Unlock()
	select {
	case <-next.landed:
		return next.result
	case <-ctx.Done():
		known := l.Latest(ref)
		known.Problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: ref.String() + " could not be read in time"}
		return known
	}
}

// fly has one flight after the other until nobody asks any more.
func (l *Ledger) fly(ctx context.Context, ref cabundle.Reference, a *account) {
	for {
		_ = l.slots.Acquire(ctx, 1) // ctx does not end
		l.mu.Lock()
		current := a.next
		a.next = nil
		a.flying = current != nil
		l.mu.Unlock()
		if current == nil {
			l.slots.Release(1)
			return
		}
		changed := l.land(ctx, ref, a, current)
		l.slots.Release(1)
		close(current.landed)
		if changed {
			l.tell(ref)
		}
	}
}

// land reads ref for a flight, and sets its result. It reports whether something has changed.
func (l *Ledger) land(ctx context.Context, ref cabundle.Reference, a *account, f *flight) (changed bool) {
	defer l.reads.Turn()()
	for try := 1; ; try++ {
		began := l.clock.Now()
		if f.freshness == cluster.Consistent {
			l.mu.Lock()
			a.verify = false // unless somebody asks for it from now on
			l.mu.Unlock()
		}
		reading := l.get(ctx, ref, f.freshness, f.via)
		l.mu.Lock()
		before := a.reading
		again := l.again(a, reading, f.freshness, began)
		if !again || try == maxRepeats {
			changed = l.note(ref, a, reading, f, began)
			f.result = l.latest(a)
			if outage(reading) {
				f.result.Problem = reading.Problem
			}
			after := a.reading
			l.mu.Unlock()
			if len(after.LeftOut) > 0 && after.Said() != before.Said() {
				log.FromContext(ctx).Info("Certificates of the source are left out", "source", ref, "certificates", after.LeftOut)
			}
			return changed
		}
		l.mu.Unlock()
		f.freshness = cluster.Consistent
	}
}

func (l *Ledger) get(ctx context.Context, ref cabundle.Reference, freshness cluster.Freshness, via metrics.Path) cabundle.Reading {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reading := l.sources.Read(ctx, ref, freshness)
	l.metrics.SourceRead(via, reading.Problem)
	if outage(reading) {
		log.FromContext(ctx).V(1).Info("Source not read", "source", ref, "detail", reading.Problem.Detail)
	}
	return reading
}

func outage(r cabundle.Reading) bool { return r.Problem != nil && r.Problem.Outage() }

// again reports whether reading, which began at began, is not good enough: it is from a cache and differs from what is known, or
// it may be older than what others have stored. The caller holds l.mu.
func (l *Ledger) again(a *account, reading cabundle.Reading, freshness cluster.Freshness, began time.Time) bool {
	switch {
	case outage(reading):
		return false
	case freshness == cluster.Cached:
		return a.read && (reading.Outcome() != a.outcome || reading.Said() != a.reading.Said())
	case began.After(a.learned):
		return false
	}
	return l.options.Rules.Observe(l.clock.Now(), a.history, reading).Adds(l.clock.Now(), a.history)
}

// note takes in a reading, and reports whether anything has changed. The caller holds l.mu.
func (l *Ledger) note(ref cabundle.Reference, a *account, reading cabundle.Reading, f *flight, began time.Time) (changed bool) {
	now := l.clock.Now()
	switch consistent := f.freshness == cluster.Consistent; {
	case outage(reading): // it says nothing
		a.verify = a.verify || consistent
	case consistent || !a.read:
		if a.read && reading.Outcome() != a.outcome {
			a.turn(now, l.options.Interval)
		}
		said := a.reading.Said()
		a.reading, a.outcome, a.read, a.consistent, a.began = reading, reading.Outcome(), true, consistent, began
		a.contradicted = a.contradicted && !consistent
		changed = l.take(a, now, f.via) || reading.Said() != said
	default: // nothing new
		changed = l.reviewed(a, now)
	}
	if !outage(reading) {
		l.answered = now
	}
	if reading.Problem == nil {
		a.failures, a.retry = 0, time.Time{}
	} else {
		l.fail(a, reading.Problem, now)
	}
	if reading.Problem != nil && a.followed {
		l.queue.AddAfter(ref, l.pause(a, reading.Problem))
	}
	return changed
}

// take draws the conclusions from a reading that is new, and reports whether anything has changed.
func (l *Ledger) take(a *account, now time.Time, via metrics.Path) bool {
	grown := false
	if a.consistent {
		grown = l.observe(a, now)
	}
	return l.judge(a, via) || grown
}

// observe brings the history of a up to its reading and the time, and reports whether it has grown.
func (l *Ledger) observe(a *account, now time.Time) bool {
	after := bounded(now, l.options.Rules.Observe(now, a.history, a.reading))
	grown := after.Adds(now, a.history)
	a.history, a.review = after, l.options.Rules.Review(now, after)
	return grown
}

// reviewed brings the history of a up to the time, and reports whether that is due. It is not while others know something newer: the
// reading of before would come back into it.
func (l *Ledger) reviewed(a *account, now time.Time) bool {
	if a.review.IsZero() || now.Before(a.review) || !a.consistent || a.verify {
		return false
	}
	l.observe(a, now)
	l.judge(a, metrics.Resync)
	return true
}
