package resync

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// fakeBundles holds one CABundle.
type fakeBundles struct {
	object *v1alpha1.CABundle
	writes int
	// beforeWrite, if set, happens once, between read and write.
	beforeWrite func()
	err         error
}

func (f *fakeBundles) Get(_ context.Context, name string) (*v1alpha1.CABundle, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.object == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	return f.object.DeepCopy(), nil
}

// write replaces what is stored, if that is what was read.
func (f *fakeBundles) write(read, stored *v1alpha1.CABundle) error {
	f.writes++
	if f.beforeWrite != nil {
		f.beforeWrite()
		f.beforeWrite = nil
	}
	switch {
	case f.err != nil:
		return f.err
	case f.object == nil && read.UID != "":
		return apierrors.NewNotFound(schema.GroupResource{}, read.Name)
	case f.object != nil && read.UID == "":
		return apierrors.NewAlreadyExists(schema.GroupResource{}, read.Name)
	case f.object != nil && f.object.ResourceVersion != read.ResourceVersion:
		return apierrors.NewConflict(schema.GroupResource{}, read.Name, errors.New("changed"))
	}
	stored.ResourceVersion = fmt.Sprint("w", f.writes)
	f.object = stored.DeepCopy()
	*read = *stored
	return nil
}

func (f *fakeBundles) Create(_ context.Context, object *v1alpha1.CABundle) error {
	stored := object.DeepCopy()
	stored.UID, stored.Status = types.UID(fmt.Sprint("uid", f.writes)), v1alpha1.CABundleStatus{}
	return f.write(object, stored)
}

func (f *fakeBundles) Update(_ context.Context, object *v1alpha1.CABundle) error {
	stored := object.DeepCopy()
	if f.object != nil {
		stored.Status = f.object.Status
	}
	return f.write(object, stored)
}

func (f *fakeBundles) UpdateStatus(_ context.Context, object *v1alpha1.CABundle) error {
	stored := f.object.DeepCopy()
	if stored == nil {
		stored = object.DeepCopy()
	}
	stored.ResourceVersion, stored.Status = object.ResourceVersion, object.Status
	return f.write(object, stored)
}

func (f *fakeBundles) Delete(_ context.Context, object *v1alpha1.CABundle) error {
	if f.object == nil || object.UID != "" && object.UID != f.object.UID {
		return apierrors.NewNotFound(schema.GroupResource{}, object.Name)
	}
	f.writes++
	f.object = nil
	return f.err
}

// change is what somebody else does to what is stored, and what the watch shows of it.
func (f *fakeBundles) change(p *publisher, do func(*v1alpha1.CABundle)) {
	do(f.object)
	f.object.ResourceVersion += "x"
	p.see(f.object.DeepCopy())
}

// publishing is a rig that publishes.
type publishing struct {
	*rig
	bundles   *fakeBundles
	stoppable stoppable // the clock, in a bubble
}

func newPublishing(t *testing.T, caBundles ...[]byte) *publishing {
	r := &publishing{rig: newRig(t, caBundles...)}
	r.publishFrom(&fakeBundles{})
	r.bundles = r.publisher.bundles.(*fakeBundles)
	return r
}

// publishFrom is what a start of caject is, for what it publishes.
func (r *rig) publishFrom(stored *fakeBundles) {
	r.publisher = newPublisher(stored, r.Resync.sources, r.tracker, &r.options, r.events, r.clock)
}

// publish brings the CABundle up to date, and returns it with how long it is until it must be looked at again.
func (p *publishing) publish(t *testing.T) (*v1alpha1.CABundle, time.Duration) {
	t.Helper()
	result, err := p.publisher.Reconcile(t.Context(), secret)
	if err != nil {
		t.Fatalf("an error would be logged at each try: %v", err)
	}
	return p.bundles.object, result.RequeueAfter
}

// settled is publish, and all that the targets have to do about it, until nothing is left to do.
func (p *publishing) settled(t *testing.T) *v1alpha1.CABundle {
	t.Helper()
	p.publish(t)
	p.work(t)
	p.watch()
	p.work(t)
	object, _ := p.publish(t)
	return object
}

func encoded(ca ...[]byte) string { return base64.StdEncoding.EncodeToString(bytes.Join(ca, nil)) }

func TestASourceIsPublished(t *testing.T) {
	r := newPublishing(t, nil)
	r.watch()
	object, again := r.publish(t)
	if object == nil || again != 0 {
		t.Fatalf("%v, again after %v", object, again)
	}
	if diff := cmp.Diff(v1alpha1.CABundleSpec{Source: "secret/ns/name", CABundle: encoded(caOne)}, object.Spec); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{v1alpha1.WebhookTargetsLabel: "true"}, object.Labels); diff != "" {
		t.Error(diff)
	}
	if !meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.Ready) || object.Status.Targets != 1 || object.Status.Injected != 0 {
		t.Errorf("status is %+v", object.Status)
	}
	if object = r.settled(t); object.Status.Injected != 1 || len(object.Status.Certificates) != 1 {
		t.Errorf("status is %+v", object.Status)
	}
	writes, reads := r.bundles.writes, r.sources.reads[cluster.Consistent]
	r.clock.Step(time.Minute)
	r.publish(t)
	r.publisher.see(object.DeepCopy()) // the watch shows our own write
	r.publish(t)
	if r.bundles.writes != writes || r.sources.reads[cluster.Consistent] != reads {
		t.Errorf("%d writes and %d reads for nothing", r.bundles.writes-writes, r.sources.reads[cluster.Consistent]-reads)
	}
}

func TestWhatBecomesOfABundleWhoseSourceHasAProblem(t *testing.T) {
	for reason, want := range map[cabundle.Reason]string{
		cabundle.SourceNotFound:    encoded(caOne),
		cabundle.SourceForbidden:   encoded(caOne),
		cabundle.SourceWithoutCA:   encoded(caOne),
		cabundle.SourceInvalid:     encoded(caOne),
		cabundle.SourceNotAllowed:  "",
		cabundle.SourceUnavailable: encoded(caOne),
	} {
		t.Run(string(reason), func(t *testing.T) {
			r := newPublishing(t, nil)
			r.watch()
			r.settled(t)
			r.sources.problem = &cabundle.Problem{Reason: reason, Detail: "why", Remedy: "way out"}
			r.read(t.Context(), secret, cluster.Consistent)
			object, _ := r.publish(t)
			if object.Spec.CABundle != want {
				t.Errorf("%q is published", object.Spec.CABundle)
			}
			condition := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.Ready)
			if reason == cabundle.SourceUnavailable {
				if condition.Status != metav1.ConditionTrue {
					t.Errorf("an outage is taken for %+v", condition)
				}
				return
			}
			if condition.Status != metav1.ConditionFalse || condition.Reason != string(reason) || condition.Message != "why (way out)" {
				t.Errorf("it is %+v", condition)
			}
			if object.Labels[v1alpha1.NotReadyLabel] != "true" {
				t.Errorf("labels are %v", object.Labels)
			}
		})
	}
}

func TestWhatOthersWriteIsPutRight(t *testing.T) {
	r := newPublishing(t, nil)
	r.watch()
	good := r.settled(t).DeepCopy()
	for sentence, do := range map[string]func(*v1alpha1.CABundle){
		"another bundle":       func(o *v1alpha1.CABundle) { o.Spec.CABundle = encoded(caTwo) },
		"none":                 func(o *v1alpha1.CABundle) { o.Spec.CABundle = "" },
		"values to replace":    func(o *v1alpha1.CABundle) { o.Spec.Replaces = []string{encoded(caTwo)} },
		"no labels":            func(o *v1alpha1.CABundle) { o.Labels = nil },
		"another state":        func(o *v1alpha1.CABundle) { o.Status.Targets, o.Status.Injected = 7, 7 },
		"another source":       func(o *v1alpha1.CABundle) { o.Spec.Source = "secret/ns/other" },
		"no source that it is": func(o *v1alpha1.CABundle) { o.Spec.Source = "nonsense" },
	} {
		t.Run(sentence, func(t *testing.T) {
			r.bundles.change(r.publisher, do)
			object, _ := r.publish(t)
			object = object.DeepCopy()
			for _, o := range []*v1alpha1.CABundle{good, object} {
				o.ResourceVersion, o.UID = "", ""
			}
			if diff := cmp.Diff(good, object); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("deleted", func(t *testing.T) {
		gone := r.bundles.object.DeepCopy()
		gone.ResourceVersion = ""
		r.bundles.object = nil
		r.publisher.see(gone)
		if object, _ := r.publish(t); object == nil || object.Spec.CABundle != encoded(caOne) {
			t.Errorf("it is %+v", object)
		}
	})
}

func TestOthersGetInTheWayOfAWrite(t *testing.T) {
	r := newPublishing(t, nil)
	r.watch()
	r.bundles.beforeWrite = func() { // another replica is faster
		r.bundles.object = &v1alpha1.CABundle{
			ObjectMeta: metav1.ObjectMeta{Name: secret.PublishedName(), UID: "other", ResourceVersion: "1"},
			Spec:       v1alpha1.CABundleSpec{Source: secret.String(), CABundle: encoded(caTwo)},
		}
	}
	object, again := r.publish(t)
	// What a caject before this one has published is merged.
	if again != 0 || object.UID != "other" || object.Spec.CABundle != encoded(caTwo, caOne) {
		t.Errorf("it is %+v, again after %v", object, again)
	}
	r.bundles.err = apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no right"))
	r.bundles.change(r.publisher, func(o *v1alpha1.CABundle) { o.Labels = nil })
	if _, again := r.publish(t); again != r.options.Interval || r.publisher.unavailable == "" {
		t.Errorf("again after %v, unavailable: %q", again, r.publisher.unavailable)
	}
	r.bundles.err = nil
	if object, again := r.publish(t); again != 0 || len(object.Labels) == 0 || r.publisher.unavailable != "" {
		t.Errorf("labels are %v, again after %v, unavailable: %q", object.Labels, again, r.publisher.unavailable)
	}
}

func TestWhatTheSourceHeldBetweenTwoPublicationsIsPublished(t *testing.T) {
	r := newPublishing(t, nil)
	r.watch()
	r.work(t) // filled from the first, before that was published
	r.expect(t, caOne)
	r.sources.ca = caTwo
	r.read(t.Context(), secret, cluster.Consistent)
	object, _ := r.publish(t)
	want := v1alpha1.CABundleSpec{Source: secret.String(), CABundle: encoded(caOne, caTwo), Replaces: []string{encoded(caOne)}}
	if diff := cmp.Diff(want, object.Spec); diff != "" {
		t.Error(diff)
	}
}

func TestWhatNothingNamesIsRemoved(t *testing.T) {
	r := newPublishing(t, nil)
	r.watch()
	r.settled(t)
	r.tracker.forget(target)
	object, again := r.publish(t)
	if object == nil || len(object.Labels) > 0 || again != removeAfter*r.options.Interval {
		t.Fatalf("it is %+v, again after %v", object, again)
	}
	r.clock.Step(again - time.Second)
	if object, again = r.publish(t); object == nil || again != time.Second {
		t.Fatalf("it is %+v, again after %v", object, again)
	}
	r.watch() // named again
	if object, _ = r.publish(t); object.Labels[v1alpha1.WebhookTargetsLabel] != "true" {
		t.Errorf("labels are %v", object.Labels)
	}
	r.tracker.forget(target)
	_, again = r.publish(t)
	r.clock.Step(again)
	if object, again = r.publish(t); object != nil || again != 0 {
		t.Errorf("it is %+v, again after %v", object, again)
	}
}

// TestARetirementSurvivesARestart ends a caject after it has published what is left, and before the target follows.
func TestARetirementSurvivesARestart(t *testing.T) {
	longLived := func(name string) []byte { return cabundletest.CA(name, start, start.Add(24*time.Hour)) }
	one, two, foreign := longLived("one"), longLived("two"), longLived("foreign")
	r := newPublishing(t, foreign)
	r.options.RetireAfter = 10 * time.Minute
	r.sources.ca = one
	r.watch()
	r.settled(t)
	r.sources.ca = two
	r.Changed(secret)
	r.work(t)
	r.settled(t)
	r.expect(t, bytes.Join([][]byte{foreign, one, two}, nil))

	r.clock.Step(10*time.Minute - time.Second)
	if object := r.settled(t); object.Spec.CABundle != encoded(one, two) {
		t.Errorf("it has left too early: %v", object.Status.Certificates)
	}
	r.clock.Step(2 * time.Second)
	object, _ := r.publish(t)
	if object.Spec.CABundle != encoded(two) || len(object.Status.Certificates) != 2 {
		t.Errorf("published: %+v", object)
	}
	r.expect(t, bytes.Join([][]byte{foreign, one, two}, nil))

	r.tracker.forget(target)
	r.queue.added = nil
	r.publishFrom(r.bundles)
	r.watch()
	object = r.settled(t)
	r.expect(t, bytes.Join([][]byte{foreign, two}, nil))
	if len(object.Status.Certificates) != 1 || len(object.Spec.Replaces) > 0 {
		t.Errorf("what is done is remembered: %+v", object)
	}
}

func TestNothingIsRetiredWhileTheSourceIsOfNoUse(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.RetireAfter = time.Minute
	r.watch()
	r.settled(t)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceNotFound}
	r.read(t.Context(), secret, cluster.Consistent)
	r.publish(t)
	r.clock.Step(2 * time.Minute)
	object, _ := r.publish(t)
	if object.Spec.CABundle != encoded(caOne) || object.Status.Certificates[0].LastSeen == nil {
		t.Errorf("it is %+v", object)
	}
	r.sources.problem = nil
	r.read(t.Context(), secret, cluster.Consistent)
	if object, _ = r.publish(t); object.Spec.CABundle != encoded(caOne) || object.Status.Certificates[0].LastSeen != nil {
		t.Errorf("back again, it is %+v", object)
	}
}

// policy fills what is empty, or in replaces, from the CABundle; it sees a write of that only after lag tries.
func (p *publishing) policy(lag int) func(*admissionregistrationv1.ValidatingWebhookConfiguration) {
	seen, left := "", 0
	return func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
		if p.bundles.object == nil {
			return
		}
		spec := p.bundles.object.Spec
		if spec.CABundle != seen {
			if left++; left <= lag {
				return
			}
			seen, left = spec.CABundle, 0
		}
		for i := range c.Webhooks {
			held := base64.StdEncoding.EncodeToString(c.Webhooks[i].ClientConfig.CABundle)
			for _, old := range append([]string{"", "Cg=="}, spec.Replaces...) {
				if held == old {
					c.Webhooks[i].ClientConfig.CABundle, _ = base64.StdEncoding.DecodeString(spec.CABundle)
				}
			}
		}
	}
}

// rotate has the source rotated, and a hint read it.
func (p *publishing) rotate(t *testing.T) {
	t.Helper()
	p.sources.ca = caTwo
	if !p.readHinted(t.Context(), secret) {
		t.Fatal("no target is affected")
	}
	p.targets.reads, p.sources.reads, p.targets.writes, p.targets.readmits = map[cluster.Freshness]int{}, map[cluster.Freshness]int{}, 0, 0
}

func TestAPolicyWritesARotationAndNothingIsRead(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.Policy = true
	r.targets.admit = r.policy(0)
	r.watch()
	r.settled(t)
	r.rotate(t)
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	if len(r.targets.reads)+len(r.sources.reads)+r.targets.writes > 0 || r.targets.readmits != 1 {
		t.Errorf("reads %v and %v, %d writes, %d times admitted again", r.targets.reads, r.sources.reads, r.targets.writes, r.targets.readmits)
	}
}

// workPatiently is work that waits for policies.
func (p *publishing) workPatiently(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				if p.clock.HasWaiters() {
					p.clock.Step(10 * time.Millisecond)
				}
			}
		}
	})
	p.work(t)
	close(done)
	passing.Wait()
}

func TestAPolicyThatLagsIsWaitedFor(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.Policy = true
	r.targets.admit = r.policy(0)
	r.watch()
	r.settled(t)
	r.targets.admit = r.policy(2)
	r.rotate(t)
	r.workPatiently(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	if r.targets.writes > 0 || r.targets.readmits != 3 {
		t.Errorf("%d writes, %d times admitted again", r.targets.writes, r.targets.readmits)
	}
}

func TestWithoutAPolicyThatFillsTheTargetIsWritten(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.Policy = true
	r.watch()
	r.settled(t)
	r.rotate(t)
	r.targets.admit = r.policy(1000)
	r.workPatiently(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	if r.targets.writes != 1 {
		t.Errorf("%d writes", r.targets.writes)
	}
	if r.policyFills() {
		t.Error("the policy is still counted on")
	}
	r.clock.Step(policyRest)
	if !r.policyFills() {
		t.Error("the policy is not tried again")
	}
}

func TestATargetThatIsNotAdmittedAgainIsWritten(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.Policy = true
	r.watch()
	r.settled(t)
	r.rotate(t)
	r.targets.admit = nil
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
	if r.targets.writes != 1 {
		t.Errorf("%d writes", r.targets.writes)
	}
	if !r.policyFills() {
		t.Error("the policy is blamed for it")
	}
}

func TestForeignCertificatesAreMergedByResync(t *testing.T) {
	foreign := cabundletest.CA("foreign", start.Add(-time.Hour), start.Add(time.Hour))
	r := newPublishing(t, foreign)
	r.options.Policy = true
	r.targets.admit = r.policy(0)
	r.watch()
	r.settled(t)
	r.expect(t, append(bytes.Clone(foreign), caOne...))
	r.rotate(t)
	r.work(t)
	r.expect(t, bytes.Join([][]byte{foreign, caOne, caTwo}, nil))
	if r.targets.writes != 1 {
		t.Errorf("%d writes", r.targets.writes)
	}
}
