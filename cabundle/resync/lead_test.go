package resync

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
)

func TestAReplicaThatFollowsActsALittleLater(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.leads = false
		r.changed(target)
		r.work(t)
		r.pass(followAfter / 2)
		r.changed(target) // shown once more, it does not wait anew
		if r.work(t); r.targets.all()+r.sources.all() > 0 {
			t.Fatalf("reads %v and %v", r.targets.reads, r.sources.reads)
		}
		r.pass(followAfter / 2)
		r.work(t)
		r.expect(t, caOne)
	})
}

func TestAReplicaThatFollowsOnlyLooksAtWhatTheLeaderHasDone(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.leads = false
		r.changed(target)
		r.work(t)
		r.targets.put(target, caOne) // the leader
		r.changed(target)
		r.pass(followAfter)
		r.work(t)
		r.expectReads(t, map[cluster.Freshness]int{cluster.Cached: 1})
		if r.targets.writes() > 0 {
			t.Errorf("%d writes", r.targets.writes())
		}
	})
}

func TestAReplicaThatFollowsLeavesARotationToTheLeader(t *testing.T) {
	for sentence, leader := range map[string]bool{"it has written": true, "it is dead": false} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.leads = false
				r.show(target)
				r.pass(followAfter)
				r.work(t)
				r.know(t, secret)
				r.work(t)
				r.targets.forget()
				r.sources.set(secret, caTwo)
				r.tick(t, secret)
				if r.work(t); r.targets.all()+r.targets.writes() > 0 {
					t.Error("it does not wait")
				}
				if leader {
					r.targets.put(target, both(caOne, caTwo))
					r.changed(target)
				}
				r.pass(followAfter)
				r.work(t)
				r.expect(t, both(caOne, caTwo))
				if wrote := r.targets.writes() > 0; wrote == leader {
					t.Errorf("%d writes", r.targets.writes())
				}
			}, caOne)
		})
	}
}

func TestAHintMakesAReplicaThatFollowsActAtOnce(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.leads = false
		r.sources.set(secret, caTwo)
		r.ledger.Hint(secret)
		r.pass(10 * time.Millisecond)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
		if hinted := r.count(t, "caject_injections_total", "hint"); hinted != 1 {
			t.Errorf("it is counted %d times under hint", hinted)
		}

		// What happens later has nothing to do with that hint.
		r.changed(target)
		r.pass(wipeGap)
		r.targets.put(target, []byte("\n"))
		r.changed(target)
		r.work(t)
		r.expect(t, []byte("\n"))
		r.pass(followAfter)
		r.work(t)
		r.expect(t, both(caOne, caTwo))
		another := cabundle.Target{Kind: target.Kind, Name: "another"}
		r.targets.make(another, secret)
		r.changed(another)
		r.work(t)
		r.expectOf(t, another, nil)
		r.pass(followAfter)
		r.work(t)
		r.expectOf(t, another, both(caOne, caTwo))
		if hinted := r.count(t, "caject_injections_total", "hint"); hinted != 1 {
			t.Errorf("in the end %d are counted under hint", hinted)
		}
	})
}

func TestAHintAboutASourceThatComesLater(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, missing)
		r.show(target)
		r.work(t)
		r.expectEvent(t, "Warning SourceNotFound")
		r.leads = false
		r.pass(time.Minute)
		r.work(t)
		r.sources.set(secret, caOne)
		r.ledger.Hint(secret)
		r.pass(10 * time.Millisecond)
		r.work(t)
		r.expect(t, caOne)
	})
}

func TestEveryReplicaFillsItsOwnConfigurationAtOnce(t *testing.T) {
	rigged(t, Options{Own: []cabundle.Target{target}}, func(t *testing.T, r *rig) {
		r.leads = false
		r.show(target)
		r.work(t)
		r.expect(t, caOne)
	})
}

func TestOfItsOwnConfigurationNothingIsSaidWhileTheCAIsMade(t *testing.T) {
	rigged(t, Options{Own: []cabundle.Target{target}}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: "there is none yet"})
		r.show(target)
		r.during(t, interval-time.Second)
		r.tracker.sweep()
		r.work(t)
		r.expectEvent(t, "")
		r.pass(2 * time.Second)
		r.tracker.sweep()
		r.work(t)
		r.expectEvent(t, "SourceWithoutCA")
	})
}

func TestOnlyTheLeaderReports(t *testing.T) {
	invalid := func(r *rig) { r.targets.annotate(target, "nonsense") }
	for sentence, test := range map[string]struct {
		before func(*rig)
		event  string
	}{
		"a source that is not there": {func(r *rig) { r.sources.fail(secret, missing) }, "SourceNotFound"},
		"a final problem": {func(r *rig) {
			r.sources.fail(secret, cabundle.Problem{Reason: cabundle.SourceOutOfScope, Detail: "not here"})
		}, "SourceOutOfScope"},
		"an annotation that cannot be understood": {invalid, "InvalidAnnotation"},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				test.before(r)
				r.leads = false
				r.show(target)
				r.pass(followAfter)
				r.work(t)
				r.pass(interval)
				r.tracker.sweep()
				r.pass(followAfter)
				r.work(t)
				r.expectEvent(t, "")
				r.targets.forget()
				r.sources.forget()
				r.leads = true
				r.Elected()
				r.work(t)
				r.expectEvent(t, test.event)
				if r.targets.all() > 0 {
					t.Errorf("for that the target was read: %v", r.targets.reads)
				}
				r.Elected()
				r.work(t)
				r.expectEvent(t, "")
			})
		})
	}
}

func TestWhatThePreviousLeaderHasToldIsNotToldAgain(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.fail(secret, missing)
		r.show(target)
		r.work(t)
		r.expectEvent(t, "SourceNotFound")
		r.leads = false
		r.targets.reconfigure(target)
		r.changed(target)
		r.pass(followAfter)
		r.work(t)
		r.leads = true
		r.Elected()
		r.work(t)
		r.expectEvent(t, "")
	})
}

func TestWhatIsSolvedBeforeAnElectionIsNotTold(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.leads = false
		r.sources.fail(secret, missing)
		r.show(target)
		r.during(t, 2*followAfter)
		r.sources.set(secret, caOne)
		r.during(t, 5*time.Second)
		r.expect(t, caOne)
		r.leads = true
		r.Elected()
		r.work(t)
		r.expectEvent(t, "")
	})
}

func TestWhoIsElectedLooksAtWhatWasLeftToTheLeader(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.leads = false
		r.show(target)
		r.work(t)
		r.leads = true
		r.Elected()
		r.work(t)
		r.expect(t, caOne)
		r.changed(target)
		r.targets.forget()
		r.Elected()
		r.pass(time.Minute)
		if r.work(t); r.targets.all() > 0 {
			t.Error("what is right is looked at again")
		}
	})
}

// TestStart has all of it work by itself, with ticks as in life.
func TestStart(t *testing.T) {
	short := cabundletest.CA("short", start.Add(-time.Hour), start.Add(10*time.Minute))
	live(t, func(t *testing.T, r *rig) {
		r.targets.put(target, short) // of another source: only a sweep finds that it has expired
		r.show(target)
		r.pass(time.Second)
		r.expect(t, both(short, caOne))
		r.changed(target)
		r.sources.set(secret, caTwo)
		r.pass(interval + interval/4)
		r.expect(t, both(short, caOne, caTwo))
		r.changed(target)
		r.targets.forget()
		r.pass(5 * time.Minute)
		if r.targets.all()+r.targets.writes() > 0 {
			t.Errorf("in five quiet minutes: %d reads, %d writes", r.targets.all(), r.targets.writes())
		}
		if err := r.Alive(nil); err != nil {
			t.Error(err)
		}
		r.pass(5 * time.Minute) // the short one has expired
		r.expect(t, both(caOne, caTwo))
	})
}

func TestATargetAtWhichCajectHangsIsNoticed(t *testing.T) {
	live(t, func(t *testing.T, r *rig) {
		over := make(chan struct{})
		r.targets.beforePatch = func() { <-over }
		r.show(target)
		r.pass(time.Minute)
		if err := r.Alive(nil); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		r.pass(2 * time.Minute)
		if err := r.Alive(nil); err == nil {
			t.Error("nobody notices")
		}
		close(over)
		r.pass(time.Second)
		if err := r.Alive(nil); err != nil {
			t.Error(err)
		}
	})
}

// live runs body with a rig that works by itself.
func live(t *testing.T, body func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, interval)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Start(ctx) }()
		body(t, r)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
