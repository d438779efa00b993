package resync

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// timed runs body with a rig whose clock is that of a synctest bubble: time passes when all sleep.
func timed(t *testing.T, body func(*testing.T, *publishing)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newPublishing(t, nil)
		r.Resync.clock, r.publisher.clock = &r.stoppable, &r.stoppable
		time.Sleep(time.Until(start))
		r.watch()
		r.settled(t)
		r.sources.reads = map[cluster.Freshness]int{}
		body(t, r)
	})
}

// stoppable is a clock whose process stands still at times.
type stoppable struct {
	clock.RealClock
	stood atomic.Int64
}

// Now implements [clock.PassiveClock].
func (s *stoppable) Now() time.Time { return s.RealClock.Now().Add(time.Duration(s.stood.Load())) }

// Since implements [clock.PassiveClock].
func (s *stoppable) Since(t time.Time) time.Duration { return s.Now().Sub(t) }

// hint hints, and returns how many reads it came to after each of waits, all in all.
func (p *publishing) hint(ctx context.Context, waits ...time.Duration) (reads []int) {
	p.Hint(ctx, secret)
	for _, wait := range waits {
		time.Sleep(wait)
		synctest.Wait()
		reads = append(reads, p.sources.consistent())
	}
	return reads
}

// TestAHintOvertakesTheFirstLook has a source rotated, and a hint followed, while the first look at a target has read the former CA.
func TestAHintOvertakesTheFirstLook(t *testing.T) {
	r := newPublishing(t, nil)
	r.targets.beforePatch = func() {
		r.sources.ca = caTwo
		r.readHinted(t.Context(), secret)
	}
	r.watch()
	r.work(t)
	r.expect(t, caOne)
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	if r.work(t); len(r.queue.added) > 0 {
		t.Error("it is looked at again and again")
	}
}

// TestACacheLagsBehindAHint has an admission fill a target with the CA that a hint has seen to be the latest, and the first look
// come to a cache that still has the former one.
func TestACacheLagsBehindAHint(t *testing.T) {
	r := newPublishing(t, caOne)
	r.readHinted(t.Context(), secret)
	r.watch()
	r.sources.cached = caOne
	r.sources.ca = caTwo
	r.readHinted(t.Context(), secret)
	r.work(t)
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
}

func TestAHintOfNothingEndsByItself(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		got := r.hint(t.Context(), 4*time.Millisecond, 2*time.Millisecond, 100*time.Millisecond, time.Second, 3*time.Second, time.Hour)
		if diff := cmp.Diff([]int{0, 1, 3, 5, 6, 6}, got); diff != "" {
			t.Error(diff)
		}
		if len(r.queue.added) > 0 || len(r.hints.current) > 0 {
			t.Errorf("targets %v are looked at, %d hints are followed", r.queue.added, len(r.hints.current))
		}
	})
}

func TestAHintIsFollowedUntilTheSourceHasChanged(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		time.AfterFunc(50*time.Millisecond, func() { r.sources.change(func() { r.sources.ca = caTwo }) })
		if diff := cmp.Diff([]int{2, 3, 3}, r.hint(t.Context(), 50*time.Millisecond-1, 40*time.Millisecond, time.Minute)); diff != "" {
			t.Error(diff)
		}
		r.work(t)
		r.expect(t, append(bytes.Clone(caOne), caTwo...))
	})
}

func TestAFloodOfHintsIsAsGoodAsTwo(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		for range 1000 {
			r.Hint(t.Context(), secret)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := r.sources.consistent(); n != 2*len(hintDelays) {
			t.Errorf("%d reads", n)
		}
	})
}

func TestAHintOfASourceThatNoTargetNamesIsNotFollowed(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		r.Hint(t.Context(), cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "other"})
		time.Sleep(time.Minute)
		if n := r.sources.consistent(); n > 0 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestAHintOutlivesAnOutage(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable}
		time.AfterFunc(2*time.Second, func() { r.sources.change(func() { r.sources.ca, r.sources.problem = caTwo, nil }) })
		r.hint(t.Context(), time.Minute)
		r.work(t)
		r.expect(t, append(bytes.Clone(caOne), caTwo...))
	})
}

func TestAHintEndsWithTheProcess(t *testing.T) {
	timed(t, func(t *testing.T, r *publishing) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if diff := cmp.Diff([]int{2}, r.hint(ctx, time.Minute)); diff != "" {
			t.Error(diff)
		}
	})
}
