package resync

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/publish"
	"github.com/caject/caject/cabundle/work"
)

const (
	// workers is how many targets are looked at side by side: each waits for the API server most of the time.
	workers = 8
	// requestTimeout bounds the reads, or the writes, of one look.
	requestTimeout = 10 * time.Second
	// firstRetry is the wait after the first look that is to be repeated, and between the first two writes of a target that
	// somebody else changes; it doubles up to Options.Interval.
	firstRetry = 50 * time.Millisecond
	// outageRetry is the longest wait for an API server that does not answer. It makes up for what was missed within ten seconds, and
	// asks little of a server that is in trouble.
	outageRetry = 5 * time.Second
	// followAfter is how much time a replica that does not lead leaves the leader to put a target right.
	followAfter = time.Second
)

// sourceLedger is what is known of the sources: see package ledger.
type sourceLedger interface {
	Latest(cabundle.Reference) ledger.Reading
	Read(context.Context, cabundle.Reference, cluster.Freshness, metrics.Path) ledger.Reading
	Follow(cabundle.Reference)
	Unfollow(cabundle.Reference)
	Forget(cabundle.Reference)
	Answered() time.Time
	Expiries() map[cabundle.Reference]time.Time
	Combine(cabundle.Reference, map[string]string) cabundle.Combine
}

// publisher publishes sources for admission policies: see package publish.
type publisher interface {
	Changed(cabundle.Reference)
	Fills(context.Context, cabundle.Reference, cabundle.Object) bool
	Fill(context.Context, cabundle.Reference, cabundle.Kind, publish.Readmit) (cabundle.Object, bool)
}

// unpublished is the publisher where nothing is published. As a Publisher does once nothing is stored of it any more, it has the ledger
// forget a source that no target names.
type unpublished struct{ ledger sourceLedger }

func (u unpublished) Changed(ref cabundle.Reference)                                { u.ledger.Forget(ref) }
func (unpublished) Fills(context.Context, cabundle.Reference, cabundle.Object) bool { return false }
func (unpublished) Fill(context.Context, cabundle.Reference, cabundle.Kind, publish.Readmit) (cabundle.Object, bool) {
	return cabundle.Object{}, false
}

type targetClient interface {
	Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error)
	Patch(context.Context, cabundle.Object, []jsonpatch.Operation) (cabundle.Object, error)
	Readmit(ctx context.Context, t cabundle.Target, byPolicy bool) (cabundle.Object, error)
	Called(context.Context, cabundle.Target) (bool, error)
	Disown(ctx context.Context, object cabundle.Object, injectors ...string) (cabundle.Object, error)
	Managers(context.Context, cabundle.Target) ([]cabundle.Manager, error)
}

// Options are all that can be set.
type Options struct {
	// Interval is the longest wait before something that could not be done is tried again, and the time between two sweeps.
	Interval time.Duration
	// Kinds are the kinds of target that are looked after; nil means all.
	Kinds []cabundle.Kind
	// Own are caject's own configurations: they are looked after whatever Kinds says.
	Own []cabundle.Target
	// Leads reports whether this is the replica that acts at once; nil means that it is.
	Leads func() bool
	// Webhook says that admission calls us for the kinds that are admitted.
	Webhook bool
	// Handshakes, if set, returns why TLS handshakes with callers fail on this replica, and what to do; empty if they do not.
	Handshakes func() (cause, remedy string)
	// Observe, if set, is called for each change of an object of those kinds and of those of Own, annotated or not. It must not
	// block.
	Observe func(cabundle.Target)
}

// Resync keeps targets right.
type Resync struct {
	options   Options
	ledger    sourceLedger
	publisher publisher
	targets   targetClient
	events    record.EventRecorder
	metrics   *metrics.Metrics
	clock     clock.WithTicker
	began     time.Time
	queue     *work.Queue[cabundle.Target]
	refills   *rate.Limiter // of fields that were wiped again and again
	tracker   *tracker
	webhook   *webhookWay
	watches   []*cluster.Watch[*metav1.PartialObjectMetadata] // set before Start
}

// New returns a Resync that works on targets through t. l tells it of changes from now on.
func New(o Options, l *ledger.Ledger, t targetClient, e record.EventRecorder, m *metrics.Metrics, c clock.WithTicker) *Resync {
	r := newResync(o, l, t, e, m, c)
	l.OnChange(r.sourceChanged)
	return r
}

func newResync(o Options, l sourceLedger, t targetClient, e record.EventRecorder, m *metrics.Metrics, c clock.WithTicker) *Resync {
	if o.Kinds == nil {
		o.Kinds = cabundle.Kinds()
	}
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	if o.Observe == nil {
		o.Observe = func(cabundle.Target) {}
	}
	if o.Handshakes == nil {
		o.Handshakes = func() (string, string) { return "", "" }
	}
	r := &Resync{
		options: o, ledger: l, publisher: unpublished{l}, targets: t, events: e, metrics: m, clock: c, began: c.Now(),
		queue:   work.NewQueue[cabundle.Target]("resync of targets", c),
		refills: rate.NewLimiter(refillsPerSecond, refillBurst),
		webhook: newWebhookWay(),
	}
	r.tracker = &tracker{
		ledger: l, publisher: unpublished{l}, queue: r.queue, clock: c, leads: o.Leads, own: r.own,
		states: map[cabundle.Target]*state{}, bySource: map[cabundle.Reference]map[cabundle.Target]*state{},
	}
	return r
}

// SetPublisher has p publish the sources of targets. It is called before Start.
func (r *Resync) SetPublisher(p publisher) { r.publisher, r.tracker.publisher = p, p }

// Start works until ctx ends.
func (r *Resync) Start(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { r.followWebhook(ctx) })
	beside.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.clock.After(r.options.Interval):
				r.tracker.sweep()
			}
		}
	})
	return r.queue.Run(ctx, workers, func(t cabundle.Target) []any { return []any{"kind", t.Kind, "name", t.Name} }, r.reconcile)
}

// sourceChanged takes in that the ledger knows something new of a source.
func (r *Resync) sourceChanged(ref cabundle.Reference) {
	r.tracker.sourceChanged(ref)
	r.publisher.Changed(ref)
	r.suspectWebhook()
}

// Elected says that this replica leads from now on: it does all that it has left to the leader before.
func (r *Resync) Elected() { r.tracker.sweep() }

// Summary returns what is known of the targets of ref, as source has it.
func (r *Resync) Summary(ref cabundle.Reference, source ledger.Reading) publish.Summary {
	return r.tracker.Summary(ref, source)
}

// wanted reports whether target is looked after.
func (r *Resync) wanted(target cabundle.Target) bool {
	return r.own(target) || slices.Contains(r.options.Kinds, target.Kind)
}

// own reports whether target is a configuration of caject's own.
func (r *Resync) own(target cabundle.Target) bool { return slices.Contains(r.options.Own, target) }

// Alive returns why resync is taken to hang, or nil: a healthz.Checker of controller-runtime.
func (r *Resync) Alive(request *http.Request) error { return r.queue.Alive(request) }
