package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

func TestMain(m *testing.M) {
	// One of them waits until a millisecond has passed since the last error of the process. The clock of a bubble of synctest is many
	// years behind.
	utilruntime.ErrorHandlers = nil
	os.Exit(m.Run())
}

// noStreaming is a client of an API server that does not send the first list as events of the watch.
type noStreaming struct{}

func (noStreaming) IsWatchListSemanticsUnSupported() bool { return true }

// fakeServer is what a ListWatch asks.
type fakeServer struct {
	mu       sync.Mutex
	objects  []string // names
	listErr  error
	watchErr error
	lists    []time.Time
	watched  *watch.FakeWatcher // the one that runs
}

func (f *fakeServer) listWatch() *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.lists = append(f.lists, time.Now())
			if f.listErr != nil {
				return nil, f.listErr
			}
			list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
			for _, name := range f.objects {
				list.Items = append(list.Items, *newObject(name))
			}
			return list, nil
		},
		WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.watchErr != nil {
				return nil, f.watchErr
			}
			f.watched = watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 100})
			if o.SendInitialEvents != nil && *o.SendInitialEvents {
				for _, name := range f.objects {
					f.watched.Add(newObject(name))
				}
				end := newObject("")
				end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
				f.watched.Action(watch.Bookmark, end)
			}
			return f.watched, nil
		},
	}
}

// change is what happens to the server while it is watched.
func (f *fakeServer) change(do func()) {
	f.mu.Lock()
	do()
	f.mu.Unlock()
	synctest.Wait()
}

func newObject(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "2"}}
}

// recorder writes down what a handler is shown. It runs in the goroutine of the watch, which stands still after synctest.Wait.
type recorder struct{ calls []string }

func (r *recorder) Seen(object *metav1.PartialObjectMetadata, listed bool) {
	r.calls = append(r.calls, fmt.Sprintf("%s listed=%t", object.Name, listed))
}

func (r *recorder) Gone(name string) { r.calls = append(r.calls, name+" gone") }

// expect compares what was shown since the last time, in any order.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(r.calls)
	if diff := cmp.Diff(want, r.calls); diff != "" {
		t.Error(diff)
	}
	r.calls = nil
}

// follow begins to watch server. It is called in a bubble of synctest.
func follow(t *testing.T, server *fakeServer, client any) (*Watch[*metav1.PartialObjectMetadata], *recorder) {
	shown := &recorder{}
	w := NewWatch("things", server.listWatch(), client, &metav1.PartialObjectMetadata{}, shown, nil, clock.RealClock{})
	if w.Synced() {
		t.Error("synced before it has begun")
	}
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	done := make(chan error)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return w, shown
}

func TestWatchShowsWhatIsThereAndWhatChanges(t *testing.T) {
	for sentence, client := range map[string]any{"listed, then watched": noStreaming{}, "in one stream": struct{}{}} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &fakeServer{objects: []string{"a", "b"}}
				w, shown := follow(t, server, client)
				if !w.Synced() {
					t.Error("not synced although all was shown")
				}
				shown.expect(t, "a listed=true", "b listed=true")
				server.change(func() { server.watched.Add(newObject("c")) })
				shown.expect(t, "c listed=false")
				server.change(func() { server.watched.Modify(newObject("a")) })
				shown.expect(t, "a listed=false")
				server.change(func() { server.watched.Delete(newObject("b")) })
				shown.expect(t, "b gone")
			})
		})
	}
}

func TestAWatchThatBeginsAgainDropsWhatIsGone(t *testing.T) {
	for sentence, client := range map[string]any{"listed, then watched": noStreaming{}, "in one stream": struct{}{}} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &fakeServer{objects: []string{"a", "b"}}
				w, shown := follow(t, server, client)
				server.change(func() { server.watched.Add(newObject("c")) })
				shown.expect(t, "a listed=true", "b listed=true", "c listed=false")
				server.change(func() {
					server.objects = []string{"b", "d"}
					server.watched.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				shown.expect(t, "a gone", "b listed=true", "c gone", "d listed=true")
				if !w.Synced() {
					t.Error("not synced any more")
				}
			})
		})
	}
}

func TestAWatchIsSyncedOnlyAfterTheFirstList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{objects: []string{"a"}, listErr: errors.New("connection refused")}
		w, shown := follow(t, server, noStreaming{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.Synced() {
			t.Error("synced without a list")
		}
		server.change(func() { server.listErr = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !w.Synced() {
			t.Error("not synced")
		}
		shown.expect(t, "a listed=true")
	})
}

func TestAWatchThatFailsWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{listErr: errors.New("connection refused")}
		follow(t, server, noStreaming{})
		time.Sleep(time.Minute)
		synctest.Wait()
		server.mu.Lock()
		defer server.mu.Unlock()
		first := server.lists[1].Sub(server.lists[0])
		last := server.lists[len(server.lists)-1].Sub(server.lists[len(server.lists)-2])
		if first < 200*time.Millisecond || first > 300*time.Millisecond {
			t.Errorf("it waits %v after the first failure", first)
		}
		if last < 2*time.Second || last > 6*time.Second {
			t.Errorf("it waits %v after many failures", last)
		}
		if n := len(server.lists); n < 10 || n > 30 {
			t.Errorf("%d tries in a minute", n)
		}
	})
}

func TestARefusedWatchIsLoggedOnceWithItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		logger := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
		refusal := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("no"))
		server := &fakeServer{listErr: refusal}
		w := NewWatch("things", server.listWatch(), noStreaming{}, &metav1.PartialObjectMetadata{}, &recorder{}, nil, clock.RealClock{})
		ctx, cancel := context.WithTimeout(log.IntoContext(context.Background(), logger), 30*time.Minute)
		defer cancel()
		if err := w.Start(ctx); err != nil {
			t.Error(err)
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "Cannot watch") || !strings.Contains(lines[0], `"watch"="things"`) {
			t.Errorf("logged %q", lines)
		}
	})
}

func TestARefusalIsLoggedOnceItLasts(t *testing.T) {
	lines := 0
	fake := clocktesting.NewFakeClock(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	r := newRefusals(funcr.New(func(string, string) { lines++ }, funcr.Options{}), fake)
	crds := apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, "", errors.New("no"))
	services := apierrors.NewGenericServerResponse(http.StatusNotFound, "list", schema.GroupResource{Resource: "apiservices"}, "", "", 0, true)
	expect := func(sentence string, want int) {
		t.Helper()
		if lines != want {
			t.Errorf("%s: %d lines, want %d", sentence, lines, want)
		}
	}
	refuse := func(err error, times int) {
		for range times {
			r.note(err)
			fake.Step(5 * time.Second)
		}
	}
	refuse(crds, 2)
	expect("an API server that is starting", 0)
	fake.Step(time.Hour)
	refuse(crds, 2)
	expect("starting again, later", 0)
	refuse(crds, 100)
	expect("a refusal that lasts", 1)
	refuse(services, 10)
	expect("another one as well", 2)
	refuse(crds, 800)
	expect("for over an hour", 3)
	refuse(errors.New("connection refused"), 100)
	expect("an API server that is away", 3)
	refuse(nil, 100)
	expect("all is well", 3)
}

func TestAStoreRefusesAnotherType(t *testing.T) {
	s := &store[*metav1.PartialObjectMetadata]{name: "things", handler: &recorder{}}
	for _, err := range []error{s.Add(&corev1.Secret{}), s.Update(&corev1.Secret{}), s.Delete(&corev1.Secret{}), s.Replace([]any{&corev1.Secret{}}, "")} {
		if err == nil || !strings.Contains(err.Error(), "the watch of things shows a *v1.Secret") {
			t.Errorf("error is %v", err)
		}
	}
	if s.synced.Load() {
		t.Error("synced although nothing was understood")
	}
}

// TestATargetIsSlimmedBeforeTheListIsWhole: the reflector gathers a streamed list by what the store's transformer returns.
func TestATargetIsSlimmedBeforeTheListIsWhole(t *testing.T) {
	deleted := metav1.Now()
	whole := func() *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "a", UID: "u", ResourceVersion: "2", Generation: 3, DeletionTimestamp: &deleted,
			Labels:        map[string]string{"a": "b"},
			Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: strings.Repeat("x", 1<<18), cabundle.InjectCAFromAnnotation: "ns/name"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "helm"}},
			Finalizers:    []string{"f"},
		}}
	}
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "a", UID: "u", ResourceVersion: "2", Generation: 3, DeletionTimestamp: &deleted,
		Annotations: map[string]string{cabundle.InjectCAFromAnnotation: "ns/name"},
	}}
	shown := &last{}
	watcher, err := NewWatcher(&rest.Config{Host: "127.0.0.1:1"}, http.DefaultClient, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	s := watcher.WatchTargets(cabundle.APIService, shown).store
	got, err := s.Transformer()(whole())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(s.Replace([]any{got}, "2"), s.Update(whole())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, shown.object); diff != "" {
		t.Error(diff)
	}
}

// last keeps the last object that it is shown.
type last struct{ object *metav1.PartialObjectMetadata }

func (l *last) Seen(object *metav1.PartialObjectMetadata, _ bool) { l.object = object }
func (*last) Gone(string)                                         {}
