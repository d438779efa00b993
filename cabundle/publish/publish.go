package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/setback"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/work"
)

const (
	// delay collects the changes of many targets in one write of the status. It also keeps it out of the way of the targets themselves.
	delay = 300 * time.Millisecond
	// followDelay is the delay of a replica that does not lead: by then the leader has written what is to be written.
	followDelay = 3 * time.Second
	// showEvery is how often a CABundle is written at most: people look at it, and each write is work for the API server.
	showEvery = 2 * time.Second
	// removeAfter is for how many intervals nothing must name a source until it counts as one that no target names.
	removeAfter = 10
	// workers is how many sources are published side by side: when many are new, their targets wait for it.
	workers = 16
	// maxTries bounds how often a write is tried that others get in the way of.
	maxTries = 5
	// outageRetry is when to try again to write what the API server did not take for want of anything but a right: as soon as resync does.
	outageRetry = 5 * time.Second
	// requestTimeout bounds the work on one source.
	requestTimeout = 10 * time.Second
	// DroppedReason is that of the Event about certificates that had to leave a bundle for want of room.
	DroppedReason = "CertificatesDropped"
)

// targets are what the publisher has to know of them.
type targets interface {
	// Summary returns what is known of the targets of ref, as source has it.
	Summary(ref cabundle.Reference, source ledger.Reading) Summary
	// Synced reports whether all targets are known.
	Synced() bool
}

// store is where the replicas keep what they share: see shards.Store.
type store interface {
	Synced() bool
	Get(cabundle.Reference) (shards.Entry, error)
	Put(ctx context.Context, ref cabundle.Reference, before, wanted shards.Entry) (shards.Entry, error)
	PutAhead(ctx context.Context, ref cabundle.Reference, before, wanted shards.Entry) (shards.Entry, error)
	Remove(ctx context.Context, ref cabundle.Reference, before shards.Entry) error
	Ahead() []cabundle.Reference
}

// Options are all that can be set.
type Options struct {
	// Interval is the time between two readings of a source.
	Interval time.Duration
	Rules    cabundle.Rules
	// Leads reports whether this is the replica that acts at once.
	Leads func() bool
	// Policy says that admission policies fill targets of PolicyKinds from what is published.
	Policy      bool
	PolicyKinds []cabundle.Kind
}

// Publisher keeps what is stored of each source that targets name. It is safe for concurrent use.
type Publisher struct {
	options Options
	store   store
	bundles bundles
	ledger  *ledger.Ledger
	targets targets
	events  record.EventRecorder
	clock   clock.WithTicker
	began   time.Time
	queue   *work.Queue[cabundle.Reference]
	hinted  *work.Queue[cabundle.Reference] // sources that no target names, and that may have changed
	budget  flowcontrol.PassiveRateLimiter  // of reads of those

	mu           sync.Mutex // guards what follows, and publications but for their writing
	publications map[cabundle.Reference]*publication
	waiting      sets.Set[cabundle.Reference] // of those in hinted that were not read yet
	failed       map[failure]setback.Setback  // of a policy that did not fill a kind from a source
	effects      map[cabundle.Kind]effect     // of policies, where they did not fill the last target
	unavailable  string                       // why nothing can be published; empty if it can
}

// New returns a Publisher that publishes what l knows. SetStore must be called before Start.
func New(o Options, b bundles, l *ledger.Ledger, t targets, e record.EventRecorder, c clock.WithTicker) *Publisher {
	return &Publisher{
		options: o, bundles: b, ledger: l, targets: t, events: e, clock: c, began: c.Now(),
		queue:        work.NewQueue[cabundle.Reference]("publishing", c),
		hinted:       work.NewQueue[cabundle.Reference]("publishing ahead", c),
		budget:       flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(aheadPerSecond, aheadBurst, c),
		publications: map[cabundle.Reference]*publication{},
		waiting:      sets.New[cabundle.Reference](),
		failed:       map[failure]setback.Setback{},
		effects:      map[cabundle.Kind]effect{},
	}
}

// SetStore has s keep what is published. s tells Stored what changes.
func (p *Publisher) SetStore(s store) { p.store = s }

// History returns what is stored of the history of a source: it is for ledger.Ledger.SetRecall.
func (p *Publisher) History(ref cabundle.Reference) cabundle.History {
	entry, err := p.store.Get(ref)
	if err != nil {
		return cabundle.History{}
	}
	return entry.History
}

// Changed has a source looked at soon: what is known of it, or of its targets, has changed. It does not block.
func (p *Publisher) Changed(ref cabundle.Reference) {
	if p.options.Leads() && p.unpublished(ref) { // its further targets wait for it
		p.queue.Add(ref)
		return
	}
	p.queue.AddAfter(ref, p.pause())
}

// pause is how long changes of a source are collected.
func (p *Publisher) pause() time.Duration {
	if !p.options.Leads() {
		return followDelay
	}
	return delay
}

// unpublished reports whether nothing is published of a source yet, as far as is known.
func (p *Publisher) unpublished(ref cabundle.Reference) bool {
	of := p.of(ref)
	p.mu.Lock()
	defer p.mu.Unlock()
	return of.fresh
}

// Start publishes until ctx ends.
func (p *Publisher) Start(ctx context.Context) error {
	name := func(ref cabundle.Reference) []any { return []any{"source", ref} }
	var working errgroup.Group
	working.Go(func() error { return p.queue.Run(ctx, workers, name, p.reconcile) })
	working.Go(func() error { return p.hinted.Run(ctx, 1, name, p.publishAhead) })
	working.Go(func() error { return p.expireAhead(ctx) })
	return working.Wait()
}

// reconcile brings what is stored and shown of a source up to date, and returns when to do so again; 0 means when something changes.
func (p *Publisher) reconcile(ctx context.Context, ref cabundle.Reference) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	of := p.of(ref)
	if !p.store.Synced() {
		return p.unsynced(ctx)
	}
	reading := p.ledger.Latest(ref)
	switch summary := p.targets.Summary(ref, reading); {
	case summary.Total > 0:
	case !p.targets.Synced():
		return delay
	case summary.Pending > 0:
		return 0 // until they are looked at
	default:
		return p.retire(ctx, ref, of)
	}
	if !reading.Consistent {
		if reading = p.ledger.Read(ctx, ref, cluster.Consistent, metrics.Resync); !reading.Consistent {
			return 0 // it does not answer; the ledger tries again, and says so
		}
	}
	of.writing.Lock()
	defer of.writing.Unlock()
	p.mu.Lock()
	of.unnamedSince = time.Time{}
	p.mu.Unlock()
	stored, reading, err := p.update(ctx, ref, of)
	wait := time.Duration(0)
	if err == nil {
		wait, err = p.showInTime(ctx, ref, of, stored, reading)
	}
	p.say(ctx, err)
	switch {
	case err != nil:
		return p.patience(err)
	case stored.Untidy():
		return shards.TidyAfter
	case wait == 0 && p.outlived(stored, ref, reading):
		return p.pause()
	}
	return wait
}

// patience returns when to try again after err.
func (p *Publisher) patience(err error) time.Duration {
	if unavailable(err) {
		return p.options.Interval
	}
	return min(outageRetry, p.options.Interval)
}

// unavailable reports whether err says that nothing can be published until somebody changes rights or kinds of the cluster.
func unavailable(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

// unsynced returns when to try again as long as it is not known what is stored. If that lasts, it will last longer.
func (p *Publisher) unsynced(ctx context.Context) time.Duration {
	if p.clock.Since(p.began) < p.options.Interval {
		return delay
	}
	p.say(ctx, shards.ErrNotSynced)
	return p.options.Interval
}

// errStale says that a source could not be read again, as what others have stored of it asks for.
var errStale = errors.New("others know the source better; it is to be read again")

// update stores what is known of a source, if that is not what is stored. It returns what is stored then, and the reading that this
// came from. The caller holds of.writing.
func (p *Publisher) update(ctx context.Context, ref cabundle.Reference, of *publication) (stored shards.Entry, reading ledger.Reading, err error) {
	for range maxTries {
		if stored, err = p.known(ref, of); err != nil {
			return shards.Entry{}, reading, err
		}
		if _, stale := p.ledger.Learn(ref, stored.History); stale {
			p.ledger.Read(ctx, ref, cluster.Consistent, metrics.Resync)
			if _, stale = p.ledger.Learn(ref, stored.History); stale {
				return shards.Entry{}, reading, errStale
			}
		}
		reading = p.ledger.Latest(ref)
		if reading.Version == 0 && stored.Named() && !p.options.Leads() {
			// It is from this process's own files or flags, and nobody can tell whose is newer: that of the leader counts.
			p.took(of, stored, nil, reading.Revision)
			return stored, reading, nil
		}
		next, dropped := wanted(p.clock.Now(), p.options.Rules, stored, reading, p.targets.Summary(ref, reading), p.targets.Synced())
		put, err := p.store.Put(ctx, ref, stored, next)
		p.took(of, put, err, reading.Revision)
		if err == nil {
			if dropped > 0 {
				log.FromContext(ctx).Info("Dropped the oldest certificates of a bundle, to keep it small", "certificates", dropped)
				p.sayDropped(ref, of, dropped)
			}
			return put, reading, nil
		}
		if !apierrors.IsConflict(err) {
			return shards.Entry{}, reading, err
		}
	}
	return shards.Entry{}, reading, fmt.Errorf("publish %s: others changed it %d times in a row", ref, maxTries)
}

// say logs once that nothing can be published, and why, and once that it can again.
func (p *Publisher) say(ctx context.Context, err error) {
	now := ""
	switch {
	case err == nil:
	case errors.Is(err, shards.ErrNotSynced): // the watch says why
		now = err.Error()
	case unavailable(err):
		now = string(apierrors.ReasonForError(err))
	default:
		log.FromContext(ctx).V(1).Info("Not published", "error", err.Error())
		return
	}
	p.mu.Lock()
	before := p.unavailable
	p.unavailable = now
	p.mu.Unlock()
	switch {
	case now == before:
	case now != "":
		log.FromContext(ctx).Info("Nothing can be published: resync writes targets by itself", "reason", err.Error())
	default:
		log.FromContext(ctx).Info("Sources can be published again")
	}
}

// Alive returns why publishing is taken to hang, or nil: a healthz.Checker of controller-runtime.
func (p *Publisher) Alive(r *http.Request) error {
	return errors.Join(p.queue.Alive(r), p.hinted.Alive(r))
}
