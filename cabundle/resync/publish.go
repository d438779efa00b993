package resync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/source"
	"github.com/caject/caject/cabundle/v1alpha1"
)

const (
	// statusDelay collects the changes of many targets in one write of the status.
	statusDelay = 100 * time.Millisecond
	// removeAfter is for how many intervals nothing must name a source until its CABundle is removed.
	removeAfter = 10
	// publishTries bounds how often a write is tried that others get in the way of.
	publishTries = 5
)

// publisher keeps one CABundle for each source that targets name. Nothing depends on it: it makes the policy possible,
// and shows people what is the matter.
type publisher struct {
	client  client.Client // not backed by a cache
	sources sourceReader
	tracker *tracker
	options *Options
	clock   clock.Clock

	mu           sync.Mutex
	queue        workqueue.TypedRateLimitingInterface[cabundle.Reference]
	publications map[cabundle.Reference]*publication
	unavailable  string // why nothing can be published; empty if it can
}

// publication is what is known of one CABundle.
type publication struct {
	writing sync.Mutex // held while it is written, which can take as long as the API server takes
	mu      sync.Mutex // of what follows; never held while anything is waited for

	object *v1alpha1.CABundle // as it was last seen; nil if that is not known
	absent bool               // it was last seen not to exist
	// own is what caject itself last published. What somebody else writes there must not become part of it.
	own *cabundle.Published

	last reading

	trying    sync.Mutex // held by the one target that tries whether the policy sees the new value
	effective string     // the value that it was last seen to fill in

	unnamedSince time.Time // when the last target was gone; zero while there are some
}

// reading is what a source was last read to be, consistently.
type reading struct {
	read    bool
	bundle  cabundle.Bundle
	problem *cabundle.Problem
}

func newPublisher(c client.Client, s sourceReader, t *tracker, o *Options, clk clock.Clock) *publisher {
	return &publisher{client: c, sources: s, tracker: t, options: o, clock: clk, publications: map[cabundle.Reference]*publication{}}
}

// of returns the publication of a source.
func (p *publisher) of(ref cabundle.Reference) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.publications[ref]
	if !ok {
		found = &publication{}
		p.publications[ref] = found
	}
	return found
}

// changed has a source's CABundle looked at soon.
func (p *publisher) changed(ref cabundle.Reference) {
	if p == nil || ref == (cabundle.Reference{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue != nil {
		p.queue.AddAfter(ref, statusDelay)
	}
}

// note takes in what a consistent read of a source came to.
func (p *publisher) note(ref cabundle.Reference, bundle cabundle.Bundle, problem *cabundle.Problem) {
	if p == nil || problem != nil && problem.Outage() {
		return
	}
	of := p.of(ref)
	of.mu.Lock()
	same := of.last.read && outcomeOf(bundle, problem) == outcomeOf(of.last.bundle, of.last.problem)
	of.last = reading{true, bundle, problem}
	of.mu.Unlock()
	if !same {
		p.changed(ref)
	}
}

// published returns what is published of ref, as far as is known.
func (p *publisher) published(ref cabundle.Reference) cabundle.Published {
	if p == nil {
		return cabundle.Published{}
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.before()
}

// takeTurn has one of many targets try until the policy sees what was published, and lets the others wait: then they need
// try only once. The caller calls what it returns when it has tried.
func (p *publisher) takeTurn(ref cabundle.Reference) (done func()) {
	of := p.of(ref)
	of.trying.Lock()
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.effective == of.before().CABundle {
		of.trying.Unlock()
		return func() {}
	}
	return of.trying.Unlock
}

// setEffective says that the policy has filled in what is published.
func (p *publisher) setEffective(ref cabundle.Reference) {
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	of.effective = of.before().CABundle
}

// before returns what was published last: by this process, or else by one before it.
func (of *publication) before() cabundle.Published {
	if of.own != nil {
		return *of.own
	}
	return specOf(of.object)
}

// source returns what the source was last read to be, consistently; ok is false if that is not known.
func (p *publisher) source(ref cabundle.Reference) (bundle cabundle.Bundle, problem *cabundle.Problem, ok bool) {
	if p == nil {
		return cabundle.Bundle{}, nil, false
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.last.bundle, of.last.problem, of.last.read
}

func specOf(object *v1alpha1.CABundle) cabundle.Published {
	if object == nil {
		return cabundle.Published{}
	}
	return cabundle.Published{CABundle: object.Spec.CABundle, Replaces: object.Spec.Replaces}
}

// known returns what is known of the CABundle and its source.
func (of *publication) known() (object *v1alpha1.CABundle, absent bool, last reading) {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.object, of.absent, of.last
}

// seen takes in what is stored; nil means that it is to be read.
func (of *publication) seen(object *v1alpha1.CABundle, absent bool) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.object, of.absent = object, absent
}

// Reconcile brings the CABundle of a source up to date, or removes it. Its error is always nil.
func (p *publisher) Reconcile(ctx context.Context, ref cabundle.Reference) (reconcile.Result, error) {
	of := p.of(ref)
	of.writing.Lock()
	defer of.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	targets := p.tracker.of(ref)
	if len(targets) == 0 {
		return p.remove(ctx, ref, of), nil
	}
	of.unnamedSince = time.Time{}
	if _, _, last := of.known(); !last.read {
		bundle, problem := source.ReadSafely(ctx, p.sources, ref, source.Consistent)
		if problem != nil && problem.Outage() {
			return reconcile.Result{RequeueAfter: p.options.Interval}, nil
		}
		of.mu.Lock()
		of.last = reading{true, bundle, problem}
		of.mu.Unlock()
		// Another replica may have known of it first.
		outcome := outcomeOf(bundle, problem)
		p.tracker.refresh(ref, "", true, func(s state) bool { return s.outcome != "" && s.outcome != outcome })
	}
	err := p.write(ctx, ref, of, targets, true)
	if err == nil {
		err = p.writeStatus(ctx, of, targets)
	}
	p.say(ctx, err)
	if err != nil {
		return reconcile.Result{RequeueAfter: p.options.Interval}, nil
	}
	return reconcile.Result{}, nil
}

// ensure brings the spec up to date at once, before targets are to be filled from it. It reports whether that is so.
func (p *publisher) ensure(ctx context.Context, ref cabundle.Reference) bool {
	of := p.of(ref)
	of.writing.Lock()
	defer of.writing.Unlock()
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
		desired := &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}}
		if !absent {
			desired = object.DeepCopy()
		}
		spec, dropped := cabundle.Publish(p.clock.Now(), p.published(ref), last.bundle, last.problem, p.options.Combine)
		if tidy && len(spec.Replaces) > 0 && injected(targets, last) == len(targets) {
			spec.Replaces = nil
		}
		desired.Spec = v1alpha1.CABundleSpec{Source: ref.String(), CABundle: spec.CABundle, Replaces: spec.Replaces}
		label(desired, targets, problemOf(p.clock.Now(), last) != nil)
		var err error
		switch {
		case absent:
			err = p.client.Create(ctx, desired)
		case object.Spec.Source != desired.Spec.Source: // it cannot be changed
			err = p.client.Delete(ctx, desired, client.Preconditions{UID: &desired.UID})
			if err == nil {
				of.seen(nil, false)
				continue
			}
		case equality.Semantic.DeepEqual(object, desired):
		default:
			err = p.client.Update(ctx, desired)
		}
		if err == nil {
			of.mu.Lock()
			of.object, of.absent, of.own = desired, false, &spec
			of.mu.Unlock()
			if dropped > 0 {
				log.FromContext(ctx).Info("Dropped the oldest certificates of a bundle, to keep it small", "source", ref, "certificates", dropped)
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

// get reads the object, unless it is known.
func (p *publisher) get(ctx context.Context, ref cabundle.Reference, of *publication) error {
	if object, absent, _ := of.known(); object != nil || absent {
		return nil
	}
	object := &v1alpha1.CABundle{}
	err := p.client.Get(ctx, client.ObjectKey{Name: ref.PublishedName()}, object)
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

// writeStatus brings the status up to date. The object is known.
func (p *publisher) writeStatus(ctx context.Context, of *publication, targets map[cabundle.Target]state) error {
	object, _, last := of.known()
	desired := object.DeepCopy()
	setStatus(p.clock.Now(), desired, last, targets)
	if equality.Semantic.DeepEqual(object.Status, desired.Status) {
		return nil
	}
	if err := p.client.Status().Update(ctx, desired); err != nil {
		of.seen(nil, false)
		return err
	}
	of.seen(desired, false)
	return nil
}

// setStatus sets the status of object as it should be at now.
func setStatus(now time.Time, object *v1alpha1.CABundle, last reading, targets map[cabundle.Target]state) {
	condition := metav1.Condition{
		Type: v1alpha1.Ready, Status: metav1.ConditionTrue, ObservedGeneration: object.Generation,
		Reason: "Published", Message: "the source can be injected",
	}
	if problem := problemOf(now, last); problem != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, string(problem.Reason), problem.Error()
	}
	status := &object.Status
	meta.SetStatusCondition(&status.Conditions, condition)
	status.Targets, status.Injected = int32(len(targets)), int32(injected(targets, last))
	status.Expires = nil
	if expires := last.bundle.FirstExpiry(); !expires.IsZero() {
		status.Expires = &metav1.Time{Time: expires.Truncate(time.Second)}
	}
	var certificates []v1alpha1.Certificate
	for _, certificate := range specOf(object).Bundle().Certificates() {
		sum := sha256.Sum256(certificate.Raw)
		entry := v1alpha1.Certificate{
			Subject:     certificate.Subject.String(),
			Fingerprint: hex.EncodeToString(sum[:]),
			NotAfter:    metav1.Time{Time: certificate.NotAfter},
		}
		if !slices.ContainsFunc(last.bundle.Certificates(), certificate.Equal) {
			entry.LastSeen = &metav1.Time{Time: now.Truncate(time.Second)}
			for _, before := range status.Certificates {
				if before.Fingerprint == entry.Fingerprint && before.LastSeen != nil {
					entry.LastSeen = before.LastSeen
				}
			}
		}
		certificates = append(certificates, entry)
	}
	status.Certificates = certificates
}

// problemOf returns why the source cannot be injected, or nil.
func problemOf(now time.Time, last reading) *cabundle.Problem {
	if last.problem == nil && last.bundle.Unexpired(now).Empty() {
		return cabundle.Expired(last.bundle)
	}
	return last.problem
}

// injected returns how many of targets hold what the source was last read to be.
func injected(targets map[cabundle.Target]state, last reading) int {
	n := 0
	for _, s := range targets {
		if s.looked && s.problem == "" && s.checked == s.version && !s.stale() && s.outcome == outcomeOf(last.bundle, last.problem) {
			n++
		}
	}
	return n
}

// label says which kinds of target there are, for the policies to select by.
func label(object *v1alpha1.CABundle, targets map[cabundle.Target]state, notReady bool) {
	webhooks, others := false, false
	for target := range targets {
		webhooks = webhooks || !target.Kind.FilledAtAdmission()
		others = others || target.Kind.FilledAtAdmission()
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
	if err := client.IgnoreNotFound(p.client.Delete(ctx, object)); err != nil {
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
	if err := p.client.Update(ctx, desired); err != nil {
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

// see takes in a CABundle as the watch shows it.
func (p *publisher) see(o any) {
	if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	object, ok := o.(*v1alpha1.CABundle)
	if !ok {
		return
	}
	ref, ok := cabundle.ParsePublishedSource(object.Spec.Source)
	if !ok || ref.PublishedName() != object.Name {
		if ref, ok = p.named(object.Name); !ok {
			return
		}
	}
	of := p.of(ref)
	// What is being written at the moment is known only then.
	of.writing.Lock()
	of.mu.Lock()
	ours := of.object != nil && of.object.ResourceVersion == object.ResourceVersion && object.DeletionTimestamp.IsZero()
	if !ours {
		// Another replica, or somebody else: both are read again, and what should be there is made of what this one knows.
		of.object, of.absent, of.last.read = nil, false, false
	}
	of.mu.Unlock()
	of.writing.Unlock()
	if !ours {
		p.changed(ref)
	}
}

// named returns the source whose CABundle has the given name.
func (p *publisher) named(name string) (cabundle.Reference, bool) {
	for _, ref := range p.tracker.references() {
		if ref.PublishedName() == name {
			return ref, true
		}
	}
	return cabundle.Reference{}, false
}

// watch has all CABundles seen.
func (p *publisher) watch(ctx context.Context, informers cache.Informers) error {
	informer, err := informers.GetInformer(ctx, &v1alpha1.CABundle{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch CABundles: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    p.see,
		UpdateFunc: func(_, o any) { p.see(o) },
		DeleteFunc: func(o any) {
			if object, ok := o.(*v1alpha1.CABundle); ok {
				o = object.DeepCopy()
				o.(*v1alpha1.CABundle).ResourceVersion = "" // gone, whatever we knew
			}
			p.see(o)
		},
	})
	return err
}

// SetupWithManager adds the watch and the worker to mgr.
func (p *publisher) SetupWithManager(mgr manager.Manager, leader *bool) error {
	c, err := controller.NewTyped("publish", mgr, controller.TypedOptions[cabundle.Reference]{
		Reconciler:         p,
		NeedLeaderElection: leader,
		LogConstructor:     publishLogConstructor(mgr.GetLogger()),
	})
	if err != nil {
		return fmt.Errorf("set up publishing: %w", err)
	}
	return c.Watch(crsource.TypedFunc[cabundle.Reference](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[cabundle.Reference]) error {
		p.mu.Lock()
		p.queue = queue
		p.mu.Unlock()
		for _, ref := range p.tracker.references() {
			p.changed(ref)
		}
		return p.watch(ctx, mgr.GetCache())
	}))
}

// publishLogConstructor names the source in each line about it.
func publishLogConstructor(base logr.Logger) func(*cabundle.Reference) logr.Logger {
	return func(ref *cabundle.Reference) logr.Logger {
		if ref == nil {
			return base
		}
		return base.WithValues("source", *ref)
	}
}
