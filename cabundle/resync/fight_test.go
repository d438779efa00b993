package resync

import (
	"fmt"
	"testing"
	"time"

	"github.com/caject/caject/cabundle/cabundletest"
)

// fight has manager undo what caject has written, and caject write it again, as soon as it does.
func (r *rig) fight(t *testing.T, manager string) {
	t.Helper()
	r.undo(manager)
	for again := r.work(t); again > 0; again = r.work(t) {
		r.pass(again)
	}
	r.expect(t, both(caRival, caOne))
}

func TestAFightIsNotFought(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		rounds := 0
		for begin := time.Now(); time.Since(begin) < 10*time.Minute; rounds++ {
			r.fight(t, "other")
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
		r.fight(t, "another")
		r.expectEvent(t, `"another"`)
		r.expectContest(t, "another")

		// Once it is quiet, the next change is put right at once.
		r.pass(5 * time.Minute)
		r.expectContest(t, "")
		r.targets.forget()
		before := time.Now()
		r.fight(t, "other")
		if r.targets.patches != 1 || time.Now() != before {
			t.Errorf("%d writes after %v", r.targets.patches, time.Since(before))
		}
		r.expectEvent(t, "")
		r.expectContest(t, "")
	})
}

// TestAFightWithSomebodyVeryFast is about one who is back before caject has removed itself from the owners.
func TestAFightWithSomebodyVeryFast(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		r.targets.beforeDisown = func() { r.undo("other") }
		r.undo("other")
		r.during(t, 5*time.Minute)
		if r.targets.patches > 30 {
			t.Errorf("%d writes in five minutes", r.targets.patches)
		}
		r.expectEvent(t, `Warning TargetContested field manager "other"`)
		r.expectEvent(t, "")
		r.expectContest(t, "other")
		r.targets.beforeDisown = nil
		r.during(t, interval)
		r.expect(t, both(caRival, caOne))
	})
}

func TestARotationInAHurryIsNoFight(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for n := range 3 * contestedAfter {
			r.sources.set(secret, cabundletest.CA(fmt.Sprint(n), start.Add(-time.Hour), start.Add(time.Hour)))
			r.tick(t, secret)
			if again := r.work(t); again > 0 {
				t.Fatalf("rotation %d waits %v", n, again)
			}
			r.changed(target)
		}
		if r.targets.patches != 3*contestedAfter {
			t.Fatalf("%d writes", r.targets.patches)
		}
		r.expectEvent(t, "")
		r.expectContest(t, "")
	})
}

func TestARotationDoesNotWaitForTheEndOfAFight(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for range 8 {
			r.fight(t, "other")
		}
		r.undo("other")
		if again := r.work(t); again < wipeRest {
			t.Fatalf("after eight rounds it waits for %v", again)
		}
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		if again := r.work(t); again > 0 {
			t.Errorf("a rotation waits for %v", again)
		}
		r.expect(t, both(caRival, caOne, caTwo))
	})
}

func TestWhoUndoesSomethingNowAndThenIsNoFighter(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for n := range 60 {
			r.pass(10 * time.Second)
			r.sources.set(secret, cabundletest.CA(fmt.Sprint(n), start.Add(-time.Hour), start.Add(24*time.Hour)))
			r.tick(t, secret)
			r.work(t)
			if n%8 == 0 { // each 80 s, between two rotations
				r.undo("somebody")
				if again := r.work(t); again > 0 {
					t.Fatalf("the %dth time it waits for %v", n/8+1, again)
				}
			}
		}
		r.expectEvent(t, "")
		r.expectContest(t, "")
	})
}

// TestCertificatesThatExpireAreNobodysDoing has those of a target expire one after the other. The sweep finds it.
func TestCertificatesThatExpireAreNobodysDoing(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		var held [][]byte
		for n := range contestedAfter + 2 {
			held = append(held, cabundletest.CA("short", start.Add(-time.Hour), start.Add(time.Duration(n+1)*5*time.Second)))
		}
		held = append(held, caOne)
		r.sources.set(secret, both(held...))
		r.filled(t)
		r.expect(t, both(held...))
		for n := range contestedAfter + 1 {
			r.pass(5*time.Second + time.Millisecond)
			r.tracker.sweep()
			if again := r.work(t); again > 0 {
				t.Errorf("what has expired goes only after %v", again)
			}
			r.changed(target)
			r.expect(t, both(held[n+1:]...))
		}
		r.expectContest(t, "")
		if r.targets.patches < contestedAfter {
			t.Errorf("%d writes", r.targets.patches)
		}
		r.targets.forget()
		r.tracker.sweep()
		if r.work(t); r.targets.all() > 0 {
			t.Error("a target in which nothing has expired is looked at")
		}
	})
}

func TestASourceOfWhichAllHasExpired(t *testing.T) {
	short := cabundletest.CA("short", start.Add(-time.Hour), start.Add(time.Minute))
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.sources.set(secret, short)
		r.filled(t)
		r.pass(2 * time.Minute)
		r.tracker.sweep()
		r.work(t)
		r.expect(t, short) // the last known one is worth more than none
		r.expectEvent(t, "Warning SourceExpired")
		r.targets.forget()
		for range 3 {
			r.pass(interval)
			r.tracker.sweep()
			r.work(t)
		}
		if r.targets.all() > 0 {
			t.Errorf("it is looked at over and over: %v", r.targets.reads)
		}
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		r.work(t)
		r.expect(t, caTwo)
		r.expectEvent(t, "Normal Injected")
	})
}
