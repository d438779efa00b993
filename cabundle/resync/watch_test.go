package resync

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

func TestWhatIsWatched(t *testing.T) {
	own := []cabundle.Target{{Kind: cabundle.ValidatingWebhookConfiguration, Name: "own"}}
	for sentence, test := range map[string]struct {
		options Options
		want    int
	}{
		"all kinds":                              {Options{}, 4},
		"one kind":                               {Options{Kinds: []cabundle.Kind{cabundle.APIService}}, 1},
		"one kind and caject's own":              {Options{Kinds: []cabundle.Kind{cabundle.APIService}, Own: own}, 2},
		"caject's own is of a kind that is, too": {Options{Kinds: []cabundle.Kind{cabundle.ValidatingWebhookConfiguration}, Own: own}, 1},
		"none but caject's own":                  {Options{Kinds: []cabundle.Kind{}, Own: own}, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, test.options, func(t *testing.T, r *rig) {
				watcher, err := cluster.NewWatcher(&rest.Config{Host: "localhost:1"}, http.DefaultClient, clock.RealClock{})
				if err != nil {
					t.Fatal(err)
				}
				if got := len(r.Watches(watcher)); got != test.want {
					t.Errorf("%d watches", got)
				}
				if r.Synced() {
					t.Error("nothing has been seen yet")
				}
			})
		})
	}
}

// TestAllThatIsThereIsSeen has a watch of the API machinery show the targets, and say when that are all.
func TestAllThatIsThereIsSeen(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		server := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 10})
		lw := &toolscache.ListWatch{
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return server, nil },
		}
		w := cluster.NewWatch(string(target.Kind), lw, nil, &metav1.PartialObjectMetadata{},
			cluster.Handler[*metav1.PartialObjectMetadata](kindHandler{r.Resync, target.Kind}), nil, clock.RealClock{})
		r.watches = append(r.watches, w)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Start(ctx) }()
		metadata, _ := r.targets.metadata(target)
		server.Add(metadata)
		synctest.Wait()
		if r.Synced() {
			t.Error("there may be more to see")
		}
		server.Action(watch.Bookmark, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}})
		synctest.Wait()
		if _, known := r.tracker.get(target); !known || !r.Synced() {
			t.Errorf("known: %v, synced: %v", known, r.Synced())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestEachChangeIsObservedAnnotatedOrNot(t *testing.T) {
	var observed []string
	rigged(t, Options{Observe: func(t cabundle.Target) { observed = append(observed, t.Name) }}, func(t *testing.T, r *rig) {
		r.targets.make(crd, secret)
		r.targets.edit(crd, func(o metav1.Object) { o.SetAnnotations(nil) })
		r.show(target)
		r.show(crd)
		r.targets.remove(crd)
		r.changed(crd)
		if diff := cmp.Diff([]string{"target", "crd", "crd"}, observed); diff != "" {
			t.Error(diff)
		}
	})
}

func TestVersionOf(t *testing.T) {
	certificate := cabundle.Reference{Kind: cabundle.Certificate, Namespace: "ns", Name: "name"}
	type object struct {
		generation      int64
		resourceVersion string
		ref             cabundle.Reference
		replace         bool
	}
	for sentence, test := range map[string]struct {
		a, b object
		same bool
	}{
		"a status changes":                        {object{1, "1", secret, false}, object{1, "2", secret, false}, true},
		"a spec changes":                          {object{1, "1", secret, false}, object{2, "2", secret, false}, false},
		"without a generation anything may count": {object{0, "1", secret, false}, object{0, "2", secret, false}, false},
		"nothing changes":                         {object{0, "1", secret, false}, object{0, "1", secret, false}, true},
		"another source":                          {object{1, "1", secret, false}, object{1, "2", other, false}, false},
		"another kind of source":                  {object{1, "1", secret, false}, object{1, "2", certificate, false}, false},
		"a generation is no resourceVersion":      {object{1, "2", secret, false}, object{0, "1", secret, false}, false},
		"another mode":                            {object{1, "1", secret, false}, object{1, "2", secret, true}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := versionOf(test.a.generation, test.a.resourceVersion, test.a.ref, test.a.replace)
			b := versionOf(test.b.generation, test.b.resourceVersion, test.b.ref, test.b.replace)
			if (a == b) != test.same {
				t.Errorf("%q and %q", a, b)
			}
		})
	}
}
