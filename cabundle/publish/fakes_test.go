package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/shards/shardstest"
	"github.com/caject/caject/cabundle/v1alpha1"
)

var (
	start  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	source = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "name"}
	kind   = cabundle.ValidatingWebhookConfiguration
)

func ca(name string) []byte {
	return cabundletest.CA(name, start.Add(-time.Hour), start.Add(1000*time.Hour))
}

// fakeSource is one source, which all replicas read.
type fakeSource struct {
	mu      sync.Mutex
	reading cabundle.Reading
	reads   int
}

func (f *fakeSource) Read(context.Context, cabundle.Reference, cluster.Freshness) cabundle.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.reading
}

// hold has the source hold cas from now on.
func (f *fakeSource) hold(cas ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []byte
	for _, one := range cas {
		all = append(all, one...)
	}
	f.reading = cabundle.Reading{Bundle: cabundle.ParseExisting(all), Version: f.reading.Version + 1}
}

func (f *fakeSource) fail(reason cabundle.Reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: "it cannot be used"}, Version: f.reading.Version + 1}
}

// fakeBundles are CABundles as an API server keeps them.
type fakeBundles struct {
	mu      sync.Mutex
	objects map[string]*v1alpha1.CABundle
	version int
	writes  int
	err     error // of each write
}

func newFakeBundles() *fakeBundles { return &fakeBundles{objects: map[string]*v1alpha1.CABundle{}} }

func (f *fakeBundles) Get(_ context.Context, name string) (*v1alpha1.CABundle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	object, ok := f.objects[name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	return object.DeepCopy(), nil
}

// stored returns the only CABundle, or nil.
func (f *fakeBundles) stored() *v1alpha1.CABundle {
	object, _ := f.Get(context.Background(), source.PublishedName())
	return object
}

func (f *fakeBundles) put(object *v1alpha1.CABundle) {
	f.version++
	f.writes++
	object.ResourceVersion = fmt.Sprint(f.version)
	f.objects[object.Name] = object.DeepCopy()
}

func (f *fakeBundles) Create(_ context.Context, object *v1alpha1.CABundle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch _, ok := f.objects[object.Name]; {
	case f.err != nil:
		return f.err
	case ok:
		return apierrors.NewAlreadyExists(schema.GroupResource{}, object.Name)
	}
	object.UID, object.Generation, object.Status = types.UID(fmt.Sprint("uid", f.version)), 1, v1alpha1.CABundleStatus{}
	object.CreationTimestamp = metav1.NewTime(start.Add(time.Duration(f.version) * time.Second))
	f.put(object)
	return nil
}

func (f *fakeBundles) update(object *v1alpha1.CABundle, change func(stored *v1alpha1.CABundle)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	stored, ok := f.objects[object.Name]
	switch {
	case f.err != nil:
		return f.err
	case !ok || stored.UID != object.UID:
		return apierrors.NewNotFound(schema.GroupResource{}, object.Name)
	case stored.ResourceVersion != object.ResourceVersion:
		return apierrors.NewConflict(schema.GroupResource{}, object.Name, errors.New("changed"))
	}
	stored = stored.DeepCopy()
	change(stored)
	f.put(stored)
	stored.DeepCopyInto(object)
	return nil
}

func (f *fakeBundles) UpdateStatus(_ context.Context, object *v1alpha1.CABundle) error {
	return f.update(object, func(stored *v1alpha1.CABundle) { stored.Status = object.Status })
}

func (f *fakeBundles) Delete(_ context.Context, object *v1alpha1.CABundle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[object.Name]; !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, object.Name)
	}
	f.writes++
	delete(f.objects, object.Name)
	return nil
}

// fakeTargets are the targets of the source.
type fakeTargets struct {
	summary  Summary
	unsynced bool
}

func (f *fakeTargets) Summary(cabundle.Reference, ledger.Reading) Summary { return f.summary }
func (f *fakeTargets) Synced() bool                                       { return !f.unsynced }

// replica is a ledger, a publisher and a store with fakes around them.
type replica struct {
	*Publisher
	ledger  *ledger.Ledger
	targets *fakeTargets
	events  *record.FakeRecorder
	store   *shards.Store
	leads   bool
	api     *api
}

// api is what an API server keeps, for all replicas.
type api struct {
	*fakeBundles
	shards *shardstest.API
}

func newAPI() *api { return &api{newFakeBundles(), shardstest.New("cluster")} }

// writes returns how often anything was written.
func (a *api) writes() int { return a.fakeBundles.writes + a.shards.Writes() }

// entry returns what is stored of a source, wherever it is.
func (a *api) entry(t *testing.T, ref cabundle.Reference) shards.Entry {
	t.Helper()
	store := newStore(a, clocktesting.NewFakeClock(start), func(cabundle.Reference) {})
	run(t, store)
	entry, err := store.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// newStore returns a Store that is shown all that is stored.
func newStore(a *api, clk *clocktesting.FakeClock, changed func(cabundle.Reference)) *shards.Store {
	store := shards.New(shards.Options{Namespace: "caject", Name: "caject"}, a.shards, clk, changed)
	for _, object := range a.shards.All() {
		store.Seen(object, true)
	}
	return store
}

// run has store run, and waits until it knows what is stored.
func run(t *testing.T, store *shards.Store) {
	t.Helper()
	go func() { _ = store.Start(t.Context()) }()
	for !store.Synced() {
		time.Sleep(time.Millisecond)
	}
}

func newReplica(t *testing.T, s *fakeSource, a *api, clk *clocktesting.FakeClock, rules cabundle.Rules) *replica {
	t.Helper()
	r := &replica{
		ledger:  ledger.New(ledger.Options{Interval: 30 * time.Second, Rules: rules}, s, metrics.New(prometheus.NewRegistry()), clk),
		targets: &fakeTargets{summary: Summary{Total: 1, Injected: 1}},
		events:  record.NewFakeRecorder(1000),
		leads:   true,
		api:     a,
	}
	r.Publisher = New(Options{
		Interval: 30 * time.Second, Rules: rules, Policy: true, PolicyKinds: cabundle.Kinds(), Leads: func() bool { return r.leads },
	}, a, r.ledger, r.targets, r.events, clk)
	r.store = newStore(a, clk, r.Stored)
	r.Publisher.SetStore(r.store)
	r.ledger.SetRecall(r.History)
	run(t, r.store)
	r.ledger.Follow(source)
	return r
}

// publish is what a worker does, long after it has last done so.
func (r *replica) publish(t *testing.T) time.Duration {
	t.Helper()
	of := r.of(source)
	r.mu.Lock()
	of.shownAt = time.Time{}
	r.mu.Unlock()
	return r.reconcile(t.Context(), source)
}

// watch shows what is stored.
func (r *replica) watch() {
	if object := r.api.stored(); object != nil {
		r.Seen(object, false)
	} else {
		r.Gone(source.PublishedName())
	}
	there := map[string]bool{}
	for _, object := range r.api.shards.All() {
		r.store.Seen(object, false)
		there[object.Name] = true
	}
	for _, role := range []string{"published", "ahead"} {
		for n := range 3 {
			if name := fmt.Sprintf("caject-%s-%d", role, n); !there[name] {
				r.store.Gone(name)
			}
		}
	}
}

// read is what a tick or hint leads to.
func (r *replica) read(t *testing.T) {
	t.Helper()
	r.ledger.Read(t.Context(), source, cluster.Consistent, metrics.Hint)
}
