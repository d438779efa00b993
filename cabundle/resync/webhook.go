package resync

import (
	"context"
	"errors"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/setback"
)

const (
	// patience is how long the webhook may take to fill a target that is admitted again. It takes some milliseconds; a call that does
	// not arrive takes the webhook's timeoutSeconds.
	patience = time.Second
	// firstProbe is the wait after the first probe that did not get through; it doubles up to longestProbe. A probe costs the API server
	// a request, and up to timeoutSeconds of waiting.
	firstProbe, longestProbe = time.Second, 2 * time.Minute
	// probeTimeout is more than the most that timeoutSeconds of a webhook can be.
	probeTimeout = 35 * time.Second
	// unreachedAfter is for how long no probe must get through until somebody is told: a pod that has just become ready is called some
	// seconds later.
	unreachedAfter = 20 * time.Second
	// suspectEvery is how often a probe is made at most although nothing is wrong: policies may fill targets while each write of one
	// waits for a webhook that is not reached.
	suspectEvery = time.Minute
)

// reach is what is known of whether the API server reaches the webhook, that of any replica. The zero value is that it does. Its methods
// are pure.
type reach struct {
	failed setback.Setback // begun by a target that was not filled, and goes on with probes that did not get through
	// since is when the first of the probes in a row was that the API server has answered, and that did not get through; zero if there is none.
	since time.Time
	said  bool // it was told that the webhook is not reached
}

// counted reports whether the webhook is counted on.
func (r reach) counted() bool { return r.failed.None() }

// miss takes in that a target came back unfilled at now. That may have other causes, so a probe is due at once.
func (r reach) miss(now time.Time) reach {
	if r.counted() {
		r.failed = r.failed.Fail(now, 0, longestProbe)
	}
	return r
}

// outcome is what a probe has come to.
type outcome string

const (
	called    outcome = "called"
	notCalled outcome = "not called"
	// unknown is that of a probe that the API server did not answer, or that had no target.
	unknown outcome = "unknown"
)

// probed takes in what a probe has come to at now. tell says that this is to be told.
func (r reach) probed(now time.Time, o outcome) (after reach, tell bool) {
	switch {
	case o == called:
		return reach{}, r.said
	case o == unknown && r.counted():
		return r, false
	}
	r.failed = r.failed.Fail(now, firstProbe, longestProbe)
	switch {
	case r.said:
	case o == unknown:
		r.since = time.Time{}
	case r.since.IsZero():
		r.since = now
	case now.Sub(r.since) >= unreachedAfter:
		r.said = true
		return r, true
	}
	return r, false
}

// webhookWay is the reach of a Resync, and when to probe.
type webhookWay struct {
	wake chan struct{} // holds one if there may be something to probe

	mu        sync.Mutex // guards what follows
	reach     reach
	target    cabundle.Target // that was not filled
	suspected bool            // a probe is due although the webhook is counted on
	probed    time.Time       // when the last probe was made, or came to be due
}

func newWebhookWay() *webhookWay { return &webhookWay{wake: make(chan struct{}, 1)} }

func (w *webhookWay) now() reach {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reach
}

// miss takes in that target was not filled.
func (w *webhookWay) miss(now time.Time, target cabundle.Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reach.counted() {
		w.target = target
	}
	w.reach = w.reach.miss(now)
	w.waken()
}

// suspect takes in that the webhook should have been called just now: a target or a source has changed. It has not shown to be reached lately.
func (w *webhookWay) suspect(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if since := now.Sub(w.probed); since >= 0 && since < suspectEvery {
		return
	}
	w.suspected, w.probed = true, now
	w.waken()
}

// waken has followWebhook look. The caller holds w.mu.
func (w *webhookWay) waken() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// due reports whether there is something to probe, and after what time.
func (w *webhookWay) due(now time.Time) (wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reach.failed.Left(now), w.suspected || !w.reach.counted()
}

// took takes in what a probe has come to at now.
func (w *webhookWay) took(now time.Time, o outcome) (before, after reach, tell bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before = w.reach
	w.reach, tell = before.probed(now, o)
	w.suspected, w.probed = false, now
	return before, w.reach, tell
}

// countsOnWebhook reports whether the webhook is expected to fill targets of a kind when they are admitted again.
func (r *Resync) countsOnWebhook(kind cabundle.Kind) bool {
	return r.options.Webhook && kind.Admitted() && r.webhook.now().counted()
}

// missed judges what became of a target that was admitted again for the webhook to fill it. One that is not right means that the webhook is
// not counted on until a probe gets through; so does one that has taken too long, while ctx goes on.
func (r *Resync) missed(ctx context.Context, target cabundle.Target, right bool, err error) {
	switch {
	case right, ctx.Err() != nil:
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		r.webhook.miss(r.clock.Now(), target)
		log.FromContext(ctx).V(1).Info("The webhook has not filled the target; it is not counted on until a probe gets through")
	}
}

// suspectWebhook has the webhook probed, if this replica leads and has not done so lately.
func (r *Resync) suspectWebhook() {
	if r.options.Webhook && r.options.Leads() {
		r.webhook.suspect(r.clock.Now())
	}
}

// followWebhook probes when there is a reason to, until the webhook is reached, and ends with ctx.
func (r *Resync) followWebhook(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.webhook.wake:
		}
		for wait, ok := r.webhook.due(r.clock.Now()); ok; wait, ok = r.webhook.due(r.clock.Now()) {
			select {
			case <-ctx.Done():
				return
			case <-r.clock.After(wait):
			}
			r.probe(ctx)
		}
	}
}

// probe finds out whether the API server reaches the webhook, and tells if that has changed.
func (r *Resync) probe(ctx context.Context) {
	o := r.ask(ctx)
	now := r.clock.Now()
	before, after, tell := r.webhook.took(now, o)
	logger := log.FromContext(ctx)
	switch {
	case !tell:
		logger.V(1).Info("Probed the webhook", "outcome", o)
	case after.said:
		cause, remedy := r.options.Handshakes()
		if cause == "" {
			cause, remedy = unreachable, reachIt
		}
		logger.Info("The API server does not reach the webhook; resync writes CRDs and APIServices by itself until it does",
			"cause", cause, "remedy", remedy)
	default:
		logger.Info("The API server reaches the webhook again", "after", now.Sub(before.since).Round(time.Second).String())
	}
}

const (
	unreachable = "calls do not arrive, or are not answered in time"
	reachIt     = "let the API server through to the port of --webhook-listen-address (NetworkPolicy, firewall, security group); " +
		"see that the Service has endpoints and leads to that port, and that webhook.url, if set, is right; " +
		"if another replica logs TLS handshakes that fail, that is the cause"
)

// ask has the API server admit a target in a dry run.
func (r *Resync) ask(ctx context.Context) outcome {
	r.webhook.mu.Lock()
	preferred := r.webhook.target
	r.webhook.mu.Unlock()
	target, ok := r.tracker.admitted(preferred)
	if !ok {
		return unknown
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	got, err := r.targets.Called(ctx, target)
	switch {
	case err != nil:
		log.FromContext(ctx).V(1).Info("Cannot probe the webhook", "error", err.Error())
		return unknown
	case got:
		return called
	}
	return notCalled
}
