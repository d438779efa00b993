package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
)

// seen keeps what a watch shows, by name, and how it was shown last.
type seen[T metav1.Object] struct {
	mu     sync.Mutex
	object map[string]T
	how    map[string]string
}

func newSeen[T metav1.Object]() *seen[T] {
	return &seen[T]{object: map[string]T{}, how: map[string]string{}}
}

func (s *seen[T]) Seen(object T, listed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.object[object.GetName()], s.how[object.GetName()] = object, fmt.Sprintf("listed %t", listed)
}

func (s *seen[T]) Gone(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how[name] = "gone"
}

// await waits until the object of that name was last shown as how, and returns it.
func (s *seen[T]) await(t *testing.T, name, how string) (object T) {
	t.Helper()
	eventually(t, name+" is "+how, func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.how[name] != how {
			return fmt.Errorf("it is %q", s.how[name])
		}
		object = s.object[name]
		return nil
	})
	return object
}

// TestWhatIsWatched watches with the rights of the chart's ServiceAccount.
func TestWhatIsWatched(t *testing.T) {
	t.Parallel()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := cluster.NewWatcher(config, httpClient, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	annotations := playground.FromSecret(namespace, "watched")
	before := playground.NewCRD("watchedbefore", map[string]string{"large": string(make([]byte, 100)), cabundle.InjectCAFromSecretAnnotation: annotations[cabundle.InjectCAFromSecretAnnotation]})
	shared.create(t, playground.NewSecret(namespace, "watched", playground.NewCA("watched")), before)
	const published = "secret." + namespace + ".watched"
	shared.publication(t, published, "ready", ready)

	targets, bundles := newSeen[*metav1.PartialObjectMetadata](), newSeen[*v1alpha1.CABundle]()
	watchTargets, watchBundles := watcher.WatchTargets(cabundle.CustomResourceDefinition, targets), watcher.WatchBundles(bundles)
	go func() { _ = watchTargets.Start(t.Context()) }()
	go func() { _ = watchBundles.Start(t.Context()) }()
	eventually(t, "sync", func(context.Context) error {
		if !watchTargets.Synced() || !watchBundles.Synced() {
			return errors.New("not yet")
		}
		return nil
	})
	if got := bundles.await(t, published, "listed true"); got.Spec.Source != "secret/e2e/watched" || !ready(got) || len(got.ManagedFields) == 0 {
		t.Errorf("the CABundle is %+v", got)
	}
	got := targets.await(t, before.Name, "listed true")
	if diff := cmp.Diff(annotations, got.Annotations); diff != "" || got.UID != before.UID || got.Generation == 0 || got.ManagedFields != nil {
		t.Errorf("%+v\n%s", got.ObjectMeta, diff)
	}

	after := playground.NewCRD("watchedafter", annotations)
	shared.create(t, after)
	if got := targets.await(t, after.Name, "listed false"); got.UID != after.UID || got.ManagedFields != nil {
		t.Errorf("%+v", got.ObjectMeta)
	}
	if err := shared.client.Delete(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	targets.await(t, after.Name, "gone")
}
