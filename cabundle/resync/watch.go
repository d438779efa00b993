package resync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/caject/caject/cabundle"
)

// CacheOptions returns the options of the manager's cache: it holds of each object no more than the watch needs, logs
// a watch that goes on to fail, and refuses to start watching anything that is not asked for here.
func CacheOptions(log logr.Logger) cache.Options {
	return cache.Options{
		DefaultTransform:            strip,
		DefaultWatchErrorHandler:    (&watchErrors{log: log, clock: clock.RealClock{}, refusals: map[string]refusal{}}).handle,
		ReaderFailOnMissingInformer: true,
	}
}

// strip keeps of an object's metadata what see reads, so that the cache is small whatever the cluster's objects carry.
func strip(o any) (any, error) {
	object, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	kept := metav1.ObjectMeta{
		Name:              object.Name,
		UID:               object.UID,
		ResourceVersion:   object.ResourceVersion,
		Generation:        object.Generation,
		DeletionTimestamp: object.DeletionTimestamp,
	}
	for key, value := range object.Annotations {
		if cabundle.AsksForInjection(key) {
			metav1.SetMetaDataAnnotation(&kept, key, value)
		}
	}
	object.ObjectMeta = kept
	return object, nil
}

// watch follows the metadata of all objects of kind. It does not wait for the first list, so that a kind that
// cannot be watched (no right to, not served) does not hold up the others.
func (r *Resync) watch(ctx context.Context, informers cache.Informers, kind cabundle.Kind) error {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind.GroupVersionKind())
	informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch %s: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(o any, initial bool) { r.see(kind, o, !initial) },
		UpdateFunc: func(_, o any) { r.see(kind, o, true) },
		DeleteFunc: func(o any) { r.gone(kind, o) },
	})
	return err
}

// see takes in an object as the watch shows it; changed is false for what was there when the watch began.
func (r *Resync) see(kind cabundle.Kind, o any, changed bool) {
	object, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	target := cabundle.Target{Kind: kind, Name: object.Name}
	ref, annotated, problem := cabundle.ReferenceOf(object.Annotations)
	seen := version(object.Generation, object.ResourceVersion, ref)
	if problem != nil {
		seen += problem.Detail // one malformed annotation is not the other
	}
	if annotated && object.DeletionTimestamp.IsZero() && r.wanted(target) {
		r.tracker.see(target, state{
			uid:     object.UID,
			version: seen,
			ref:     ref,
			invalid: problem,
			work:    changed && !kind.FilledAtAdmission(),
		}, r.clock.Now())
	} else {
		r.tracker.forget(target)
	}
	r.options.Observe(target)
}

// wanted reports that target is looked after.
func (r *Resync) wanted(target cabundle.Target) bool {
	return r.own(target) || slices.Contains(r.options.Kinds, target.Kind)
}

// own reports that target is a configuration of caject's own.
func (r *Resync) own(target cabundle.Target) bool { return slices.Contains(r.options.Own, target) }

func (r *Resync) gone(kind cabundle.Kind, o any) {
	if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	if object, ok := o.(*metav1.PartialObjectMetadata); ok {
		target := cabundle.Target{Kind: kind, Name: object.Name}
		r.tracker.forget(target)
		r.options.Observe(target)
	}
}

// version changes whenever a caBundle may have changed or another source is asked for. The generation, where there is
// one, spares a look at each change of a CRD's status; APIServices have none.
func version(generation int64, resourceVersion string, ref cabundle.Reference) string {
	if generation > 0 {
		return "generation " + strconv.FormatInt(generation, 10) + " " + ref.String()
	}
	return "resourceVersion " + resourceVersion + " " + ref.String()
}

const (
	// lastsAfter is how long a watch must be refused for it to be logged: an API server that is starting refuses
	// everybody for a moment, until it has read its roles.
	lastsAfter = 10 * time.Second
	// repeatAfter is how long a watch that is refused is not logged again.
	repeatAfter = time.Hour
	// forgetAfter is how long after the last refusal another one is a new one. The reflector waits up to a minute.
	forgetAfter = 2 * time.Minute
)

// watchErrors logs a watch that the API server goes on to refuse, once an hour for each of its answers, which name the
// kind. The reflector tries again by itself, and that the API server is away is logged by the transport, once for all.
type watchErrors struct {
	log   logr.Logger
	clock clock.PassiveClock

	mu       sync.Mutex
	refusals map[string]refusal // by answer
}

type refusal struct{ first, last, logged time.Time }

func (w *watchErrors) handle(_ context.Context, _ *toolscache.Reflector, err error) {
	if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
		w.log.V(1).Info("Watch ended", "error", err.Error())
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now, answer := w.clock.Now(), err.Error()
	r := w.refusals[answer]
	if now.Sub(r.last) > forgetAfter {
		r = refusal{first: now}
	}
	r.last = now
	if now.Sub(r.first) >= lastsAfter && now.Sub(r.logged) >= repeatAfter {
		w.log.Error(err, "Cannot watch; trying again until it can")
		r.logged = now
	}
	w.refusals[answer] = r
}
