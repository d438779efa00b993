package resync

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// see takes in a CABundle as the watch shows it; without a resourceVersion it is gone.
func (p *publisher) see(object *v1alpha1.CABundle) {
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
		of.object, of.absent, of.last.read, of.written = nil, false, false, false
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

// bundleStore is where a reflector puts CABundles.
type bundleStore struct {
	publisher *publisher
	all       map[string]*v1alpha1.CABundle
}

// Add implements [toolscache.ReflectorStore].
func (s *bundleStore) Add(o any) error { return s.see(o, false) }

// Update implements [toolscache.ReflectorStore].
func (s *bundleStore) Update(o any) error { return s.see(o, false) }

// Delete implements [toolscache.ReflectorStore].
func (s *bundleStore) Delete(o any) error { return s.see(o, true) }

// see keeps of each what tells its source.
func (s *bundleStore) see(o any, gone bool) error {
	object, ok := o.(*v1alpha1.CABundle)
	if !ok {
		return fmt.Errorf("the watch of CABundles shows a %T", o)
	}
	if gone {
		object = object.DeepCopy()
		object.ResourceVersion = ""
		delete(s.all, object.Name)
	} else {
		s.all[object.Name] = &v1alpha1.CABundle{
			ObjectMeta: metav1.ObjectMeta{Name: object.Name},
			Spec:       v1alpha1.CABundleSpec{Source: object.Spec.Source},
		}
	}
	s.publisher.see(object)
	return nil
}

// Replace implements [toolscache.ReflectorStore].
func (s *bundleStore) Replace(all []any, _ string) error {
	before := s.all
	s.all = map[string]*v1alpha1.CABundle{}
	var errs []error
	for _, o := range all {
		errs = append(errs, s.see(o, false))
	}
	for name, object := range before {
		if _, there := s.all[name]; !there {
			s.publisher.see(object)
		}
	}
	return errors.Join(errs...)
}

// Resync implements [toolscache.ReflectorStore].
func (s *bundleStore) Resync() error { return nil }

// SetupWithManager adds the watch and the worker to mgr.
func (p *publisher) SetupWithManager(mgr manager.Manager, leader *bool, e *watchErrors) error {
	c, err := controller.NewTyped("publish", mgr, controller.TypedOptions[cabundle.Reference]{
		Reconciler:              p,
		MaxConcurrentReconciles: publishWorkers,
		NeedLeaderElection:      leader,
		LogConstructor:          publishLogConstructor(mgr.GetLogger()),
	})
	if err != nil {
		return fmt.Errorf("set up publishing: %w", err)
	}
	objects, err := apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("CABundle"), true, false, mgr.GetConfig(),
		serializer.NewCodecFactory(mgr.GetScheme()), mgr.GetHTTPClient())
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
		lw := toolscache.NewFilteredListWatchFromClient(objects, "cabundles", "", func(*metav1.ListOptions) {})
		go follow(ctx, lw, objects, &v1alpha1.CABundle{}, &bundleStore{p, map[string]*v1alpha1.CABundle{}}, e)
		return nil
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
