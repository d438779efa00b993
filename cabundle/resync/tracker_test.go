package resync

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/publish"
)

// follows returns whether the ledger looks after ref.
func (r *rig) follows(ref cabundle.Reference) bool {
	_, ok := r.ledger.Expiries()[ref]
	return ok
}

func TestNothingIsLeftOfTargetsThatGo(t *testing.T) {
	for sentence, goes := range map[string]func(*rig, cabundle.Target){
		"deleted": func(r *rig, target cabundle.Target) { r.targets.remove(target) },
		"not annotated any more": func(r *rig, target cabundle.Target) {
			r.targets.edit(target, func(o metav1.Object) { o.SetAnnotations(nil) })
		},
		"being deleted": func(r *rig, target cabundle.Target) {
			r.targets.edit(target, func(o metav1.Object) { o.SetDeletionTimestamp(&metav1.Time{Time: start}) })
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				malformed := cabundle.Target{Kind: target.Kind, Name: "malformed"}
				r.targets.make(malformed, secret)
				r.targets.annotate(malformed, "nonsense")
				r.targets.make(crd, secret)
				all := []cabundle.Target{target, crd, malformed}
				for _, target := range all {
					r.show(target)
				}
				r.work(t)
				if !r.follows(secret) {
					t.Fatal("the ledger does not look after the source")
				}
				r.publisher.heard()
				for _, target := range all {
					goes(r, target)
					r.changed(target)
					if followed := r.follows(secret); followed != (target == all[0]) {
						t.Errorf("after %s the ledger looks after the source: %v", target, followed)
					}
				}
				if len(r.tracker.states)+len(r.tracker.bySource) > 0 {
					t.Errorf("left: %v, %v", r.tracker.states, r.tracker.bySource)
				}
				if diff := cmp.Diff([]cabundle.Reference{secret}, r.publisher.heard()); diff != "" {
					t.Error("the publisher is told of", diff)
				}
				r.targets.forget()
				r.sources.forget()
				r.ledger.Hint(secret)
				r.pass(time.Minute)
				r.tracker.sweep()
				if r.work(t); r.targets.all()+r.sources.all() > 0 {
					t.Errorf("reads %v and %v", r.targets.reads, r.sources.reads)
				}
			})
		})
	}
}

// TestWhereNothingIsPublishedTheLedgerForgets is about sources that come and go for months.
func TestWhereNothingIsPublishedTheLedgerForgets(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.SetPublisher(unpublished{r.ledger})
		r.show(target)
		r.show(target)
		r.work(t)
		if r.ledger.Revision(secret) == 0 || !r.follows(secret) {
			t.Error("it forgets a source that a target names")
		}
		r.targets.remove(target)
		r.changed(target)
		r.pass(time.Minute)
		if r.ledger.Revision(secret) != 0 {
			t.Error("it remembers a source that no target names")
		}
	})
}

func TestATargetThatGoesWhileItIsLookedAtDoesNotComeBack(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.targets.beforeDisown = func() {
			r.targets.remove(target)
			r.changed(target)
		}
		r.show(target)
		r.work(t)
		r.pass(time.Minute)
		r.work(t)
		if len(r.tracker.states)+len(r.tracker.bySource) > 0 {
			t.Errorf("left: %v, %v", r.tracker.states, r.tracker.bySource)
		}
		r.expectEvent(t, "")
	})
}

func TestATargetThatWasMadeAnew(t *testing.T) {
	t.Run("is looked at again", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.show(target)
			r.work(t)
			r.targets.make(target, secret) // of the same generation as before
			r.changed(target)
			r.work(t)
			r.expect(t, caOne)
		}, caOne)
	})
	t.Run("with another source, the former one is let go", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.set(other, caTwo)
			r.filled(t)
			r.publisher.heard()
			r.targets.make(target, other)
			r.changed(target)
			r.work(t)
			r.expect(t, caTwo)
			if r.follows(secret) || !r.follows(other) {
				t.Error("the ledger looks after the former source, or not after the new one")
			}
			if diff := cmp.Diff([]cabundle.Reference{secret, other}, r.publisher.heard()); diff != "" {
				t.Error("the publisher is told of", diff)
			}
		})
	})
	t.Run("while it is looked at, it is not taken for the former one", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.targets.beforeGet = func() {
				r.targets.beforeGet = nil
				r.targets.lag(target) // right, and of the same generation
				r.targets.make(target, secret)
				r.changed(target)
			}
			r.show(target)
			r.work(t)
			r.expect(t, caOne)
		}, caOne)
	})
	t.Run("its problem is told anew", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.fail(secret, missing)
			for range 2 {
				r.targets.make(target, secret)
				r.changed(target)
				r.work(t)
				r.expectEvent(t, "Warning SourceNotFound")
			}
		})
	})
}

func TestSummary(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		broken := cabundle.Target{Kind: target.Kind, Name: "broken"}
		r.targets.make(broken, secret)
		r.targets.edit(broken, func(o metav1.Object) { setWebhooks(o, nil) })
		elsewhere := cabundle.Target{Kind: target.Kind, Name: "elsewhere"}
		r.sources.set(other, caTwo)
		r.targets.make(elsewhere, other)
		r.targets.make(service, secret)
		expect := func(sentence string, want publish.Summary) {
			t.Helper()
			if diff := cmp.Diff(want, r.Summary(secret, r.ledger.Latest(secret))); diff != "" {
				t.Errorf("%s: %s", sentence, diff)
			}
		}
		for _, target := range []cabundle.Target{target, broken, elsewhere, service} {
			r.show(target)
		}
		told := func(sentence string, want ...cabundle.Reference) {
			t.Helper()
			if diff := cmp.Diff(want, r.publisher.heard()); diff != "" {
				t.Errorf("%s: the publisher is told of %s", sentence, diff)
			}
		}
		expect("at first", publish.Summary{Total: 2, Pending: 1})
		told("at first", secret, other)
		r.work(t)
		expect("all are looked at: one has no place for a caBundle", publish.Summary{Total: 2, Injected: 2})
		told("all are looked at", secret, other)
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		expect("the source has changed", publish.Summary{Total: 2})
		told("the source has changed", secret)
		r.work(t)
		expect("all have followed", publish.Summary{Total: 2, Injected: 2})
		r.targets.put(target, nil)
		r.targets.reconfigure(target)
		r.changed(target)
		expect("one has changed", publish.Summary{Total: 2, Injected: 1})
		r.publisher.heard()
		r.work(t)
		expect("it is right again", publish.Summary{Total: 2, Injected: 2})
		told("it is right again", secret)
		if got := r.Summary(cabundle.Reference{}, ledger.Reading{}); got.Total != 0 {
			t.Errorf("of a source that nobody names: %+v", got)
		}
	})
}

func setWebhooks(o metav1.Object, webhooks []any) {
	o.(interface{ UnstructuredContent() map[string]any }).UnstructuredContent()["webhooks"] = webhooks
}
