package resync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/caject/caject/cabundle"
)

const targetStateHelp = `# HELP caject_target_state 1 for the state of each annotated object: injected, refused (with the reason), idle (it has no place for a caBundle) or pending (not looked at yet).
# TYPE caject_target_state gauge
`

func TestWhatIsKnownOfATargetIsCollected(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		expect := func(sentence, state, reason string) {
			t.Helper()
			want := ""
			if state != "" {
				want = targetStateHelp + fmt.Sprintf("caject_target_state{kind=%q,name=\"target\",reason=%q,state=%q} 1\n", target.Kind, reason, state)
			}
			if err := testutil.CollectAndCompare(r.Resync, strings.NewReader(want), "caject_target_state"); err != nil {
				t.Errorf("%s: %v", sentence, err)
			}
		}
		expect("nothing was seen", "", "")
		r.show(target)
		expect("it was seen", "pending", "")
		r.sources.fail(secret, away)
		r.work(t)
		expect("nothing is known yet", "pending", "")
		r.sources.fail(secret, missing)
		r.during(t, time.Second)
		expect("its source is missing", "refused", "SourceNotFound")
		r.sources.set(secret, caOne)
		r.during(t, 10*time.Second)
		expect("it was injected", "injected", "")
		r.targets.patchErr = apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil)
		r.targets.put(target, []byte("\n"))
		r.during(t, time.Second)
		expect("it is not accepted any more", "refused", "TargetRefused")
		r.targets.patchErr, r.targets.disownErr = nil, apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil)
		r.during(t, interval)
		expect("it is injected, but not disowned", "injected", "")
		r.targets.annotate(target, "nonsense")
		r.changed(target)
		r.work(t)
		expect("its annotation cannot be understood", "refused", "InvalidAnnotation")
		r.targets.edit(target, func(o metav1.Object) { o.SetAnnotations(nil) })
		r.changed(target)
		expect("it is not annotated any more", "", "")
	})
}

func TestWhatIsKnownOfSourcesIsCollected(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		expect := func(sentence string, answered time.Time, expiries map[cabundle.Reference]time.Time) {
			t.Helper()
			want := "# HELP caject_resync_last_success_timestamp_seconds When the API server last answered about a referenced source, or there was none to ask about.\n" +
				"# TYPE caject_resync_last_success_timestamp_seconds gauge\n" +
				fmt.Sprintf("caject_resync_last_success_timestamp_seconds %d\n", answered.Unix())
			if len(expiries) > 0 {
				want += "# HELP caject_bundle_expiry_timestamp_seconds When the first certificate of a referenced source expires, if an object can hold it.\n" +
					"# TYPE caject_bundle_expiry_timestamp_seconds gauge\n"
			}
			for ref, at := range expiries {
				want += fmt.Sprintf("caject_bundle_expiry_timestamp_seconds{source=%q} %d\n", ref, at.Unix())
			}
			if err := testutil.CollectAndCompare(r.Resync, strings.NewReader(want),
				"caject_resync_last_success_timestamp_seconds", "caject_bundle_expiry_timestamp_seconds"); err != nil {
				t.Errorf("%s: %v", sentence, err)
			}
		}
		r.pass(time.Minute)
		expect("there are no sources", start.Add(time.Minute), nil)
		r.show(target)
		r.work(t)
		r.pass(time.Minute)
		expiries := map[cabundle.Reference]time.Time{secret: start.Add(1000 * time.Hour)}
		expect("one was read a minute ago", start.Add(time.Minute), expiries)
		r.sources.fail(secret, away)
		r.tick(t, secret)
		expect("it does not answer", start.Add(time.Minute), expiries)
		r.sources.set(secret, caOne)
		r.tick(t, secret)
		expect("it answers", start.Add(2*time.Minute), expiries)
		r.targets.edit(target, func(o metav1.Object) {
			o.(interface{ UnstructuredContent() map[string]any }).UnstructuredContent()["webhooks"] = []any{}
		})
		r.changed(target)
		r.work(t)
		expect("what names it has no place for it", start.Add(2*time.Minute), nil)
		r.targets.remove(target)
		r.changed(target)
		r.pass(time.Minute)
		expect("nobody names it any more", start.Add(3*time.Minute), nil)
	})
}

func TestWhatIsCollectedIsDescribed(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		problems, err := testutil.CollectAndLint(r.Resync)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		if err := r.registry.Register(r.Resync); err != nil {
			t.Fatal(err)
		}
		if _, err := r.registry.Gather(); err != nil {
			t.Error(err)
		}
	})
}
