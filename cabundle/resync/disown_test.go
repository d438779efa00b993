package resync

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

func TestNobodyOwnsWhatIsInjected(t *testing.T) {
	for _, target := range []cabundle.Target{target, crd, service} {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.targets.make(target, secret)
			r.show(target)
			r.work(t)
			r.expectOf(t, target, caOne)
			if diff := cmp.Diff([]string{"helm"}, r.targets.owners(target)); diff != "" || r.targets.disowns != 1 {
				t.Errorf("%s, after %d removals: %s", target, r.targets.disowns, diff)
			}
		})
	}
}

// TestADisownThatFailsAlarmsNobody is about two replicas that act at once: of two that remove the same owner one comes too late.
func TestADisownThatFailsAlarmsNobody(t *testing.T) {
	for sentence, err := range map[string]error{
		"the object has changed":             apierrors.NewConflict(schema.GroupResource{}, target.Name, errors.New("changed")),
		"the owner is not there any more":    apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil),
		"nobody may":                         apierrors.NewForbidden(schema.GroupResource{}, target.Name, errors.New("no")),
		"the API server is away":             errors.New("connection refused"),
		"the object is not there any more":   apierrors.NewNotFound(schema.GroupResource{}, target.Name),
		"the API server has too much to do ": apierrors.NewTooManyRequests("wait", 1),
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.know(t, secret)
				r.targets.disownErr = err
				r.changed(target)
				again := r.work(t)
				if again == 0 || again > time.Second {
					t.Errorf("it is repeated after %v", again)
				}
				r.expect(t, caOne)
				r.changed(target)
				r.during(t, 2*interval) // it goes on and on
				r.expectEvent(t, "")
				if refused := r.count(t, "caject_refusals_total", "resync"); refused > 0 {
					t.Errorf("it is counted as a refusal %d times", refused)
				}
				if r.targets.patches != 1 || r.targets.disowns < 5 || r.targets.disowns > 15 {
					t.Errorf("in a minute it was written %d times, and disowned %d times", r.targets.patches, r.targets.disowns)
				}
				if got := r.count(t, "caject_injections_total", "resync"); got != 1 {
					t.Errorf("it is counted as injected %d times", got)
				}
				r.targets.disownErr = nil
				r.during(t, interval)
				if slices.Contains(r.targets.owners(target), cluster.FieldManager) {
					t.Error("it was not repeated")
				}
				r.targets.forget()
				if r.during(t, 2*interval); r.targets.writes()+r.targets.all() > 0 {
					t.Errorf("then it does not come to rest: %d reads, %d writes", r.targets.all(), r.targets.writes())
				}
				r.expectEvent(t, "")
			})
		})
	}
}

// TestAnotherReplicaWritesAndDisownsAtTheSameTime plays the leader that was a moment behind: its own write came first.
func TestAnotherReplicaDisownsFirst(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.targets.beforeDisown = func() {
			r.targets.beforeDisown = nil
			r.targets.edit(target, func(o metav1.Object) { o.SetManagedFields(o.GetManagedFields()[:1]) })
		}
		r.changed(target)
		r.during(t, time.Second)
		r.expect(t, caOne)
		r.expectEvent(t, "")
		if r.targets.patches != 1 || r.targets.disowns != 1 {
			t.Errorf("it was written %d times, and disowned %d times", r.targets.patches, r.targets.disowns)
		}
		if s, _ := r.tracker.get(target); !s.right(r.ledger.Revision(secret)) || s.failures > 0 {
			t.Errorf("it is %+v", s)
		}
	})
}

func TestTakingOverFromCainjectorHappensOnce(t *testing.T) {
	owned := []metav1.ManagedFieldsEntry{
		{Manager: "helm", FieldsV1: metav1.NewFieldsV1(`{"f:webhooks":{}}`)},
		{Manager: "cert-manager-cainjector", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: caBundleOf(target.Kind)},
		{Manager: "cert-manager-cainjector", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: caBundleOf(target.Kind)},
		{Manager: "cainjector", FieldsV1: caBundleOf(target.Kind)},
	}
	comes := func(r *rig) {
		r.targets.edit(target, func(o metav1.Object) { o.SetManagedFields(owned) })
		r.targets.reconfigure(target)
		r.changed(target)
	}
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		comes(r)
		r.work(t)
		r.expect(t, caOne)
		if diff := cmp.Diff([]string{"helm"}, r.targets.owners(target)); diff != "" {
			t.Error(diff)
		}
		r.targets.forget()
		for range 3 { // it is still at work
			comes(r)
			r.work(t)
		}
		if r.targets.writes() > 0 {
			t.Errorf("%d writes", r.targets.writes())
		}
	}, caOne)
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		comes(r)
		r.targets.disownErr = apierrors.NewConflict(schema.GroupResource{}, target.Name, errors.New("changed"))
		r.work(t)
		r.targets.disownErr = nil
		r.during(t, time.Second)
		if diff := cmp.Diff([]string{"helm"}, r.targets.owners(target)); diff != "" {
			t.Error("a takeover that fails counts as one:", diff)
		}
	}, caOne)
}

// TestTakingOverWhatAdmissionFills: what admission writes changes the value, and leaves the owners as they are.
func TestTakingOverWhatAdmissionFills(t *testing.T) {
	rigged(t, Options{Webhook: true}, func(t *testing.T, r *rig) {
		r.targets.make(crd, secret)
		r.targets.edit(crd, func(o metav1.Object) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{
				{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:group":{}}}`)},
				{Manager: "cainjector", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: caBundleOf(crd.Kind)},
				{Manager: "cainjector", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: caBundleOf(crd.Kind)},
			})
		})
		r.targets.webhook = func(cabundle.Target) []byte { return caOne }
		r.show(crd)
		r.work(t)
		r.expectOf(t, crd, caOne)
		if diff := cmp.Diff([]string{"kubectl"}, r.targets.owners(crd)); diff != "" || r.targets.readmits != 1 || r.targets.disowns != 1 || r.targets.patches > 0 {
			t.Errorf("after %d admissions, %d removals and %d patches: %s", r.targets.readmits, r.targets.disowns, r.targets.patches, diff)
		}
	})
}
