package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// lookout sees, by a watch of each kind, when targets come to hold a CA.
type lookout struct {
	mu     sync.Mutex
	sights []*sight
	err    error // why it sees no more
	ended  chan struct{}
}

// sight is what is waited for: some targets, each with a CA.
type sight struct {
	left map[string][]byte // the CA in PEM, by key
	seen map[string]time.Time
	last time.Time
	done chan struct{} // closed when nothing is left
}

// newLookout begins to watch, until ctx ends.
func newLookout(ctx context.Context, c client.WithWatch) (*lookout, error) {
	l := &lookout{ended: make(chan struct{})}
	for _, list := range []client.ObjectList{
		&apiextensionsv1.CustomResourceDefinitionList{},
		&apiregistrationv1.APIServiceList{},
		&admissionregistrationv1.ValidatingWebhookConfigurationList{},
		&admissionregistrationv1.MutatingWebhookConfigurationList{},
	} {
		watcher, err := c.Watch(ctx, list)
		if err != nil {
			return nil, err
		}
		go l.follow(watcher)
	}
	return l, nil
}

func (l *lookout) follow(watcher watch.Interface) {
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if object, ok := event.Object.(client.Object); ok && (event.Type == watch.Added || event.Type == watch.Modified) {
			l.look(object, time.Now())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = errors.New("a watch of targets has ended")
		close(l.ended)
	}
}

// key tells a target from all others.
func key(object client.Object) string { return fmt.Sprintf("%T %s", object, object.GetName()) }

func (l *lookout) look(object client.Object, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := key(object)
	for _, s := range l.sights {
		ca, waited := s.left[name]
		if !waited || !holds(object, ca) {
			continue
		}
		delete(s.left, name)
		s.seen[name], s.last = now, now
		if len(s.left) == 0 {
			close(s.done)
		}
	}
	l.sights = slices.DeleteFunc(l.sights, func(s *sight) bool { return len(s.left) == 0 })
}

// holds reports that all caBundles of a target have a CA in them.
func holds(object client.Object, ca []byte) bool {
	bundles := playground.CABundles(object)
	return len(bundles) > 0 && !slices.ContainsFunc(bundles, func(bundle []byte) bool { return !bytes.Contains(bundle, ca) })
}

// expect says that targets are about to hold CAs (PEM, by key). It is called before anything is written that leads to that.
func (l *lookout) expect(cas map[string][]byte) *sight {
	s := &sight{left: cas, seen: map[string]time.Time{}, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sights = append(l.sights, s)
	return s
}

// expectAll is expect with the same CA for all.
func (l *lookout) expectAll(ca []byte, targets ...client.Object) *sight {
	cas := map[string][]byte{}
	for _, target := range targets {
		cas[key(target)] = ca
	}
	return l.expect(cas)
}

// wait returns once all targets hold their CAs.
func (l *lookout) wait(ctx context.Context, s *sight) error {
	select {
	case <-s.done:
		return nil
	case <-l.ended:
		return l.err
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sights = slices.DeleteFunc(l.sights, func(other *sight) bool { return other == s })
		for name := range s.left {
			return fmt.Errorf("%d of %d targets were not filled, among them %s: %w", len(s.left), len(s.left)+len(s.seen), name, ctx.Err())
		}
		return ctx.Err()
	}
}

// left returns how many targets do not hold their CAs yet.
func (l *lookout) left(s *sight) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(s.left)
}
