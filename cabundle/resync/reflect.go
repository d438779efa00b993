package resync

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// watchBackoff are the waits of a watch that fails. An informer's grow to a minute: an API server that was away for long would
// be back for as long before anybody looks.
func watchBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 4 * time.Second}
}

// follow lists and watches objects of the type of example until ctx ends, and puts what it is shown into store. client is that
// of lw.
func follow(ctx context.Context, lw *toolscache.ListWatch, client any, example runtime.Object, store toolscache.ReflectorStore, e *watchErrors) {
	list, begin := lw.ListWithContextFunc, lw.WatchFuncWithContext
	lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		listed, err := list(ctx, o)
		e.handle(err)
		return listed, err
	}
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		watched, err := begin(ctx, o)
		e.handle(err)
		return watched, err
	}
	reflector := toolscache.NewReflectorWithOptions(toolscache.ToListWatcherWithWatchListSemantics(lw, client), example, store,
		toolscache.ReflectorOptions{Backoff: watchBackoff()})
	// It would log each try that fails.
	reflector.RunWithContext(logr.NewContext(ctx, logr.Discard()))
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

func newWatchErrors(log logr.Logger, c clock.PassiveClock) *watchErrors {
	return &watchErrors{log: log, clock: c, refusals: map[string]refusal{}}
}

type refusal struct{ first, last, logged time.Time }

func (w *watchErrors) handle(err error) {
	if err == nil {
		return
	}
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
