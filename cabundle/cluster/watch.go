package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Handler takes in what a Watch shows. Its methods are called one at a time, and hold up the watch while they run.
type Handler[T metav1.Object] interface {
	// Seen shows an object as it is by now. listed is true if it was there when the watch began, or began again after it may have
	// missed something: then nobody knows whether it has changed.
	Seen(object T, listed bool)
	// Gone says that the object of that name is not there any more. It may never have been Seen.
	Gone(name string)
}

// Watch follows all objects of one kind. It keeps nothing of them but their names: what else counts, the handler keeps.
type Watch[T metav1.Object] struct {
	name    string
	lw      toolscache.ListWatch
	client  any
	example runtime.Object
	clock   clock.Clock
	store   *store[T]
}

// NewWatch returns a Watch over lw that shows handler what is there, and what changes. name is for logs, client is that of lw, and
// example an empty object of the type that lw gives. slim, unless it is nil, takes out of an object what the handler has no need
// of: it is called as soon as the object arrives, so that a list of large objects is not held as a whole. It may be called
// twice with the same object.
func NewWatch[T metav1.Object](name string, lw *toolscache.ListWatch, client any, example runtime.Object, handler Handler[T], slim func(T), c clock.Clock) *Watch[T] {
	return &Watch[T]{
		name: name, lw: *lw, client: client, example: example, clock: c,
		store: &store[T]{name: name, handler: handler, slim: slim, names: sets.New[string]()},
	}
}

// Synced reports whether the handler has seen all that was there when the watch began.
func (w *Watch[T]) Synced() bool { return w.store.synced.Load() }

// Start watches until ctx ends; the error is always nil. It is called once. A watch that fails is tried again, and one that the
// API server goes on to refuse is logged. (That the API server is away is not: whoever makes connections says so once, for all.)
func (w *Watch[T]) Start(ctx context.Context) error {
	refusals := newRefusals(log.FromContext(ctx).WithValues("watch", w.name), w.clock)
	lw := w.lw
	lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		listed, err := w.lw.ListWithContext(ctx, o)
		refusals.note(err)
		return listed, err
	}
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		watched, err := w.lw.WatchWithContext(ctx, o)
		refusals.note(err)
		return watched, err
	}
	reflector := toolscache.NewReflectorWithOptions(toolscache.ToListWatcherWithWatchListSemantics(&lw, w.client), w.example, w.store,
		toolscache.ReflectorOptions{Name: w.name, Backoff: watchBackoff(), Clock: w.clock})
	// It would log each try that fails.
	reflector.RunWithContext(logr.NewContext(ctx, logr.Discard()))
	return nil
}

// watchBackoff are the waits of a watch that fails. An informer's grow to a minute: an API server that was away for long would
// be back for as long before anybody looks.
func watchBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 4 * time.Second}
}

// store is where a reflector puts objects. It hands them on, and keeps their names: those that are not in the next list are gone.
type store[T metav1.Object] struct {
	name    string
	handler Handler[T]
	slim    func(T)
	names   sets.Set[string]
	synced  atomic.Bool
}

var _ toolscache.TransformingStore = &store[*metav1.PartialObjectMetadata]{}

// Add implements [toolscache.ReflectorStore].
func (s *store[T]) Add(o any) error { return s.see(o, false) }

// Update implements [toolscache.ReflectorStore].
func (s *store[T]) Update(o any) error { return s.see(o, false) }

func (s *store[T]) see(o any, listed bool) error {
	object, err := s.transform(o)
	if err != nil {
		return err
	}
	s.names.Insert(object.GetName())
	s.handler.Seen(object, listed)
	return nil
}

// Delete implements [toolscache.ReflectorStore].
func (s *store[T]) Delete(o any) error {
	object, err := s.transform(o)
	if err != nil {
		return err
	}
	s.names.Delete(object.GetName())
	s.handler.Gone(object.GetName())
	return nil
}

// Replace implements [toolscache.ReflectorStore]: it is given all objects at the beginning, and whenever the watch may have missed
// something.
func (s *store[T]) Replace(all []any, _ string) error {
	before := s.names
	s.names = sets.New[string]()
	var errs []error
	for _, o := range all {
		errs = append(errs, s.see(o, true))
	}
	for name := range before.Difference(s.names) {
		s.handler.Gone(name)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.synced.Store(true)
	return nil
}

// Resync implements [toolscache.ReflectorStore].
func (s *store[T]) Resync() error { return nil }

// Transformer implements [toolscache.TransformingStore]: the reflector calls it for each object of a list as it arrives.
func (s *store[T]) Transformer() toolscache.TransformFunc {
	return func(o any) (any, error) { return s.transform(o) }
}

func (s *store[T]) transform(o any) (T, error) {
	object, ok := o.(T)
	if !ok {
		return object, fmt.Errorf("the watch of %s shows a %T", s.name, o)
	}
	if s.slim != nil {
		s.slim(object)
	}
	return object, nil
}
