package resync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"gomodules.xyz/jsonpatch/v2"
	evanphx "gopkg.in/evanphx/json-patch.v4"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

var (
	start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	caOne = cabundletest.CA("one", start.Add(-time.Hour), start.Add(time.Hour))
	caTwo = cabundletest.CA("two", start.Add(-time.Hour), start.Add(2*time.Hour))

	target = cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: "target"}
	secret = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "name"}
)

// fakeSources answers with what it holds; cached answers can differ.
type fakeSources struct {
	mu         sync.Mutex
	ca, cached []byte // PEM
	problem    *cabundle.Problem
	panics     bool
	reads      map[cluster.Freshness]int
}

func (f *fakeSources) Read(_ context.Context, ref cabundle.Reference, freshness cluster.Freshness) cabundle.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads[freshness]++
	if f.panics {
		return cabundle.Reading{Problem: cabundle.Panicked(ref)}
	}
	if f.problem != nil {
		return cabundle.Reading{Problem: f.problem}
	}
	if freshness == cluster.Cached && f.cached != nil {
		return cabundle.Reading{Bundle: cabundle.ParseExisting(f.cached)}
	}
	return cabundle.Reading{Bundle: cabundle.ParseExisting(f.ca)}
}

// change is what happens to it while it is read.
func (f *fakeSources) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// consistent returns how many consistent reads there were.
func (f *fakeSources) consistent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[cluster.Consistent]
}

// fakeTargets holds one webhook configuration.
type fakeTargets struct {
	object *admissionregistrationv1.ValidatingWebhookConfiguration
	cached *admissionregistrationv1.ValidatingWebhookConfiguration
	getErr error
	// beforePatch, if set, happens between read and write.
	beforePatch func()
	patchErr    error
	reads       map[cluster.Freshness]int
	writes      int
	// admit, if set, is what an admission policy does to the object when it is admitted again.
	admit    func(*admissionregistrationv1.ValidatingWebhookConfiguration)
	readmits int
}

func (f *fakeTargets) Get(_ context.Context, t cabundle.Target, freshness cluster.Freshness) (cabundle.Object, error) {
	f.reads[freshness]++
	object := f.object
	if freshness == cluster.Cached && f.cached != nil {
		object = f.cached
	}
	switch {
	case f.getErr != nil:
		return cabundle.Object{}, f.getErr
	case object == nil:
		return cabundle.Object{}, apierrors.NewNotFound(schema.GroupResource{}, t.Name)
	}
	raw, err := json.Marshal(object)
	parsed := cabundle.ParseObject(t.Kind, raw)
	parsed.Managers = cabundle.ParseManagers(t.Kind, raw)
	return parsed, err
}

func (f *fakeTargets) Patch(_ context.Context, read cabundle.Object, patch []jsonpatch.Operation) (metav1.ObjectMeta, error) {
	f.writes++
	if f.beforePatch != nil {
		f.beforePatch()
		f.beforePatch = nil
	}
	if f.patchErr != nil {
		return metav1.ObjectMeta{}, f.patchErr
	}
	if read.ResourceVersion != f.object.ResourceVersion {
		return metav1.ObjectMeta{}, apierrors.NewConflict(schema.GroupResource{}, read.Name, errors.New("changed"))
	}
	raw, err := json.Marshal(f.object)
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	operations, err := json.Marshal(patch)
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	decoded, err := evanphx.DecodePatch(operations)
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	if raw, err = decoded.Apply(raw); err != nil {
		return metav1.ObjectMeta{}, err
	}
	f.object = &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := json.Unmarshal(raw, f.object); err != nil {
		return metav1.ObjectMeta{}, err
	}
	f.bump()
	return f.object.ObjectMeta, nil
}

func (f *fakeTargets) Readmit(ctx context.Context, t cabundle.Target, _ bool) (cabundle.Object, error) {
	if f.admit == nil {
		return cabundle.Object{}, errors.New("nothing admits")
	}
	f.readmits++
	before := f.object.DeepCopy()
	f.admit(f.object)
	if !equality.Semantic.DeepEqual(before, f.object) {
		f.bump()
	}
	reads := f.reads
	f.reads = map[cluster.Freshness]int{} // it is not a read
	defer func() { f.reads = reads }()
	return f.Get(ctx, t, cluster.Consistent)
}

func (f *fakeTargets) Disown(_ context.Context, _ cabundle.Target, written metav1.ObjectMeta) (metav1.ObjectMeta, error) {
	return written, nil
}

func (f *fakeTargets) Managers(_ context.Context, t cabundle.Target) ([]cabundle.Manager, error) {
	raw, err := json.Marshal(f.object)
	return cabundle.ParseManagers(t.Kind, raw), err
}

// bump is what the API server does at each write that changes something.
func (f *fakeTargets) bump() {
	f.object.Generation++
	f.object.ResourceVersion = fmt.Sprint(100 + f.object.Generation)
}

// rig is a Resync with fakes around it.
type rig struct {
	*Resync
	sources *fakeSources
	targets *fakeTargets
	clock   *clocktesting.FakeClock
	events  *record.FakeRecorder
	queue   *fakeQueue
}

type fakeQueue struct{ added []cabundle.Target }

func (q *fakeQueue) Add(t cabundle.Target) { q.added = append(q.added, t) }

func newRig(t *testing.T, caBundles ...[]byte) *rig {
	t.Helper()
	r := &rig{
		sources: &fakeSources{ca: caOne, reads: map[cluster.Freshness]int{}},
		targets: &fakeTargets{object: configuration(caBundles...), reads: map[cluster.Freshness]int{}},
		clock:   clocktesting.NewFakeClock(start),
		events:  record.NewFakeRecorder(100),
		queue:   &fakeQueue{},
	}
	r.Resync = New(Options{Interval: 30 * time.Second}, r.sources, r.targets, r.events, metrics.New(prometheus.NewRegistry()), r.clock)
	r.tracker.setQueue(r.queue)
	return r
}

func configuration(caBundles ...[]byte) *admissionregistrationv1.ValidatingWebhookConfiguration {
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{
		Name: target.Name, UID: "uid", Generation: 1, ResourceVersion: "101",
		Annotations: map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name"},
	}}
	for i, caBundle := range caBundles {
		c.Webhooks = append(c.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name:         fmt.Sprintf("w%d", i),
			ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: caBundle},
		})
	}
	return c
}

// watch shows the object as it is to the Resync, as the watch would when it begins.
func (r *rig) watch() { r.watchChange(false) }

// watchChange is the same, for an object that was already there or has just changed.
func (r *rig) watchChange(changed bool) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: *r.targets.object.ObjectMeta.DeepCopy()}
	r.see(target.Kind, object, changed)
}

// work reconciles what is queued, and returns how long the target wants to wait for another look.
func (r *rig) work(t *testing.T) time.Duration {
	t.Helper()
	again := time.Duration(0)
	queued := r.queue.added
	r.queue.added = nil
	for _, target := range queued {
		result, err := r.Reconcile(t.Context(), target)
		if err != nil {
			t.Fatalf("an error would be logged at each try: %v", err)
		}
		again = result.RequeueAfter
	}
	return again
}

// retry is what the queue does once the time has come.
func (r *rig) retry(t *testing.T) time.Duration {
	t.Helper()
	r.queue.Add(target)
	return r.work(t)
}

func (r *rig) held() string {
	var all []string
	for _, w := range r.targets.object.Webhooks {
		all = append(all, string(w.ClientConfig.CABundle))
	}
	return strings.Join(all, "|")
}

func (r *rig) expect(t *testing.T, caBundles ...[]byte) {
	t.Helper()
	if diff := cmp.Diff(string(bytes.Join(caBundles, []byte("|"))), r.held()); diff != "" {
		t.Error(diff)
	}
}

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

func TestANewTargetIsFilled(t *testing.T) {
	r := newRig(t, nil, []byte("\n"))
	r.watch()
	if again := r.work(t); again != 0 {
		t.Errorf("looks again after %v", again)
	}
	r.expect(t, caOne, caOne)
	r.expectEvent(t, "")

	// The watch shows our own write: there is nothing to read.
	r.targets.reads, r.sources.reads = map[cluster.Freshness]int{}, map[cluster.Freshness]int{}
	r.watch()
	r.work(t)
	if len(r.targets.reads)+len(r.sources.reads) > 0 || r.targets.writes != 1 {
		t.Errorf("after our own write: reads %v and %v, %d writes in all", r.targets.reads, r.sources.reads, r.targets.writes)
	}
}

func TestWhatIsRightCostsTwoCachedReadsAndNoWrite(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	want := map[cluster.Freshness]int{cluster.Cached: 1}
	if diff := cmp.Diff(want, r.targets.reads); diff != "" {
		t.Error("target:", diff)
	}
	if diff := cmp.Diff(want, r.sources.reads); diff != "" {
		t.Error("source:", diff)
	}
	if r.targets.writes > 0 {
		t.Error("what is right was written")
	}
}

func TestAWebhookConfigurationThatHasJustChangedIsReadOnce(t *testing.T) {
	r := newRig(t, nil)
	r.watchChange(true)
	r.work(t)
	r.expect(t, caOne)
	want := map[cluster.Freshness]int{cluster.Consistent: 1}
	if diff := cmp.Diff(want, r.targets.reads); diff != "" {
		t.Error("target:", diff)
	}
	if diff := cmp.Diff(want, r.sources.reads); diff != "" {
		t.Error("source:", diff)
	}
}

func TestACachedAnswerIsNeverWritten(t *testing.T) {
	r := newRig(t, nil)
	r.sources.ca, r.sources.cached = caTwo, caOne
	r.targets.cached = configuration([]byte("stale"))
	r.watch()
	r.work(t)
	r.expect(t, caTwo)
}

func TestACachedTargetThatIsOlderThanTheWatchIsNotTrusted(t *testing.T) {
	r := newRig(t, nil)
	r.targets.cached = configuration(caOne) // right, but of before the change
	r.targets.bump()
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestAConcurrentChangeIsNotOverwritten(t *testing.T) {
	r := newRig(t, nil)
	r.targets.beforePatch = func() {
		r.targets.object.Webhooks[0].ClientConfig.CABundle = caTwo
		r.targets.bump()
	}
	r.watch()
	again := r.work(t)
	r.expect(t, caTwo)
	if again == 0 || again > time.Second {
		t.Errorf("after a conflict it looks again after %v", again)
	}
	r.expectEvent(t, "")
	r.retry(t)
	r.expect(t, append(bytes.Clone(caTwo), caOne...))
}

func TestNotYetIsRetriedWithBackoffAndReportedOnce(t *testing.T) {
	r := newRig(t, nil)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: "Secret ns/name does not exist"}
	r.watch()
	wait := r.work(t)
	if wait <= 0 || wait > time.Second {
		t.Errorf("the first retry is after %v", wait)
	}
	r.expectEvent(t, "Warning SourceNotFound")
	for range 20 {
		next := r.retry(t)
		if next < wait {
			t.Fatalf("the wait went from %v to %v", wait, next)
		}
		wait = next
	}
	if wait != 30*time.Second {
		t.Errorf("the longest wait is %v, not the interval", wait)
	}
	r.expectEvent(t, "")

	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: "Secret ns/name has no key ca.crt"}
	r.retry(t)
	r.expectEvent(t, "Warning SourceWithoutCA")

	r.sources.problem = nil
	if again := r.retry(t); again != 0 {
		t.Errorf("looks again after %v", again)
	}
	r.expect(t, caOne)
	r.expectEvent(t, "Normal Injected")
}

func TestWhileOnlyTheSourceIsMissingTheTargetIsNotReadAgain(t *testing.T) {
	r := newRig(t, nil)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: "Secret ns/name does not exist"}
	r.watch()
	r.work(t)
	r.targets.reads = map[cluster.Freshness]int{}
	for range 3 {
		r.retry(t)
	}
	if len(r.targets.reads) > 0 {
		t.Errorf("the target was read: %v", r.targets.reads)
	}
	// A changed target is read, since it may be right now.
	r.targets.bump()
	r.watch()
	r.work(t)
	if len(r.targets.reads) == 0 {
		t.Error("the changed target was not read")
	}
}

func TestAnErrorThatLastsIsReported(t *testing.T) {
	r := newRig(t, nil)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "cannot be decrypted", Answered: true}
	r.watch()
	r.work(t)
	r.expectEvent(t, "")
	r.clock.Step(31 * time.Second)
	r.retry(t)
	r.expectEvent(t, "Warning SourceUnavailable")
	r.retry(t)
	r.expectEvent(t, "")
	r.sources.problem = nil
	r.retry(t)
	r.expect(t, caOne)
	r.expectEvent(t, "Normal Injected")

	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "connection refused"}
	r.targets.bump()
	r.watch()
	for range 3 {
		r.clock.Step(31 * time.Second)
		r.retry(t)
	}
	r.expectEvent(t, "")
}

func TestACachedAnswerAboutAnEarlierObjectOfTheSameNameIsNotTrusted(t *testing.T) {
	r := newRig(t, nil)
	r.targets.cached = configuration(caOne)
	r.targets.cached.UID = "deleted since"
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestAnotherMalformedAnnotationIsReportedAnew(t *testing.T) {
	r := newRig(t, nil)
	for _, value := range []string{"nonsense", "more nonsense"} {
		r.targets.object.Annotations[cabundle.InjectCAFromSecretAnnotation] = value
		r.watch()
		r.work(t)
		r.expectEvent(t, `"`+value+`"`)
	}
}

func TestAMalformedAnnotationIsFinal(t *testing.T) {
	r := newRig(t, nil)
	r.targets.object.Annotations[cabundle.InjectCAFromSecretAnnotation] = "nonsense"
	r.watch()
	if again := r.work(t); again != 0 {
		t.Errorf("looks again after %v", again)
	}
	r.expectEvent(t, "Warning InvalidAnnotation")
	if len(r.targets.reads)+len(r.sources.reads) > 0 {
		t.Error("something was read")
	}
	r.watch()
	r.readAll(t.Context())
	if len(r.queue.added) > 0 || len(r.sources.reads) > 0 {
		t.Errorf("queued %v, read %v", r.queue.added, r.sources.reads)
	}

	r.targets.object.Annotations[cabundle.InjectCAFromSecretAnnotation] = "ns/name"
	r.watch()
	r.work(t)
	r.expect(t, caOne)
	r.expectEvent(t, "Normal Injected")
}

func TestTheLoopFollowsARotation(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)

	r.readAll(t.Context())
	if len(r.queue.added) > 0 {
		t.Error("an unchanged source has its targets looked at")
	}
	r.sources.ca = caTwo
	r.readAll(t.Context())
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	r.readAll(t.Context())
	if len(r.queue.added) > 0 {
		t.Error("after the rotation the targets are looked at again")
	}
}

func TestTheLoopReportsASourceThatIsNotUsableAnyMore(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceNotAllowed, Detail: "Secret ns/name does not allow it"}
	r.readAll(t.Context())
	r.work(t)
	r.expect(t, caOne)
	r.expectEvent(t, "Warning SourceNotAllowed")
}

func TestAnOutageChangesNothingAndIsNoEvent(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "connection refused"}
	r.readAll(t.Context())
	if len(r.queue.added) > 0 {
		t.Error("an outage has targets looked at")
	}
	r.targets.bump()
	r.watch()
	if again := r.work(t); again == 0 {
		t.Error("it does not look again")
	}
	r.expectEvent(t, "")
	r.sources.problem = nil
	r.retry(t)
	r.expect(t, caOne)
}

func TestAHintReadsConsistently(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.sources.ca, r.sources.cached = caTwo, caOne
	r.Changed(secret)
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))

	r.Changed(cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "other"})
	if len(r.queue.added) > 0 {
		t.Error("a hint about another source has targets looked at")
	}
}

func TestAFightIsNotFought(t *testing.T) {
	r := newRig(t, nil)
	// undo is what somebody does who wants another caBundle, as fast as can be.
	undo := func(manager string) {
		r.targets.object.Webhooks[0].ClientConfig.CABundle = []byte("\n")
		r.targets.object.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: manager, Time: &metav1.Time{Time: r.clock.Now()}}}
		r.targets.bump()
		r.watchChange(true)
		for again := r.work(t); again > 0; again = r.retry(t) {
			r.clock.Step(again)
		}
		r.expect(t, caOne)
	}
	rounds := 0
	for begin := r.clock.Now(); r.clock.Since(begin) < 10*time.Minute; rounds++ {
		undo("other")
		if rounds < contestedAfter {
			r.expectEvent(t, "")
		}
	}
	if rounds > 40 {
		t.Errorf("%d writes in ten minutes", rounds)
	}
	r.expectEvent(t, `Warning TargetContested field manager "other" keeps changing the caBundle back`)
	r.expectEvent(t, "") // said once
	r.expectContest(t, "other")
	undo("another")
	r.expectEvent(t, `"another"`)
	r.expectContest(t, "another")

	// Once it is quiet, the next change is put right at once.
	r.clock.Step(5 * time.Minute)
	r.expectContest(t, "")
	writes, before := r.targets.writes, r.clock.Now()
	undo("other")
	if r.targets.writes != writes+1 || r.clock.Now() != before {
		t.Errorf("%d writes after %v", r.targets.writes-writes, r.clock.Since(before))
	}
	r.expectEvent(t, "")
	r.expectContest(t, "")
}

// expectContest fails the test unless the metric names manager, or nobody.
func (r *rig) expectContest(t *testing.T, manager string) {
	t.Helper()
	want := ""
	if manager != "" {
		want = fmt.Sprintf("caject_target_contested{kind=%q,manager=%q,name=%q} 1\n", target.Kind, manager, target.Name)
		want = "# HELP caject_target_contested 1 for each annotated object whose caBundle another field manager keeps changing back.\n" +
			"# TYPE caject_target_contested gauge\n" + want
	}
	if err := testutil.CollectAndCompare(r.Resync, strings.NewReader(want), "caject_target_contested"); err != nil {
		t.Error(err)
	}
}

func TestARotationInAHurryIsNoFight(t *testing.T) {
	r := newRig(t, nil)
	r.watch()
	r.work(t)
	for n := range 3 * contestedAfter {
		r.sources.ca = cabundletest.CA(fmt.Sprint(n), start.Add(-time.Hour), start.Add(time.Hour))
		r.Changed(secret)
		if again := r.work(t); again > 0 {
			t.Fatalf("rotation %d waits %v", n, again)
		}
	}
	if r.targets.writes != 1+3*contestedAfter {
		t.Fatalf("%d writes", r.targets.writes)
	}
	r.expectEvent(t, "")
	r.expectContest(t, "")
}

func TestARotationDoesNotWaitForTheEndOfAFight(t *testing.T) {
	r := newRig(t, nil)
	undo := func() time.Duration {
		r.targets.object.Webhooks[0].ClientConfig.CABundle = []byte("\n")
		r.targets.bump()
		r.watchChange(true)
		return r.work(t)
	}
	r.watch()
	r.work(t)
	for range 8 {
		for again := undo(); again > 0; again = r.retry(t) {
			r.clock.Step(again)
		}
	}
	if again := undo(); again < 5*time.Second {
		t.Fatalf("after eight rounds it waits for %v", again)
	}
	r.sources.ca = caTwo
	r.Changed(secret)
	if again := r.work(t); again > 0 {
		t.Errorf("a rotation waits for %v", again)
	}
	r.expect(t, caTwo)
}

func TestWhoUndoesSomethingNowAndThenIsNoFighter(t *testing.T) {
	r := newRig(t, nil)
	r.watch()
	r.work(t)
	for n := range 60 {
		r.clock.Step(10 * time.Second)
		r.sources.ca = cabundletest.CA(fmt.Sprint(n), start.Add(-time.Hour), start.Add(24*time.Hour))
		r.Changed(secret)
		r.work(t)
		if n%8 == 0 { // each 80 s, between two rotations
			r.targets.object.Webhooks[0].ClientConfig.CABundle = []byte("\n")
			r.targets.bump()
			r.watchChange(true)
			if again := r.work(t); again > 0 {
				t.Fatalf("the %dth time it waits for %v", n/8+1, again)
			}
			r.expect(t, r.sources.ca)
		}
	}
	r.expectEvent(t, "")
	r.expectContest(t, "")
}

func TestTakingOverFromCainjectorHappensOnce(t *testing.T) {
	r := newRig(t, caOne)
	owned := []metav1.ManagedFieldsEntry{
		{Manager: "helm", FieldsV1: metav1.NewFieldsV1(`{"f:webhooks":{}}`)},
		{Manager: "cert-manager-cainjector", FieldsV1: metav1.NewFieldsV1(`{"f:webhooks":{"k:{\"name\":\"w\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)},
	}
	r.targets.object.ManagedFields = owned
	r.watch()
	r.work(t)
	r.expect(t, caOne)
	if managers := r.targets.object.ManagedFields; len(managers) != 1 || managers[0].Manager != "helm" {
		t.Errorf("owned by %v", managers)
	}
	if r.targets.writes != 1 {
		t.Errorf("%d writes", r.targets.writes)
	}
	// It is still at work.
	for range 3 {
		r.targets.object.ManagedFields = owned
		r.targets.bump()
		r.watchChange(true)
		r.work(t)
	}
	if r.targets.writes != 1 {
		t.Errorf("%d writes", r.targets.writes)
	}
}

func TestAKindThatIsSwitchedOffIsLeftAlone(t *testing.T) {
	r := newRig(t, nil)
	r.options.Kinds = []cabundle.Kind{cabundle.APIService}
	r.watch()
	r.work(t)
	r.expect(t, nil)
	r.options.Own = []cabundle.Target{target} // but caject's own configuration is filled
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestAHintSurvivesAnOutage(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "connection refused"}
	r.Changed(secret)
	r.work(t)
	r.sources.problem, r.sources.ca, r.sources.cached = nil, caTwo, caOne // the cache has not caught up
	r.retry(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
}

func TestAHintDuringALookIsNotLost(t *testing.T) {
	r := newRig(t, nil)
	r.targets.beforePatch = func() {
		r.sources.ca = caTwo
		r.Changed(secret)
	}
	r.watch()
	r.work(t)
	r.watch()               // our own write
	r.clock.Step(r.work(t)) // what the hint queued: just after a write, it waits a little
	r.retry(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
}

func TestExpiryHasATargetLookedAt(t *testing.T) {
	r := newRig(t, append(bytes.Clone(caOne), caTwo...))
	r.sources.ca = caTwo
	r.watch()
	r.work(t)
	r.clock.SetTime(start.Add(time.Hour + time.Second)) // caOne has expired
	r.readAll(t.Context())
	r.work(t)
	r.expect(t, caTwo)
}

func TestTargetsThatAreOutOfReach(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, target.Name, errors.New("no"))
	invalid := apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil)
	tests := map[string]struct {
		change func(*fakeTargets)
		event  string
		again  bool
	}{
		"deleted":                {func(f *fakeTargets) { f.object = nil }, "", false},
		"being deleted":          {func(f *fakeTargets) { f.object.DeletionTimestamp = &metav1.Time{Time: start} }, "", false},
		"not to be read":         {func(f *fakeTargets) { f.getErr = forbidden }, "Warning TargetForbidden", true},
		"not to be written":      {func(f *fakeTargets) { f.patchErr = forbidden }, "Warning TargetForbidden", true},
		"not accepted":           {func(f *fakeTargets) { f.patchErr = invalid }, "Warning TargetRefused", true},
		"the API server is away": {func(f *fakeTargets) { f.getErr = errors.New("connection refused") }, "", true},
		"gone at the write":      {func(f *fakeTargets) { f.patchErr = apierrors.NewNotFound(schema.GroupResource{}, "x") }, "", false},
		"without webhooks":       {func(f *fakeTargets) { f.object.Webhooks = nil }, "Warning NotInjectable", false},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			r := newRig(t, nil)
			r.watch()
			test.change(r.targets)
			again := r.work(t)
			if (again > 0) != test.again {
				t.Errorf("looks again after %v", again)
			}
			r.expectEvent(t, test.event)
		})
	}
}

func TestWhatIsGoneOrNotAnnotatedIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	r.watch()
	delete(r.targets.object.Annotations, cabundle.InjectCAFromSecretAnnotation)
	r.watch()
	if _, known := r.tracker.get(target); known {
		t.Error("a target without annotation is kept")
	}
	r.work(t)
	if len(r.targets.reads) > 0 {
		t.Error("a target without annotation is read")
	}
	r.targets.object = configuration(nil)
	r.watch()
	r.gone(target)
	if _, known := r.tracker.get(target); known {
		t.Error("a deleted target is kept")
	}
}

func TestATargetThatAsksForAnotherSourceByNowWaitsForTheWatch(t *testing.T) {
	r := newRig(t, nil)
	r.watch()
	r.targets.object.Annotations[cabundle.InjectCAFromSecretAnnotation] = "ns/other"
	r.targets.bump()
	if again := r.work(t); again > 0 || r.targets.writes > 0 {
		t.Errorf("looks again after %v, %d writes", again, r.targets.writes)
	}
	r.expectEvent(t, "")
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestATargetThatWasMadeAgainIsLookedAtAgain(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.targets.object = configuration(nil)
	r.targets.object.UID = "another" // of the same generation as before
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestAPanicInASourceIsRetried(t *testing.T) {
	r := newRig(t, caOne)
	r.sources.panics = true
	r.watch()
	if again := r.work(t); again == 0 {
		t.Error("it does not look again")
	}
	r.readAll(t.Context())
	r.sources.panics = false
	r.retry(t)
	r.expect(t, caOne)
}

func TestAStatusChangeIsNotLookedAt(t *testing.T) {
	r := newRig(t, caOne)
	r.watch()
	r.work(t)
	r.targets.object.ResourceVersion = "999" // of the same generation
	r.watch()
	if len(r.queue.added) > 0 {
		t.Error("a change without a new generation has the target looked at")
	}
}
