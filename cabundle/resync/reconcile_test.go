package resync

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// expectReads fails the test unless both the target and its source were read so often.
func (r *rig) expectReads(t *testing.T, want map[cluster.Freshness]int) {
	t.Helper()
	if diff := cmp.Diff(want, r.targets.reads); diff != "" {
		t.Error("target:", diff)
	}
	if diff := cmp.Diff(want, r.sources.reads); diff != "" {
		t.Error("source:", diff)
	}
}

func TestANewTargetIsFilled(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.show(target)
		if again := r.work(t); again != 0 {
			t.Errorf("looks again after %v", again)
		}
		r.expect(t, caOne, caOne)
		r.expectEvent(t, "")
		if injected := r.count(t, "caject_injections_total", "resync"); injected != 1 {
			t.Errorf("it was injected %d times", injected)
		}
	}, nil, []byte("\n"))
}

func TestOurOwnWriteNeedsNoLook(t *testing.T) {
	for sentence, shows := range map[string]func(*rig, cabundle.Target){
		"the watch shows it": func(r *rig, target cabundle.Target) { r.changed(target) },
		"the watch lags":     func(r *rig, _ cabundle.Target) { r.tracker.sweep() },
		"the watch lags, and then shows it": func(r *rig, target cabundle.Target) {
			r.pass(time.Minute)
			r.tracker.sweep()
			r.changed(target)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, target := range []cabundle.Target{target, crd, service} {
				rigged(t, Options{}, func(t *testing.T, r *rig) {
					r.targets.make(target, secret)
					r.show(target)
					r.work(t)
					r.expectOf(t, target, caOne)
					r.targets.forget()
					r.sources.forget()
					shows(r, target)
					r.work(t)
					if r.targets.all()+r.sources.all()+r.targets.writes() > 0 {
						t.Errorf("%s: reads %v and %v, %d writes", target, r.targets.reads, r.sources.reads, r.targets.writes())
					}
				})
			}
		})
	}
}

func TestWhatIsRightCostsTwoCachedReadsAndNoWrite(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.show(target)
		r.work(t)
		r.expectReads(t, map[cluster.Freshness]int{cluster.Cached: 1})
		if r.targets.writes() > 0 {
			t.Error("what is right was written")
		}
	}, caOne)
}

func TestWhatIsWrongIsReadFromEtcdBeforeItIsWritten(t *testing.T) {
	for sentence, test := range map[string]struct {
		target cabundle.Target
		show   func(*rig, cabundle.Target)
		want   map[cluster.Freshness]int
	}{
		"a webhook configuration that has just changed is read once":  {target, (*rig).changed, map[cluster.Freshness]int{cluster.Consistent: 1}},
		"one that was there already":                                  {target, (*rig).show, map[cluster.Freshness]int{cluster.Cached: 1, cluster.Consistent: 1}},
		"a CRD that has just changed: admission is likely to have it": {crd, (*rig).changed, map[cluster.Freshness]int{cluster.Cached: 1, cluster.Consistent: 1}},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.targets.make(test.target, secret)
				test.show(r, test.target)
				r.work(t)
				r.expectOf(t, test.target, caOne)
				r.expectReads(t, test.want)
			})
		})
	}
}

func TestACachedAnswerIsNeverWritten(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.lag(secret)
		r.sources.set(secret, caTwo)
		r.targets.lag(target)
		r.targets.put(target, []byte("\n"))
		r.show(target)
		r.work(t)
		r.expect(t, caTwo)
	}, []byte("stale"))
}

func TestACachedAnswerIsNotTrusted(t *testing.T) {
	for sentence, change := range map[string]func(*fakeTargets){
		"older than the watch":                       func(f *fakeTargets) { f.put(target, []byte("\n")) },
		"about an earlier object of the same name":   func(f *fakeTargets) { f.make(target, secret) },
		"about the same object with another source":  func(f *fakeTargets) { f.annotate(target, "ns/other"); f.put(target, nil) },
		"about an object that is not there any more": func(f *fakeTargets) { f.remove(target); f.make(target, secret) },
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.sources.set(other, caOne)
				r.targets.lag(target) // right, but of before
				change(r.targets)
				r.show(target)
				r.work(t)
				r.expect(t, caOne)
				if r.targets.reads[cluster.Consistent] != 1 {
					t.Errorf("it was read from etcd %d times", r.targets.reads[cluster.Consistent])
				}
			}, caOne)
		})
	}
}

func TestAConcurrentChangeIsNotOverwritten(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.know(t, secret)
		r.targets.beforePatch = func() { r.targets.put(target, caTwo) }
		r.show(target)
		again := r.work(t)
		r.expect(t, caTwo)
		if again == 0 || again > time.Second {
			t.Errorf("after a conflict it looks again after %v", again)
		}
		r.pass(again)
		r.work(t)
		r.expect(t, both(caTwo, caOne))
		r.expectEvent(t, "")
		if refused := r.count(t, "caject_refusals_total", "resync"); refused > 0 {
			t.Errorf("a conflict is counted as a refusal %d times", refused)
		}
	})
}

func TestAWebhookThatIsGoneByNowIsNoFaultOfTheObject(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.know(t, secret)
		r.targets.beforePatch = func() { r.targets.make(target, secret, nil) } // with one webhook instead of two
		r.show(target)
		again := r.work(t)
		r.expectEvent(t, "")
		if again == 0 || again > time.Second {
			t.Errorf("it looks again after %v", again)
		}
		r.show(target)
		r.work(t)
		r.expect(t, caOne)
		r.expectEvent(t, "")
		if refused := r.count(t, "caject_refusals_total", "resync"); refused > 0 {
			t.Errorf("it is counted as a refusal %d times", refused)
		}
	}, nil, nil)
}

func TestTargetsThatAreOutOfReach(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, target.Name, errors.New("no"))
	invalid := apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil)
	for sentence, test := range map[string]struct {
		change func(*fakeTargets)
		event  string
		again  bool
	}{
		"deleted": {func(f *fakeTargets) { f.remove(target) }, "", false},
		"being deleted": {func(f *fakeTargets) {
			f.edit(target, func(o metav1.Object) { o.SetDeletionTimestamp(&metav1.Time{Time: start}) })
		}, "", false},
		"not annotated any more": {func(f *fakeTargets) {
			f.edit(target, func(o metav1.Object) { o.SetAnnotations(nil) })
		}, "", false},
		"not to be read":         {func(f *fakeTargets) { f.getErr = forbidden }, "Warning TargetForbidden", true},
		"not to be written":      {func(f *fakeTargets) { f.patchErr = forbidden }, "Warning TargetForbidden", true},
		"not accepted":           {func(f *fakeTargets) { f.patchErr = invalid }, "Warning TargetRefused", true},
		"the API server is away": {func(f *fakeTargets) { f.getErr = errors.New("connection refused") }, "", true},
		"gone at the write":      {func(f *fakeTargets) { f.beforePatch = func() { f.remove(target) } }, "", false},
		"without webhooks": {func(f *fakeTargets) {
			f.edit(target, func(o metav1.Object) {
				o.(interface{ UnstructuredContent() map[string]any }).UnstructuredContent()["webhooks"] = []any{}
			})
		}, "", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.know(t, secret)
				r.show(target)
				test.change(r.targets)
				again := r.work(t)
				if (again > 0) != test.again {
					t.Errorf("looks again after %v", again)
				}
				r.expectEvent(t, test.event)
				if _, there := r.targets.metadata(target); there && r.targets.held(target) != "" {
					t.Error("it was written")
				}
			})
		})
	}
}

func TestATargetThatIsRefusedIsTriedEverMoreRarely(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.targets.patchErr = apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil)
		r.show(target)
		wait := r.work(t)
		for range 20 {
			r.tracker.sweep()
			if queued := r.queue.Len(); queued > 0 {
				t.Fatal("a sweep does not wait for the next try")
			}
			r.pass(wait)
			next := r.work(t)
			if next < wait {
				t.Fatalf("the wait went from %v to %v", wait, next)
			}
			wait = next
		}
		if wait != interval {
			t.Errorf("the longest wait is %v", wait)
		}
		r.expectEvent(t, "Warning TargetRefused")
		r.expectEvent(t, "")
		r.targets.patchErr = nil
		r.pass(wait)
		r.work(t)
		r.expect(t, caOne)
		r.expectEvent(t, "Normal Injected")
		if s, _ := r.tracker.get(target); s.contest.undone > 0 || s.contest.rest(time.Now(), s.seen.at, interval) > 0 {
			t.Errorf("it is taken for a fight: %+v", s.contest)
		}
	})
}

func TestATargetThatCanBeReadAgainIsFilledFromWhatTheSourceIsThen(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.targets.getErr = apierrors.NewForbidden(schema.GroupResource{}, target.Name, errors.New("no"))
		r.show(target)
		r.work(t)
		r.expectEvent(t, "Warning TargetForbidden")
		r.targets.getErr = nil
		r.targets.put(target, []byte("\n"))
		r.pass(time.Second)
		r.changed(target)
		r.sources.set(secret, caTwo) // nobody has noticed
		r.work(t)
		r.expect(t, both(caOne, caTwo))
		r.expectEvent(t, "Normal Injected")
	})
}

func TestATargetThatAsksForAnotherSourceByNowWaitsForTheWatch(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.set(other, caTwo)
		r.show(target)
		r.targets.annotate(target, "ns/other")
		if again := r.work(t); again > 0 || r.targets.writes() > 0 {
			t.Errorf("looks again after %v, %d writes", again, r.targets.writes())
		}
		r.expectEvent(t, "")
		r.changed(target)
		r.work(t)
		r.expect(t, caTwo)
	})
}

// TestATargetThatWasCreatedAnewWaitsForTheWatch: what is known of the former one of its name, and of the source then, does not count.
func TestATargetThatWasCreatedAnewWaitsForTheWatch(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.targets.make(target, secret)
		r.sources.set(secret, caTwo)
		r.know(t, secret)
		r.work(t)
		if r.targets.writes() > 0 {
			t.Errorf("%d writes", r.targets.writes())
		}
		r.changed(target)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
	})
}

func TestAStatusChangeIsNotLookedAt(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.targets.edit(target, func(o metav1.Object) { o.SetLabels(map[string]string{"a": "b"}) }) // of the same generation
		r.changed(target)
		if queued := r.queue.Len(); queued > 0 {
			t.Errorf("%d are queued", queued)
		}
		if r.work(t); r.targets.all() > 0 {
			t.Error("a change without a new generation has the target looked at")
		}
	})
}

func TestAKindThatIsSwitchedOffIsLeftAlone(t *testing.T) {
	kinds := []cabundle.Kind{cabundle.APIService}
	rigged(t, Options{Kinds: kinds}, func(t *testing.T, r *rig) {
		r.show(target)
		r.work(t)
		r.expect(t, nil)
	})
	rigged(t, Options{Kinds: kinds, Own: []cabundle.Target{target}}, func(t *testing.T, r *rig) {
		r.show(target)
		r.work(t)
		r.expect(t, caOne)
	})
}
