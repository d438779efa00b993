// Package work is a queue of things to be looked after, and the workers that do so: controller-runtime's controller and
// client-go's delaying queue, bound together with what /livez asks.
package work

import (
	"context"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/caject/caject/cabundle/alive"
)

// hangs is how long the work on one item can take at most: some requests of ten seconds. How many items there are does not count.
const hangs = 2 * time.Minute

// Queue holds each item once, however often it is added, until a worker takes it. An item that is added while it is worked on is
// taken once more. Add and AddAfter do not block; of several AddAfter the earliest counts.
type Queue[T comparable] struct {
	workqueue.TypedRateLimitingInterface[T]
	name  string
	turns *alive.Loop
}

// NewQueue returns an empty Queue. name says what its workers do.
func NewQueue[T comparable](name string, c clock.WithTicker) *Queue[T] {
	return &Queue[T]{
		TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.DefaultTypedControllerRateLimiter[T](), workqueue.TypedRateLimitingQueueConfig[T]{Clock: c}),
		name:  name,
		turns: alive.NewLoop(name, hangs, 0, c),
	}
}

// Run has workers work off the queue until ctx ends. do works on one item, and returns after which time to do so again; 0 or less
// means when it is added again. keysAndValues name an item in each line of the log about it. A panic in do is logged, and the item
// is tried again.
func (q *Queue[T]) Run(ctx context.Context, workers int, keysAndValues func(T) []any, do func(context.Context, T) time.Duration) error {
	base := log.FromContext(ctx)
	c, err := controller.NewTypedUnmanaged(q.name, controller.TypedOptions[T]{
		MaxConcurrentReconciles: workers,
		SkipNameValidation:      ptr.To(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[T]) workqueue.TypedRateLimitingInterface[T] {
			return q.TypedRateLimitingInterface
		},
		LogConstructor: func(item *T) logr.Logger {
			if item == nil {
				return base.V(1)
			}
			return base.WithValues(keysAndValues(*item)...)
		},
		Reconciler: reconcile.TypedFunc[T](func(ctx context.Context, item T) (reconcile.Result, error) {
			defer q.turns.Turn()()
			return reconcile.Result{RequeueAfter: max(0, do(ctx, item))}, nil
		}),
	})
	if err != nil {
		return err
	}
	return c.Start(ctx)
}

// Alive returns why a worker is taken to hang, or nil: a healthz.Checker of controller-runtime.
func (q *Queue[T]) Alive(r *http.Request) error { return q.turns.Check(r) }
