package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/caject/caject/cabundle"
)

// watch follows the metadata of all objects of kind until ctx ends.
func (r *Resync) watch(ctx context.Context, objects metadata.Interface, kind cabundle.Kind) {
	resource := objects.Resource(kind.Resource())
	follow(ctx, &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}, objects, &metav1.PartialObjectMetadata{}, newTargetStore(r, kind), r.watchErrors)
}

// targetStore is where a reflector puts the objects of a kind. It keeps none: the tracker has what is needed of those that
// count.
type targetStore struct {
	resync *Resync
	kind   cabundle.Kind
	names  sets.Set[string] // of all that are there
}

func newTargetStore(r *Resync, kind cabundle.Kind) *targetStore {
	return &targetStore{resync: r, kind: kind, names: sets.New[string]()}
}

// Add implements [toolscache.ReflectorStore].
func (s *targetStore) Add(o any) error { return s.see(o, true) }

// Update implements [toolscache.ReflectorStore].
func (s *targetStore) Update(o any) error { return s.see(o, true) }

func (s *targetStore) see(o any, changed bool) error {
	object, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("the watch of %s shows a %T", s.kind, o)
	}
	s.names.Insert(object.Name)
	s.resync.see(s.kind, object, changed)
	return nil
}

// Delete implements [toolscache.ReflectorStore].
func (s *targetStore) Delete(o any) error {
	object, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("the watch of %s shows a %T", s.kind, o)
	}
	s.names.Delete(object.Name)
	s.resync.gone(cabundle.Target{Kind: s.kind, Name: object.Name})
	return nil
}

// Replace implements [toolscache.ReflectorStore]: it is given all objects at the beginning, and whenever the watch has missed
// something.
func (s *targetStore) Replace(all []any, _ string) error {
	before := s.names
	s.names = sets.New[string]()
	var errs []error
	for _, o := range all {
		errs = append(errs, s.see(o, false))
	}
	for name := range before.Difference(s.names) {
		s.resync.gone(cabundle.Target{Kind: s.kind, Name: name})
	}
	return errors.Join(errs...)
}

// Resync implements [toolscache.ReflectorStore].
func (s *targetStore) Resync() error { return nil }

// see takes in an object as the watch shows it; changed is false for what was there when the watch began.
func (r *Resync) see(kind cabundle.Kind, object *metav1.PartialObjectMetadata, changed bool) {
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
			work:    changed && !kind.Admitted(),
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

// gone takes in that an object is not there any more.
func (r *Resync) gone(target cabundle.Target) {
	r.tracker.forget(target)
	r.options.Observe(target)
}

// version changes whenever a caBundle may have changed or another source is asked for. The generation, where there is
// one, spares a look at each change of a CRD's status; APIServices have none.
func version(generation int64, resourceVersion string, ref cabundle.Reference) string {
	if generation > 0 {
		return "generation " + strconv.FormatInt(generation, 10) + " " + ref.String()
	}
	return "resourceVersion " + resourceVersion + " " + ref.String()
}
