package resync

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// jitter keeps the replicas, and the clusters of one operator, from asking all at once: each wait is up to this
// fraction longer than the interval.
const jitter = 0.2

// heartbeat is how often it is seen that this process runs.
const heartbeat = 500 * time.Millisecond

// loop is a runnable, of the leader alone or of every replica.
type loop struct {
	run    func(context.Context) error
	leader bool
}

// Start implements [manager.Runnable].
func (l *loop) Start(ctx context.Context) error { return l.run(ctx) }

// NeedLeaderElection implements [manager.LeaderElectionRunnable].
func (l *loop) NeedLeaderElection() bool { return l.leader }

// loop reads all referenced sources once per interval until ctx ends, and sooner when something may have been missed.
func (r *Resync) loop(ctx context.Context) error {
	go r.noticeStandstill(ctx)
	for {
		pause := r.options.Interval
		if !r.readAll(ctx) {
			pause = min(pause, outageRetry)
		}
		next := r.clock.After(wait.Jitter(pause, jitter))
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-r.missed:
			// Others are most likely missed as well, and the API server may not be back yet.
			select {
			case <-ctx.Done():
				return nil
			case <-r.clock.After(wait.Jitter(min(pause, outageRetry), jitter)):
			}
		}
	}
}

// miss says that a source could not be read when it may have changed: the periodic loop reads all soon.
func (r *Resync) miss() {
	select {
	case r.missed <- struct{}{}:
	default:
	}
}

// noticeStandstill says so when this process did not run for a while, in which hints went by: it was stopped, or the machine was
// suspended. (The API server gives a hint a second.) A clock that is set forward looks the same; then the reading does no harm.
func (r *Resync) noticeStandstill(ctx context.Context) {
	wall := func() time.Time { return r.clock.Now().Round(0) } // the monotonic clock may stand still as well
	for last := wall(); ; {
		select {
		case <-ctx.Done():
			return
		case <-r.clock.After(heartbeat):
		}
		now := wall()
		if stood := now.Sub(last) - heartbeat; stood >= heartbeat {
			log.FromContext(ctx).Info("Stood still; reading all sources again", "seconds", stood.Seconds())
			r.miss()
		}
		last = now
	}
}

// readAll reads each referenced source once, from the API server's watch cache, and has those targets looked at that
// were filled from something else, or hold a certificate that has expired. It reports whether all could be read.
func (r *Resync) readAll(ctx context.Context) bool {
	defer r.rounds.Turn()()
	start := r.clock.Now()
	var group errgroup.Group
	group.SetLimit(workers)
	for _, ref := range r.tracker.references() {
		r.publisher.changed(ref) // certificates expire
		group.Go(func() error { return r.readOne(ctx, ref) })
	}
	err := group.Wait()
	r.metrics.Resynced(start, r.clock.Now(), err == nil)
	return err == nil
}

// readOne reads one source. The error is an outage.
func (r *Resync) readOne(ctx context.Context, ref cabundle.Reference) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bundle, problem := r.read(ctx, ref, cluster.Cached)
	if problem != nil && problem.Outage() {
		log.FromContext(ctx).V(1).Info("Source not read", "source", ref, "detail", problem.Detail)
		return problem
	}
	outcome, now := outcomeOf(bundle, problem), r.clock.Now()
	r.tracker.refresh(ref, metrics.Resync, false, func(s state) bool {
		return differs(s.outcome, outcome) || s.expired(now)
	})
	return nil
}

// Changed says that a source has changed: its targets are looked at right away, with consistent reads.
func (r *Resync) Changed(ref cabundle.Reference) {
	r.tracker.refresh(ref, metrics.Resync, false, func(state) bool { return true })
}
