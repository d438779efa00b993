package ledger

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	// workers is how many sources are looked after side by side.
	workers = 8
	// jitter keeps replicas, and sources, from asking all at once: each wait is up to this fraction longer than the interval.
	jitter = 0.2
	// firstRetry is the wait before a source that cannot be used yet is tried again; it doubles up to the interval.
	firstRetry = 50 * time.Millisecond
	// outageRetry is the longest wait for an API server that does not answer. It makes up for what was missed within ten seconds, and asks
	// little of a server that is in trouble.
	outageRetry = 5 * time.Second
	// heartbeat is how often it is seen that this process runs.
	heartbeat = 500 * time.Millisecond
	// hintPatience is how long the API server tries a hint: a process that stands still for less misses none.
	hintPatience = time.Second
)

// Start looks after the sources that are followed until ctx ends.
func (l *Ledger) Start(ctx context.Context) error {
	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() { l.beat(ctx) })
	return l.queue.Run(ctx, workers, func(ref cabundle.Reference) []any { return []any{"source", ref} }, l.tick)
}

// tick does what is to be done for one source now, and returns when to do so again.
func (l *Ledger) tick(ctx context.Context, ref cabundle.Reference) time.Duration {
	a, freshness, via, wait := l.due(ref)
	if a == nil || wait > 0 {
		return wait
	}
	reading := l.Read(ctx, ref, freshness, via)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if via == metrics.Hint {
		a.hint.step(now, a.turns)
	}
	if a.hint.active() {
		return max(time.Millisecond, a.hint.due.Sub(now)) // 0 would be never
	}
	return l.pause(a, reading.Problem)
}

// due returns how to read a source now and why; or no account, or a wait, if that is not to be done (yet).
func (l *Ledger) due(ref cabundle.Reference) (a *account, freshness cluster.Freshness, via metrics.Path, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.accounts[ref]
	switch {
	case !ok:
		return nil, 0, "", 0
	case !a.followed:
		return nil, 0, "", l.drop(ref, a)
	}
	freshness, via, wait = a.plan(l.clock.Now())
	return a, freshness, via, wait
}

// plan returns how to read the source now and why, or how long to wait first. A source that changes too fast is not read before it may be
// followed, whoever says that it has changed.
func (a *account) plan(now time.Time) (freshness cluster.Freshness, via metrics.Path, wait time.Duration) {
	switch {
	case a.hint.active() && !a.hint.due.After(now):
		return cluster.Consistent, metrics.Hint, 0
	case a.verify:
		return cluster.Consistent, metrics.Resync, a.hint.notBefore.Sub(now)
	case a.hint.active():
		return cluster.Consistent, metrics.Hint, a.hint.due.Sub(now)
	}
	return cluster.Cached, metrics.Resync, 0
}

// pause returns how long to wait for the next tick after one that came to problem. The caller holds l.mu.
func (l *Ledger) pause(a *account, problem *cabundle.Problem) time.Duration {
	if problem == nil || a.retry.IsZero() { // the source gives something, although it is not to be injected
		return wait.Jitter(l.options.Interval, jitter)
	}
	longest := time.Duration(float64(l.options.Interval) * (1 + jitter)) // or the clock has gone back
	return max(time.Millisecond, min(a.retry.Sub(l.clock.Now()), longest))
}

// fail notes that a read came to problem at now, and when the source is to be read again: however many ask meanwhile, it waits no longer
// for that. The caller holds l.mu.
func (l *Ledger) fail(a *account, problem *cabundle.Problem, now time.Time) {
	waits := now.Before(a.retry)
	if !waits {
		a.failures++
	}
	if retry := now.Add(l.patience(a.failures, problem)); !waits || problem.Outage() && retry.Before(a.retry) {
		a.retry = retry
	}
}

// patience returns how long a source rests after problem, the given one in a row. An outage of the API server, which nobody answered for,
// is not waited out as long as an error that it answers with for this one source.
func (l *Ledger) patience(failures int, problem *cabundle.Problem) time.Duration {
	longest := l.options.Interval
	if problem.Outage() && !problem.Answered {
		longest = min(longest, outageRetry)
	}
	growing := firstRetry << min(failures-1, 20)
	return wait.Jitter(min(growing, longest), jitter)
}

// within returns a random part of span.
func (l *Ledger) within(span time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(span))) //nolint:gosec // it only spreads load
}

// Changed says that a source has changed, for somebody has just written it: it is read right away.
func (l *Ledger) Changed(ref cabundle.Reference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.accounts[ref]; ok && a.followed {
		a.verify = true
		l.queue.Add(ref)
	}
}

// standing is about a process that does not run for a while.
type standing struct {
	last time.Time     // when it was last made up for
	gap  time.Duration // how long not to do so again
}

// beat notices when this process did not run for a while, in which hints went by: it was stopped, or the machine was suspended.
// Then all sources are read soon. A clock that is set forward looks the same; then the reading does no harm.
func (l *Ledger) beat(ctx context.Context) {
	wall := func() time.Time { return l.clock.Now().Round(0) } // the monotonic clock may stand still as well
	for last := wall(); ; {
		select {
		case <-ctx.Done():
			return
		case <-l.clock.After(heartbeat):
		}
		now := wall()
		if stood := now.Sub(last) - heartbeat; stood >= hintPatience && l.standing.again(now, l.options.Interval) {
			log.FromContext(ctx).Info("Stood still; reading all sources again", "seconds", stood.Seconds())
			for _, ref := range l.followed() {
				l.queue.AddAfter(ref, l.within(hintPatience))
			}
		}
		last = now
	}
}

// again reports whether a standstill that was noticed at now is to be made up for. On a machine that is too busy for this
// process that happens ever more rarely, but at least once per interval.
func (s *standing) again(now time.Time, interval time.Duration) bool {
	since := now.Sub(s.last)
	switch {
	case since < s.gap && since >= 0: // less than 0: the clock has gone back
		return false
	case since > 2*interval:
		s.gap = 0
	}
	s.last, s.gap = now, min(interval, max(2*s.gap, outageRetry))
	return true
}

// Answered returns when the API server last answered about any source, or there was none to ask about.
func (l *Ledger) Answered() time.Time {
	followed := len(l.followed())
	l.mu.Lock()
	defer l.mu.Unlock()
	if followed == 0 {
		l.answered = l.clock.Now()
	}
	return l.answered
}

// Alive returns why reading is taken to hang, or nil: a healthz.Checker of controller-runtime. It is about one read, not about how many
// there are.
func (l *Ledger) Alive(r *http.Request) error {
	if err := l.reads.Check(r); err != nil {
		return err
	}
	return l.queue.Alive(r)
}
