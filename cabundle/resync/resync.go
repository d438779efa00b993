// Package resync keeps targets right over time, whatever happened at admission: it is the one way of delivery that
// correctness rests on.
//
// It watches the metadata of the four target kinds (never a Secret), and looks at an annotated object when it has
// changed, when its source has changed, or when the last look ended with "not yet". A periodic loop reads each
// referenced source once and so follows a rotated CA.
package resync

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/alive"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	// workers is how many targets are looked at side by side: each waits for the API server most of the time.
	workers = 8
	// requestTimeout bounds one request to the API server.
	requestTimeout = 10 * time.Second
	// firstRetry is the wait after the first "not yet", and between the first two writes of a target; it doubles up to
	// Options.Interval.
	firstRetry = 50 * time.Millisecond
	// outageRetry is the most that is waited for an API server that does not answer. It gives back what was missed within ten
	// seconds, and asks little of a server that is in trouble.
	outageRetry = 5 * time.Second
	// followAfter is how much time a replica that does not lead leaves the leader to put a target right, and followStatusAfter
	// to bring a CABundle up to date.
	followAfter       = time.Second
	followStatusAfter = 3 * time.Second
	// hangs is how long one target, or one round of the periodic loop, can take at most: some requests of requestTimeout.
	hangs = 2 * time.Minute
)

type sourceReader interface {
	Read(context.Context, cabundle.Reference, cluster.Freshness) cabundle.Reading
}

// readSource reads ref from s.
func readSource(ctx context.Context, s sourceReader, ref cabundle.Reference, freshness cluster.Freshness) (cabundle.Bundle, *cabundle.Problem) {
	reading := s.Read(ctx, ref, freshness)
	return reading.Bundle, reading.Problem
}

type targetClient interface {
	Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error)
	Patch(context.Context, cabundle.Object, []jsonpatch.Operation) (metav1.ObjectMeta, error)
	Readmit(ctx context.Context, t cabundle.Target, byPolicy bool) (cabundle.Object, error)
	Disown(context.Context, cabundle.Target, metav1.ObjectMeta) (metav1.ObjectMeta, error)
	Managers(context.Context, cabundle.Target) ([]cabundle.Manager, error)
}

// Options are all that can be set.
type Options struct {
	// Interval is the time between two readings of each referenced source, and the most that "not yet" waits.
	Interval time.Duration
	// Kinds are the kinds of target that are looked after; nil means all.
	Kinds []cabundle.Kind
	// Combine says what becomes of the certificates that a caBundle holds already; nil means cabundle.Merge.
	Combine cabundle.Combine
	// Own are caject's own configurations: they are looked after whatever Kinds says.
	Own []cabundle.Target
	// LeaderElection says that only the manager's leader looks after targets. Else every replica does: writes are
	// guarded, so two that do the same do no harm.
	LeaderElection bool
	// Leads, if set, says whether this is the replica that acts at once. The others act on what is still wrong followAfter
	// later, and tell nobody of it.
	Leads func() bool
	// Publish, if set, is the client by which each source's bundle is published as a CABundle. It has no cache behind it.
	Publish client.Client
	// RetireAfter is how long after a certificate was last seen in its source it leaves the targets, expired or not; 0 means
	// never. Without Publish nothing remembers when that was.
	RetireAfter time.Duration
	// Policy says that an admission policy fills webhook configurations from CABundles.
	Policy bool
	// Webhook says that admission calls us for the other kinds.
	Webhook bool
	// Observe, if set, is called for each change of an object of those kinds and of those of Own, annotated or not. It must not
	// block.
	Observe func(cabundle.Target)
}

// Resync keeps targets right.
type Resync struct {
	options   Options
	sources   sourceReader
	targets   targetClient
	events    record.EventRecorder
	metrics   *metrics.Metrics
	clock     clock.Clock
	began     time.Time
	tracker   *tracker
	hints     hints
	publisher *publisher // nil if nothing is published
	// policyFailed is when a policy was last found not to fill a target, in nanoseconds since 1970.
	policyFailed atomic.Int64
	watchErrors  *watchErrors
	missed       chan struct{} // tells the periodic loop that a source could not be read when it may have changed
	work, rounds *alive.Loop
	retries      workqueue.TypedRateLimiter[cabundle.Target]
	writes       workqueue.TypedRateLimiter[cabundle.Target]
}

// New returns a Resync that reads sources from s and works on targets through t.
func New(o Options, s sourceReader, t targetClient, e record.EventRecorder, m *metrics.Metrics, c clock.Clock) *Resync {
	if o.Kinds == nil {
		o.Kinds = cabundle.Kinds()
	}
	if o.Combine == nil {
		o.Combine = cabundle.Merge
	}
	if o.Observe == nil {
		o.Observe = func(cabundle.Target) {}
	}
	r := &Resync{
		options:     o,
		sources:     s,
		targets:     t,
		events:      e,
		metrics:     m,
		clock:       c,
		began:       c.Now(),
		tracker:     newTracker(),
		hints:       hints{current: map[cabundle.Reference]*hint{}},
		watchErrors: newWatchErrors(logr.Discard(), c),
		missed:      make(chan struct{}, 1),

		work:    alive.NewLoop("resync of targets", hangs, 0, c),
		rounds:  alive.NewLoop("the periodic resync", hangs, time.Duration(float64(o.Interval)*(1+jitter)), c),
		retries: workqueue.NewTypedItemExponentialFailureRateLimiter[cabundle.Target](firstRetry, o.Interval),
		writes:  workqueue.NewTypedItemExponentialFailureRateLimiter[cabundle.Target](firstRetry, o.Interval),
	}
	if o.Publish != nil {
		r.publisher = newPublisher(cluster.NewBundles(o.Publish), s, r.tracker, &r.options, e, c)
		r.tracker.changed = r.publisher.changed
	}
	return r
}

// SetObserver sets Options.Observe, for an observer that is made of r. Call it before SetupWithManager.
func (r *Resync) SetObserver(observe func(cabundle.Target)) { r.options.Observe = observe }

// SetupWithManager adds the watches, the workers and the periodic loop to mgr.
func (r *Resync) SetupWithManager(mgr manager.Manager) error {
	c, err := controller.NewTyped("resync", mgr, controller.TypedOptions[cabundle.Target]{
		Reconciler:              r,
		MaxConcurrentReconciles: workers,
		NeedLeaderElection:      &r.options.LeaderElection,
		LogConstructor:          logConstructor(mgr.GetLogger()),
	})
	if err != nil {
		return fmt.Errorf("set up resync: %w", err)
	}
	objects, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("set up resync: %w", err)
	}
	r.watchErrors.log = mgr.GetLogger()
	watch := func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[cabundle.Target]) error {
		r.tracker.setQueue(queue)
		for _, kind := range cabundle.Kinds() {
			own := slices.ContainsFunc(r.options.Own, func(t cabundle.Target) bool { return t.Kind == kind })
			if !own && !slices.Contains(r.options.Kinds, kind) {
				continue
			}
			go r.watch(ctx, objects, kind)
		}
		return nil
	}
	if err := c.Watch(crsource.TypedFunc[cabundle.Target](watch)); err != nil {
		return fmt.Errorf("set up resync: %w", err)
	}
	if r.publisher != nil {
		if err := r.publisher.SetupWithManager(mgr, &r.options.LeaderElection, r.watchErrors); err != nil {
			return err
		}
	}
	return mgr.Add(&loop{run: r.loop, leader: r.options.LeaderElection})
}
