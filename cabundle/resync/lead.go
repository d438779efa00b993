package resync

import (
	"net/http"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// leads reports that this replica acts at once.
func (o *Options) leads() bool { return o.Leads == nil || o.Leads() }

// left returns for how long target is left to the leader. Nobody else may know of a hint, and caject's own configurations are
// what everything begins with.
func (r *Resync) left(target cabundle.Target, known state) time.Duration {
	if r.options.leads() || known.via == metrics.Hint || r.own(target) {
		return 0
	}
	now := r.clock.Now()
	return min(followAfter, followAfter-now.Sub(r.tracker.dueSince(target, now))) // the clock may have gone back
}

// Elected says that this replica leads from now on: it looks at all that it has left to the leader before.
func (r *Resync) Elected() {
	r.tracker.enqueueDue(r.clock.Now())
	for _, ref := range r.tracker.references() {
		r.publisher.changed(ref)
	}
}

// Alive returns why resync is taken to hang, or nil: a healthz.Checker of controller-runtime.
func (r *Resync) Alive(request *http.Request) error {
	if err := r.work.Check(request); err != nil {
		return err
	}
	if r.publisher != nil {
		if err := r.publisher.work.Check(request); err != nil {
			return err
		}
	}
	return r.rounds.Check(request)
}
