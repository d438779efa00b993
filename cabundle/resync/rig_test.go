package resync

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	interval = 30 * time.Second
	// never is the time between two ticks of a source where a test makes them itself.
	never = 10_000 * time.Hour
)

var (
	start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of each synctest bubble
	caOne = cabundletest.CA("one", start.Add(-24*time.Hour), start.Add(1000*time.Hour))
	caTwo = cabundletest.CA("two", start.Add(-24*time.Hour), start.Add(2000*time.Hour))
	// caRival is what somebody else wants.
	caRival = cabundletest.CA("rival", start.Add(-24*time.Hour), start.Add(2000*time.Hour))

	target  = cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: "target"}
	crd     = cabundle.Target{Kind: cabundle.CustomResourceDefinition, Name: "crd"}
	service = cabundle.Target{Kind: cabundle.APIService, Name: "service"}
	secret  = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "name"}
	other   = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "other"}
)

// rig is a Resync over a real ledger, with fakes around them, in a synctest bubble. Time passes when all sleep. The test works off
// the queue itself, and makes the ticks of sources itself; hints, and sources that cannot be used yet, the ledger looks after.
type rig struct {
	*Resync
	ledger    *ledger.Ledger
	sources   *fakeSources
	targets   *fakeTargets
	publisher *fakePublisher
	events    *record.FakeRecorder
	registry  *prometheus.Registry
	leads     bool
}

// rigged runs body with a rig of a replica that leads. Its source is caOne, its target holds caBundles.
func rigged(t *testing.T, o Options, body func(*testing.T, *rig), caBundles ...[]byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		body(t, newRig(t, o, never, caBundles...))
	})
}

func newRig(t *testing.T, o Options, ticks time.Duration, caBundles ...[]byte) *rig {
	t.Helper()
	r := &rig{
		sources:   newFakeSources(),
		targets:   newFakeTargets(),
		publisher: &fakePublisher{},
		events:    record.NewFakeRecorder(1000),
		registry:  prometheus.NewRegistry(),
		leads:     true,
	}
	r.sources.set(secret, caOne)
	r.targets.make(target, secret, caBundles...)
	o.Interval = interval
	o.Leads = func() bool { return r.leads }
	m := metrics.New(r.registry)
	r.ledger = ledger.New(ledger.Options{Interval: ticks}, r.sources, m, clock.RealClock{})
	r.Resync = New(o, r.ledger, r.targets, r.events, m, clock.RealClock{})
	r.SetPublisher(r.publisher)
	ended := make(chan error)
	go func() { ended <- r.ledger.Start(t.Context()) }()
	t.Cleanup(func() {
		r.queue.ShutDown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// show shows target as it is to the Resync, as its watch would when it begins.
func (r *rig) show(target cabundle.Target) { r.watch(target, true) }

// changed shows target as it is to the Resync, as its watch would when it has just changed.
func (r *rig) changed(target cabundle.Target) { r.watch(target, false) }

func (r *rig) watch(target cabundle.Target, listed bool) {
	handler := kindHandler{r.Resync, target.Kind}
	if metadata, ok := r.targets.metadata(target); ok {
		handler.Seen(metadata, listed)
	} else {
		handler.Gone(target.Name)
	}
}

// work reconciles what is queued until nothing is, and returns how long the last target wants to wait for another look.
func (r *rig) work(t *testing.T) (again time.Duration) {
	t.Helper()
	synctest.Wait()
	for turns := 0; r.queue.Len() > 0; turns++ {
		if turns == 1000 {
			t.Fatal("it does not come to rest")
		}
		next, _ := r.queue.Get()
		again = r.reconcile(t.Context(), next)
		r.queue.Done(next)
		if again > 0 {
			r.queue.AddAfter(next, again)
		}
		synctest.Wait()
	}
	return again
}

// pass lets time pass, in which the ledger works and nobody works off the queue.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// during works off what is queued as time passes. The watches show all changes at once.
func (r *rig) during(t *testing.T, d time.Duration) {
	t.Helper()
	shown := map[cabundle.Target]string{}
	for begin := time.Now(); ; r.pass(50 * time.Millisecond) {
		r.work(t)
		for target, version := range r.targets.versions() {
			if shown[target] != version {
				shown[target] = version
				r.changed(target)
			}
		}
		r.work(t)
		if time.Since(begin) >= d {
			return
		}
	}
}

// tick reads a source as the ledger does now and then.
func (r *rig) tick(t *testing.T, ref cabundle.Reference) {
	t.Helper()
	r.ledger.Read(t.Context(), ref, cluster.Cached, metrics.Resync)
	synctest.Wait()
}

// know reads a source from etcd, so that a look need not.
func (r *rig) know(t *testing.T, ref cabundle.Reference) {
	t.Helper()
	r.ledger.Read(t.Context(), ref, cluster.Consistent, metrics.Resync)
	synctest.Wait()
}

// filled shows the target and has it filled, as at the beginning of most tests.
func (r *rig) filled(t *testing.T) {
	t.Helper()
	r.show(target)
	r.work(t)
	r.show(target)
	r.work(t)
	r.targets.forget()
	r.sources.forget()
}

func (r *rig) expect(t *testing.T, caBundles ...[]byte) {
	t.Helper()
	r.expectOf(t, target, caBundles...)
}

func (r *rig) expectOf(t *testing.T, target cabundle.Target, caBundles ...[]byte) {
	t.Helper()
	if diff := cmp.Diff(string(bytes.Join(caBundles, []byte("|"))), r.targets.held(target)); diff != "" {
		t.Errorf("%s: %s", target, diff)
	}
}

// expectEvent fails the test unless the next Event has part in it; empty means that there is none.
func (r *rig) expectEvent(t *testing.T, part string) {
	t.Helper()
	select {
	case event := <-r.events.Events:
		if part == "" || !strings.Contains(event, part) {
			t.Errorf("Event %q, want …%s…", event, part)
		}
	default:
		if part != "" {
			t.Errorf("no Event …%s…", part)
		}
	}
}

// expectContest fails the test unless the metric names manager, or nobody.
func (r *rig) expectContest(t *testing.T, manager string) {
	t.Helper()
	want := ""
	if manager != "" {
		want = "# HELP caject_target_contested 1 for each annotated object whose caBundle another field manager keeps changing back, or emptying.\n" +
			"# TYPE caject_target_contested gauge\n" +
			fmt.Sprintf("caject_target_contested{kind=%q,manager=%q,name=%q} 1\n", target.Kind, manager, target.Name)
	}
	if err := testutil.CollectAndCompare(r.Resync, strings.NewReader(want), "caject_target_contested"); err != nil {
		t.Error(err)
	}
}

// count returns how often a counter of package metrics has been raised, over all its labels that hold value.
func (r *rig) count(t *testing.T, name, value string) (sum int) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && strings.Contains(metric.String(), `"`+value+`"`) {
				sum += int(metric.GetCounter().GetValue())
			}
		}
	}
	return sum
}

// undo is what somebody does who wants another caBundle.
func (r *rig) undo(manager string) { r.overwrite(manager, caRival) }

// wipe is what somebody does who applies a placeholder.
func (r *rig) wipe(manager string) { r.overwrite(manager, []byte("\n")) }

func (r *rig) overwrite(manager string, caBundle []byte) {
	r.targets.put(target, caBundle)
	r.targets.edit(target, func(o metav1.Object) {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Time: &metav1.Time{Time: time.Now()}}})
	})
	r.changed(target)
}

// both returns one bundle of all.
func both(pems ...[]byte) []byte { return bytes.Join(pems, nil) }
