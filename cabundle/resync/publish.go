package resync

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/alive"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

const (
	// statusDelay collects the changes of many targets in one write of the status.
	// It also keeps it out of the way of the targets themselves.
	statusDelay = 300 * time.Millisecond
	// removeAfter is for how many intervals nothing must name a source until its CABundle is removed.
	removeAfter = 10
	// publishWorkers is how many sources are published side by side: when many are new, their targets wait for it.
	publishWorkers = 4
	// publishTries bounds how often a write is tried that others get in the way of.
	publishTries = 5
)

// publisher keeps one CABundle for each source that targets name. Nothing depends on it: it makes the policy possible,
// and shows people what is the matter.
type publisher struct {
	bundles bundles
	sources sourceReader
	tracker *tracker
	options *Options
	work    *alive.Loop
	events  record.EventRecorder
	clock   clock.Clock

	mu           sync.Mutex
	queue        workqueue.TypedRateLimitingInterface[cabundle.Reference]
	publications map[cabundle.Reference]*publication
	unavailable  string // why nothing can be published; empty if it can
}

func newPublisher(b bundles, s sourceReader, t *tracker, o *Options, e record.EventRecorder, clk clock.Clock) *publisher {
	return &publisher{
		bundles: b, sources: s, tracker: t, options: o, events: e, clock: clk,
		work:         alive.NewLoop("publishing", hangs, 0, clk),
		publications: map[cabundle.Reference]*publication{},
	}
}

// changed has a source's CABundle looked at soon.
func (p *publisher) changed(ref cabundle.Reference) {
	if p == nil || ref == (cabundle.Reference{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue != nil {
		delay := statusDelay
		if !p.options.leads() {
			delay = followStatusAfter
		}
		p.queue.AddAfter(ref, delay)
	}
}

// Reconcile brings the CABundle of a source up to date, or removes it. Its error is always nil.
func (p *publisher) Reconcile(ctx context.Context, ref cabundle.Reference) (reconcile.Result, error) {
	defer p.work.Turn()()
	of := p.of(ref)
	of.writing.Lock()
	defer of.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if len(p.tracker.of(ref)) == 0 {
		return p.remove(ctx, ref, of), nil
	}
	of.unnamedSince = time.Time{}
	if _, _, last := of.known(); !last.read {
		turns := p.begin(ref)
		bundle, problem := readSource(ctx, p.sources, ref, cluster.Consistent)
		if problem != nil && problem.Outage() {
			return reconcile.Result{RequeueAfter: p.options.Interval}, nil
		}
		of.mu.Lock()
		of.take(turns, reading{true, bundle, problem})
		certain := of.last.read
		of.mu.Unlock()
		if !certain {
			return reconcile.Result{RequeueAfter: statusDelay}, nil
		}
		// Another replica may have known of it first.
		outcome := outcomeOf(bundle, problem)
		p.tracker.refresh(ref, "", true, func(s state) bool { return differs(s.outcome, outcome) })
	}
	err := p.bringUpToDate(ctx, ref, of)
	p.say(ctx, err)
	if err != nil {
		return reconcile.Result{RequeueAfter: p.options.Interval}, nil
	}
	return reconcile.Result{}, nil
}

// bringUpToDate writes spec and status, if they are not as they should be. The caller holds of.writing.
func (p *publisher) bringUpToDate(ctx context.Context, ref cabundle.Reference, of *publication) error {
	if err := p.get(ctx, ref, of); err != nil {
		return err
	}
	p.retire(ref, of)
	targets := p.tracker.of(ref)
	if err := p.write(ctx, ref, of, targets, true); err != nil {
		return err
	}
	return p.writeStatus(ctx, of, targets)
}

// ensure brings the spec up to date at once, before targets are to be filled from it. It reports whether that is so.
func (p *publisher) ensure(ctx context.Context, ref cabundle.Reference) bool {
	of := p.of(ref)
	of.writing.Lock()
	defer of.writing.Unlock()
	if of.upToDate() {
		return p.published(ref).CABundle != ""
	}
	if _, _, last := of.known(); !last.read {
		return false
	}
	err := p.write(ctx, ref, of, p.tracker.of(ref), false)
	p.say(ctx, err)
	return err == nil && p.published(ref).CABundle != ""
}

// write brings the spec up to date; tidy says to drop former values that no target holds any more. The caller holds
// of.writing.
func (p *publisher) write(ctx context.Context, ref cabundle.Reference, of *publication, targets map[cabundle.Target]state, tidy bool) error {
	for range publishTries {
		if err := p.get(ctx, ref, of); err != nil {
			return err
		}
		object, absent, last := of.known()
		desired, spec, dropped := p.desired(ref, of, targets, tidy)
		var err error
		switch {
		case absent:
			err = p.bundles.Create(ctx, desired)
		case object.Spec.Source != desired.Spec.Source: // it cannot be changed
			err = p.bundles.Delete(ctx, desired)
			if err == nil {
				of.seen(nil, false)
				continue
			}
		case equality.Semantic.DeepEqual(object, desired):
		default:
			err = p.bundles.Update(ctx, desired)
		}
		if err == nil {
			of.mu.Lock()
			of.object, of.absent, of.own = desired, false, &spec
			of.written = outcomeOf(of.last.bundle, of.last.problem) == outcomeOf(last.bundle, last.problem)
			of.mu.Unlock()
			if dropped > 0 {
				log.FromContext(ctx).Info("Dropped the oldest certificates of a bundle, to keep it small", "certificates", dropped)
				p.events.Event(desired, corev1.EventTypeWarning, droppedReason, cabundle.DroppedMessage(dropped))
			}
			return nil
		}
		of.seen(nil, false)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !(apierrors.IsNotFound(err) && desired.UID != "") {
			return err
		}
	}
	return fmt.Errorf("write CABundle %s: others changed it %d times in a row", ref.PublishedName(), publishTries)
}

// desired returns the object as it should be, and how many certificates were dropped from it for want of room.
func (p *publisher) desired(ref cabundle.Reference, of *publication, targets map[cabundle.Target]state, tidy bool) (*v1alpha1.CABundle, cabundle.Published, int) {
	object, absent, last := of.known()
	desired := &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}}
	if !absent {
		desired = object.DeepCopy()
	}
	spec, dropped := cabundle.Publish(p.clock.Now(), p.published(ref), last.bundle, last.problem, p.combine(ref))
	if tidy && len(spec.Replaces) > 0 && injected(targets, last) == len(targets) {
		spec.Replaces = nil
	}
	desired.Spec = v1alpha1.CABundleSpec{Source: ref.String(), CABundle: spec.CABundle, Replaces: spec.Replaces}
	label(desired, targets, problemOf(p.clock.Now(), last) != nil)
	return desired, spec, dropped
}

// get reads the object, unless it is known.
func (p *publisher) get(ctx context.Context, ref cabundle.Reference, of *publication) error {
	if object, absent, _ := of.known(); object != nil || absent {
		return nil
	}
	object, err := p.bundles.Get(ctx, ref.PublishedName())
	switch {
	case err == nil:
		of.seen(object, false)
	case apierrors.IsNotFound(err):
		of.seen(nil, true)
	default:
		return err
	}
	return nil
}

// label says which kinds of target there are, for the policies to select by.
func label(object *v1alpha1.CABundle, targets map[cabundle.Target]state, notReady bool) {
	webhooks, others := false, false
	for target := range targets {
		webhooks = webhooks || !target.Kind.Admitted()
		others = others || target.Kind.Admitted()
	}
	for key, wanted := range map[string]bool{
		v1alpha1.WebhookTargetsLabel: webhooks, v1alpha1.OtherTargetsLabel: others, v1alpha1.NotReadyLabel: notReady,
	} {
		if wanted {
			metav1.SetMetaDataLabel(&object.ObjectMeta, key, "true")
		} else {
			delete(object.Labels, key)
		}
	}
}

// remove removes the CABundle of a source that no target has named for a while.
func (p *publisher) remove(ctx context.Context, ref cabundle.Reference, of *publication) reconcile.Result {
	if of.unnamedSince.IsZero() {
		of.unnamedSince = p.clock.Now()
		if err := p.unlabel(ctx, ref, of); err != nil {
			log.FromContext(ctx).V(1).Info("CABundle not taken from the policies", "error", err.Error())
		}
	}
	of.mu.Lock()
	of.last.read = false // it is not followed any more
	of.mu.Unlock()
	if left := removeAfter*p.options.Interval - p.clock.Since(of.unnamedSince); left > 0 {
		return reconcile.Result{RequeueAfter: left}
	}
	object := &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}}
	if err := client.IgnoreNotFound(p.bundles.Delete(ctx, object)); err != nil {
		p.say(ctx, err)
		return reconcile.Result{RequeueAfter: p.options.Interval}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.publications, ref)
	return reconcile.Result{}
}

// unlabel has no policy select the CABundle any more: each that is selected costs every write of a target.
func (p *publisher) unlabel(ctx context.Context, ref cabundle.Reference, of *publication) error {
	if err := p.get(ctx, ref, of); err != nil {
		return err
	}
	object, absent, _ := of.known()
	if absent || len(object.Labels) == 0 {
		return nil
	}
	desired := object.DeepCopy()
	label(desired, nil, false)
	if err := p.bundles.Update(ctx, desired); err != nil {
		of.seen(nil, false)
		return err
	}
	of.seen(desired, false)
	return nil
}

// say logs once that nothing can be published, and why, and once that it can again.
func (p *publisher) say(ctx context.Context, err error) {
	now := ""
	switch {
	case err == nil:
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		now = string(apierrors.ReasonForError(err))
	default:
		log.FromContext(ctx).V(1).Info("CABundle not written", "error", err.Error())
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now == p.unavailable {
		return
	}
	p.unavailable = now
	if now != "" {
		log.FromContext(ctx).Info("CABundles cannot be published: resync writes webhook configurations by itself", "reason", err.Error())
	} else {
		log.FromContext(ctx).Info("CABundles can be published again")
	}
}
