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
	unreachedAfter = 10 * time.Second
)

// reach is what is known of whether the API server reaches the webhook, that of any replica. The zero value is that it does. Its methods
// are pure.
type reach struct {
	failed setback.Setback // begun by a target that was not filled, and goes on with probes that did not get through
	said   bool            // it was told that the webhook is not reached
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
	if o == called {
		return reach{}, r.said
	}
	r.failed = r.failed.Fail(now, firstProbe, longestProbe)
	if o == notCalled && !r.said && r.failed.Lasted(now) >= unreachedAfter {
		r.said = true
		return r, true
	}
	return r, false
}

// webhookWay is the reach of a Resync.
type webhookWay struct {
	missed chan struct{} // holds one if the webhook has ceased to be counted on

	mu     sync.Mutex // guards what follows
	reach  reach
	target cabundle.Target // that was not filled
}

func newWebhookWay() *webhookWay { return &webhookWay{missed: make(chan struct{}, 1)} }

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
	select {
	case w.missed <- struct{}{}:
	default:
	}
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

// followWebhook probes from each miss on until the webhook is reached, and ends with ctx.
func (r *Resync) followWebhook(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.webhook.missed:
		}
		for now := r.webhook.now(); !now.counted(); now = r.webhook.now() {
			select {
			case <-ctx.Done():
				return
			case <-r.clock.After(now.failed.Left(r.clock.Now())):
			}
			r.probe(ctx)
		}
	}
}

// probe finds out whether the API server reaches the webhook, and tells if that has changed.
func (r *Resync) probe(ctx context.Context) {
	o := r.ask(ctx)
	r.webhook.mu.Lock()
	before, now := r.webhook.reach, r.clock.Now()
	after, tell := before.probed(now, o)
	r.webhook.reach = after
	r.webhook.mu.Unlock()
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
		logger.Info("The API server reaches the webhook again", "after", before.failed.Lasted(now).Round(time.Second).String())
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
