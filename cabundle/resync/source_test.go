package resync

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

var (
	missing = cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: "Secret ns/name does not exist"}
	away    = cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "connection refused"}
	failing = cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "cannot be decrypted", Answered: true}
)

func TestAUnusableSourceIsFoundAtTheFirstLook(t *testing.T) {
	for _, reason := range []cabundle.Reason{
		cabundle.SourceNotFound, cabundle.SourceNotAllowed, cabundle.SourceWithoutCA, cabundle.SourceInvalid, cabundle.SourceOutOfScope,
	} {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.fail(secret, cabundle.Problem{Reason: reason, Detail: "why"})
			r.show(target)
			if again := r.work(t); again != 0 {
				t.Errorf("%s: looks again after %v", reason, again)
			}
			r.expect(t, caTwo)
			r.expectEvent(t, "Warning "+string(reason))
			if r.targets.writes() > 0 || r.count(t, "caject_refusals_total", string(reason)) != 1 {
				t.Errorf("%s: %d writes, %d refusals", reason, r.targets.writes(), r.count(t, "caject_refusals_total", string(reason)))
			}
		}, caTwo)
	}
}

// TestTargetsWaitForTheirSource is about a source that comes later than its targets. The ledger alone tries it again.
func TestTargetsWaitForTheirSource(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, missing)
		names := []cabundle.Target{target}
		for n := range 20 {
			names = append(names, cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: fmt.Sprint(n)})
			r.targets.make(names[n+1], secret)
		}
		for _, name := range names {
			r.show(name)
		}
		r.work(t)
		for range names {
			r.expectEvent(t, "Warning SourceNotFound")
		}
		r.targets.forget()
		r.sources.forget()
		r.during(t, 10*time.Second)
		if r.targets.all() > 0 || r.sources.all() > 10 {
			t.Errorf("in ten seconds the targets were read %d times, the source %d times", r.targets.all(), r.sources.all())
		}
		r.expectEvent(t, "")

		r.sources.set(secret, caOne)
		r.during(t, 13*time.Second) // the tenth retry is 12.8 s after the ninth, a fifth more at most
		for _, name := range names {
			r.expectOf(t, name, caOne)
			r.expectEvent(t, "Normal Injected")
		}
	})
}

func TestAnotherProblemOfTheSourceIsToldWithoutALook(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, missing)
		r.show(target)
		r.work(t)
		r.expectEvent(t, "Warning SourceNotFound")
		r.targets.forget()
		r.sources.fail(secret, cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: "Secret ns/name has no key ca.crt"})
		r.tick(t, secret)
		r.work(t)
		r.expectEvent(t, "Warning SourceWithoutCA")
		r.tick(t, secret)
		r.work(t)
		r.expectEvent(t, "")
		if r.targets.all() > 0 {
			t.Errorf("the target was read: %v", r.targets.reads)
		}
		// A changed target is read, since there may be something else wrong with it now.
		r.targets.reconfigure(target)
		r.changed(target)
		if r.work(t); r.targets.all() == 0 {
			t.Error("the changed target was not read")
		}
	})
}

func TestASourceThatIsNotUsableAnyMore(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.sources.fail(secret, cabundle.Problem{Reason: cabundle.SourceNotAllowed, Detail: "Secret ns/name does not allow it"})
		r.tick(t, secret)
		r.work(t)
		r.expect(t, caOne)
		r.expectEvent(t, "Warning SourceNotAllowed")
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
		r.expectEvent(t, "Normal Injected")
	})
}

func TestATargetThatIsResetGetsWhatTheSourceHad(t *testing.T) {
	for sentence, test := range map[string]struct {
		reason cabundle.Reason
		want   []byte
	}{
		"the source is missing":               {cabundle.SourceNotFound, both(caOne, caTwo)},
		"it has lost its certificates":        {cabundle.SourceWithoutCA, both(caOne, caTwo)},
		"it may not be injected any more":     {cabundle.SourceNotAllowed, []byte("\n")},
		"caject may not read it any more":     {cabundle.SourceForbidden, both(caOne, caTwo)},
		"it is one that caject does not read": {cabundle.SourceOutOfScope, []byte("\n")},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.filled(t)
				r.sources.set(secret, caTwo)
				r.tick(t, secret)
				r.work(t)
				r.expect(t, both(caOne, caTwo))
				r.sources.fail(secret, cabundle.Problem{Reason: test.reason, Detail: "it cannot be used"})
				r.tick(t, secret)
				r.work(t)
				r.expectEvent(t, "Warning "+string(test.reason))
				r.targets.put(target, []byte("\n"))
				r.changed(target)
				r.work(t)
				r.expect(t, test.want)
				r.expectEvent(t, "")
			})
		})
	}
}

// TestARotation is about how many requests it takes, for one target.
func TestARotation(t *testing.T) {
	type cost struct{ Sources, Targets, Patches, Disowns, Readmits int }
	filled := func(pem []byte) func(cabundle.Target) []byte { return func(cabundle.Target) []byte { return pem } }
	for sentence, test := range map[string]struct {
		options Options
		target  cabundle.Target
		before  func(*rig)
		want    cost
		path    metrics.Path
	}{
		"resync writes":    {Options{}, target, nil, cost{2, 1, 1, 1, 0}, metrics.Resync},
		"admission writes": {Options{Webhook: true}, crd, func(r *rig) { r.targets.webhook = filled(both(caOne, caTwo)) }, cost{2, 0, 0, 0, 1}, metrics.Resync},
		"admission does not call caject for the kind": {Options{Webhook: true}, target, nil, cost{2, 1, 1, 1, 0}, metrics.Resync},
		"admission is not set":                        {Options{Webhook: true}, crd, nil, cost{2, 1, 1, 1, 1}, metrics.Resync},
		"a policy writes": {Options{Webhook: true}, target, func(r *rig) {
			r.publisher.policy, r.targets.policy = true, filled(both(caOne, caTwo))
		}, cost{2, 0, 0, 0, 1}, metrics.Policy},
		"a policy comes before admission": {Options{Webhook: true}, crd, func(r *rig) {
			r.publisher.policy, r.targets.policy, r.targets.webhook = true, filled(both(caOne, caTwo)), filled(nil)
		}, cost{2, 0, 0, 0, 1}, metrics.Policy},
		"a policy writes something else": {Options{}, target, func(r *rig) {
			r.publisher.policy, r.targets.policy = true, filled(caOne)
		}, cost{2, 1, 1, 1, 2}, metrics.Resync},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, test.options, func(t *testing.T, r *rig) {
				r.targets.make(test.target, secret, caOne)
				r.targets.put(test.target, caOne)
				r.show(test.target)
				r.work(t)
				r.tick(t, secret)
				r.know(t, secret)
				if r.work(t); r.targets.writes() > 0 {
					t.Fatal("an unchanged source has its targets written")
				}
				r.targets.forget()
				r.sources.forget()
				if test.before != nil {
					test.before(r)
				}
				r.sources.set(secret, caTwo)
				r.tick(t, secret)
				r.work(t)
				r.changed(test.target)
				r.work(t)
				r.expectOf(t, test.target, both(caOne, caTwo))
				if s, _ := r.tracker.get(test.target); !s.contest.written.Equal(time.Now()) {
					t.Errorf("it was written at %v", s.contest.written)
				}
				got := cost{r.sources.all(), r.targets.all(), r.targets.patches, r.targets.disowns, r.targets.readmits}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				if r.count(t, "caject_injections_total", string(test.path)) != 1 {
					t.Errorf("it is not counted under %s", test.path)
				}
			})
		})
	}
}

// TestAnObjectThatAsksForAnotherSourceAtItsReadmission must not get the former one's verdict.
func TestAnObjectThatAsksForSomethingElseWhenItIsAdmittedAgain(t *testing.T) {
	rigged(t, Options{Webhook: true}, func(t *testing.T, r *rig) {
		r.sources.set(other, caTwo)
		r.targets.make(crd, secret)
		r.targets.put(crd, caOne)
		r.show(crd)
		r.work(t)
		r.know(t, secret)
		r.work(t)
		r.targets.annotate(crd, "ns/other")
		r.targets.webhook = func(cabundle.Target) []byte { return both(caOne, caTwo) } // from the new source
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		r.work(t)
		if r.count(t, "caject_injections_total", "resync") > 0 || r.targets.patches > 0 {
			t.Error("it is taken for right, or written")
		}
		r.changed(crd)
		r.work(t)
		r.expectOf(t, crd, both(caOne, caTwo))
		if s, _ := r.tracker.get(crd); !s.right(r.ledger.Revision(other)) {
			t.Errorf("it is %+v", s)
		}
	})
}

func TestATickThatFindsARotationReadsTheSourceTwiceForAllTargets(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		for n := range 40 {
			name := cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: fmt.Sprint(n)}
			r.targets.make(name, secret, caOne)
			r.show(name)
		}
		r.work(t)
		r.know(t, secret)
		r.work(t)
		r.sources.forget()
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		r.work(t)
		if diff := cmp.Diff(map[cluster.Freshness]int{cluster.Cached: 1, cluster.Consistent: 1}, r.sources.reads); diff != "" {
			t.Error(diff)
		}
		for n := range 40 {
			r.expectOf(t, cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: fmt.Sprint(n)}, both(caOne, caTwo))
		}
	}, caOne)
}

func TestATargetIsFilledFromWhatTheSourceIsAtTheTime(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.pass(time.Second)
		r.sources.set(secret, caTwo) // nobody has noticed
		r.targets.put(target, []byte("\n"))
		r.changed(target)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
	})
}

func TestARotationDuringALookIsNotLost(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.targets.beforePatch = func() {
			r.sources.set(secret, caTwo)
			r.tick(t, secret)
		}
		r.show(target)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
		r.changed(target)
		r.work(t)
		if r.targets.patches != 2 {
			t.Errorf("%d writes", r.targets.patches)
		}
		if s, _ := r.tracker.get(target); s.contest.undone > 0 {
			t.Error("a rotation is taken for a fight")
		}
	})
}

func TestAnOutageTakesNothingAwayAndIsNoEvent(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.sources.fail(secret, away)
		r.tick(t, secret)
		if r.work(t); r.targets.all() > 0 {
			t.Error("an outage has targets looked at")
		}
		r.targets.put(target, []byte("\n"))
		r.changed(target)
		again := r.work(t)
		for range 20 {
			r.pass(again)
			if again = r.work(t); again <= 0 {
				t.Fatal("it does not look again")
			}
		}
		if again != outageRetry {
			t.Errorf("after twenty tries it waits %v", again)
		}
		r.expect(t, caOne)
		r.expectEvent(t, "")
		r.sources.set(secret, caTwo)
		r.during(t, outageRetry)
		r.expect(t, both(caOne, caTwo))
		r.expectEvent(t, "")
	})
}

func TestAnOutageIsToldIfSomethingAnswersAndItLasts(t *testing.T) {
	for sentence, test := range map[string]struct {
		problem cabundle.Problem
		event   string
	}{
		"the source answers with an error": {failing, "Warning SourceUnavailable"},
		"nothing answers":                  {away, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.sources.fail(secret, test.problem)
				r.show(target)
				r.during(t, interval-time.Second)
				r.expectEvent(t, "")
				r.during(t, 2*interval)
				r.expectEvent(t, test.event)
				r.during(t, 2*interval)
				r.expectEvent(t, "")
				r.sources.set(secret, caOne)
				r.during(t, interval)
				r.expect(t, caOne)
				if test.event != "" {
					r.expectEvent(t, "Normal Injected")
				}
				r.expectEvent(t, "")
			})
		})
	}
}

func TestATargetThatCannotBeReadForLongIsToldOnce(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.targets.getErr = errors.New("connection refused")
		r.targets.put(target, []byte("\n"))
		r.changed(target)
		r.during(t, 3*interval)
		r.expectEvent(t, "") // nobody has answered
		r.targets.getErr = nil
		r.during(t, outageRetry)
		r.expect(t, caOne)
	})
}

func TestABugInReadingASourceIsRetried(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, *cabundle.Panicked(secret))
		r.show(target)
		if again := r.work(t); again == 0 {
			t.Error("it does not look again")
		}
		r.sources.set(secret, caOne)
		r.during(t, interval)
		r.expect(t, caOne)
	})
}

func TestAMalformedAnnotation(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		for _, value := range []string{"nonsense", "more nonsense"} {
			r.targets.annotate(target, value)
			r.changed(target)
			if again := r.work(t); again != 0 {
				t.Errorf("looks again after %v", again)
			}
			r.expectEvent(t, `"`+value+`"`)
		}
		r.changed(target)
		r.tracker.sweep()
		r.work(t)
		r.expectEvent(t, "")
		if r.targets.all()+r.sources.all()+r.targets.writes() > 0 {
			t.Error("something was read or written")
		}
		if told := r.publisher.heard(); len(told) > 0 {
			t.Errorf("the publisher is told of %v", told)
		}
		r.targets.annotate(target, "ns/name")
		r.changed(target)
		r.work(t)
		r.expect(t, caOne)
		r.expectEvent(t, "Normal Injected")
	})
}

// TestASwitchOfTheSource is about a target that asks for another source from now on. What is known of the former one is not held
// against the new one.
func TestASwitchOfTheSource(t *testing.T) {
	switched := func(r *rig) {
		r.targets.annotate(target, "ns/other")
		r.changed(target)
	}
	t.Run("it is filled from the new one", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.set(other, caTwo)
			r.filled(t)
			switched(r)
			r.work(t)
			r.expect(t, both(caOne, caTwo))
			if s, _ := r.tracker.get(target); s.contest.undone > 0 {
				t.Error("it is taken for a fight")
			}
			r.sources.set(secret, caOne)
			r.tick(t, secret)
			r.targets.forget()
			if r.work(t); r.targets.all() > 0 {
				t.Error("the former source still has it looked at")
			}
		})
	})
	t.Run("it is filled from what the new one is at the time", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			another := cabundle.Target{Kind: target.Kind, Name: "another"}
			r.sources.set(other, caTwo)
			r.targets.make(another, other)
			r.show(another)
			r.work(t)
			r.filled(t)
			for range 3 { // so that the revisions of the two differ
				r.sources.set(secret, caTwo)
				r.know(t, secret)
				r.work(t)
				r.sources.set(secret, caOne)
				r.know(t, secret)
				r.work(t)
			}
			r.pass(time.Second)
			r.targets.put(target, []byte("\n"))
			r.sources.set(other, caOne) // nobody has noticed
			switched(r)
			r.work(t)
			r.expect(t, both(caTwo, caOne))
		})
	})
	t.Run("it does not wait for the end of a fight", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.set(other, caTwo)
			r.filled(t)
			for range 8 {
				r.wipe("somebody")
				for again := r.work(t); again > 0; again = r.work(t) {
					r.pass(again)
				}
			}
			r.wipe("somebody")
			if again := r.work(t); again < time.Second {
				t.Fatalf("after eight rounds it waits for %v", again)
			}
			switched(r)
			if again := r.work(t); again > 0 {
				t.Errorf("it waits for %v", again)
			}
			r.expect(t, caTwo)
		})
	})
	t.Run("during a look at the former one", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.set(other, caTwo)
			r.targets.beforeDisown = func() {
				r.targets.beforeDisown = nil
				switched(r)
			}
			r.show(target)
			r.work(t)
			r.pass(time.Second)
			r.work(t)
			r.expect(t, both(caOne, caTwo))
			s, _ := r.tracker.get(target)
			if !s.right(r.ledger.Revision(other)) || s.contest.undone > 0 {
				t.Errorf("it is %+v", s)
			}
		})
	})
	t.Run("the problem of the former one is over", func(t *testing.T) {
		rigged(t, Options{}, func(t *testing.T, r *rig) {
			r.sources.set(other, caTwo)
			r.sources.fail(secret, missing)
			r.show(target)
			r.work(t)
			r.expectEvent(t, "Warning SourceNotFound")
			switched(r)
			r.work(t)
			r.expect(t, caTwo)
			r.expectEvent(t, "Normal Injected")
		})
	})
}
