package resync

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
)

func TestARefusedWatchIsLoggedOnceItLasts(t *testing.T) {
	lines := 0
	clock := clocktesting.NewFakeClock(start)
	w := newWatchErrors(funcr.New(func(string, string) { lines++ }, funcr.Options{}), clock)
	crds := apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, "", errors.New("no"))
	services := apierrors.NewForbidden(schema.GroupResource{Resource: "apiservices"}, "", errors.New("no"))
	expect := func(sentence string, want int) {
		t.Helper()
		if lines != want {
			t.Errorf("%s: %d lines, want %d", sentence, lines, want)
		}
	}
	refuse := func(err error, times int) {
		for range times {
			w.handle(err)
			clock.Step(5 * time.Second)
		}
	}
	refuse(crds, 2)
	expect("an API server that is starting", 0)
	clock.Step(time.Hour)
	refuse(crds, 2)
	expect("starting again, later", 0)
	refuse(crds, 100)
	expect("a refusal that lasts", 1)
	refuse(services, 10)
	expect("of another kind, too", 2)
	refuse(crds, 800)
	expect("for over an hour", 3)
	refuse(errors.New("connection refused"), 100)
	expect("an API server that is away", 3)
}

// TestWhatAWatchHasMissedIsMadeUpFor is about the store that stands where an informer's cache would: after an outage it is
// given all that is there by now.
func TestWhatAWatchHasMissedIsMadeUpFor(t *testing.T) {
	r := newRig(t, nil)
	observed := []string{}
	r.options.Observe = func(t cabundle.Target) { observed = append(observed, t.Name) }
	annotated := func(name, version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(name), ResourceVersion: version,
			Annotations: map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name"},
		}}
	}
	plain := annotated("plain", "1")
	plain.Annotations = nil
	store := newTargetStore(r.Resync, target.Kind)
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		got := []string{}
		for target := range r.tracker.snapshot() {
			got = append(got, target.Name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	do(store.Replace([]any{annotated("a", "1"), annotated("b", "1"), plain}, "1"), store.Add(annotated("c", "2")), store.Delete(annotated("b", "3")))
	expect("a", "c")
	observed = observed[:0]
	do(store.Replace([]any{annotated("c", "2"), annotated("d", "5")}, "6"))
	expect("c", "d")
	slices.Sort(observed)
	if diff := cmp.Diff([]string{"a", "c", "d", "plain"}, observed); diff != "" {
		t.Error(diff)
	}
	if err := store.Add(&corev1.Secret{}); err == nil {
		t.Error("a Secret is taken for a target")
	}
}
