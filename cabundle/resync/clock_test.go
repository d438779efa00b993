package resync

import (
	"bytes"
	"testing"
	"time"

	"github.com/caject/caject/cabundle/cabundletest"
)

// TestTheClockMayJump has a target written a few times, so that caject waits before it writes it again, the clock set, and the
// target undone and its source rotated. All that is waited for then must be over within the interval.
func TestTheClockMayJump(t *testing.T) {
	week := 7 * 24 * time.Hour
	long := func(name string) []byte { return cabundletest.CA(name, start.Add(-week), start.Add(week)) }
	for sentence, jump := range map[string]time.Duration{
		"a day forward":    24 * time.Hour,
		"an hour backward": -time.Hour,
		"a day backward":   -24 * time.Hour,
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newPublishing(t, nil)
			before, after := long("before"), long("after")
			r.sources.ca = before
			undo := func() {
				r.targets.object.Webhooks[0].ClientConfig.CABundle = nil
				r.targets.bump()
				r.watchChange(true)
			}
			// within works off what is due, and fails the test if that takes longer than the interval.
			within := func() {
				t.Helper()
				begin := r.clock.Now()
				for again := r.work(t); again > 0; again = r.retry(t) {
					if r.clock.Step(again); r.clock.Since(begin) > r.options.Interval {
						t.Fatalf("it waits for %v", again)
					}
				}
			}
			r.watch()
			for range 3 {
				undo()
				within()
			}
			r.clock.SetTime(r.clock.Now().Add(jump))
			undo()
			within()
			r.expect(t, before)
			r.sources.ca = after
			r.readAll(t.Context())
			within()
			r.expect(t, append(bytes.Clone(before), after...))
		})
	}
}

func TestAClockThatGoesBackDoesNotKeepAPolicyFromBeingTried(t *testing.T) {
	r := newPublishing(t, nil)
	r.options.Policy = true
	r.policyFailed.Store(r.clock.Now().UnixNano())
	if r.policyFills() {
		t.Fatal("a policy that has just failed is tried again")
	}
	r.clock.SetTime(r.clock.Now().Add(-time.Hour))
	if !r.policyFills() {
		t.Error("it is not tried until the clock is where it was")
	}
}

func TestAClockThatGoesBackDoesNotKeepAReplicaFromActing(t *testing.T) {
	r := newRig(t, nil)
	r.options.Leads = func() bool { return false }
	r.watch()
	known, _ := r.tracker.get(target)
	if left := r.left(target, known); left != followAfter {
		t.Fatalf("it leaves the target to the leader for %v", left)
	}
	r.clock.SetTime(r.clock.Now().Add(-time.Hour))
	if left := r.left(target, known); left > followAfter {
		t.Errorf("it leaves the target to the leader for %v", left)
	}
}

// TestCertificatesThatExpireAreNobodysDoing has five of a target expire one after the other. Soak found that a person was
// blamed for it, and the next rotation held back.
func TestCertificatesThatExpireAreNobodysDoing(t *testing.T) {
	r := newRig(t, nil)
	r.sources.ca = nil
	for n := range contestedAfter + 2 {
		r.sources.ca = append(r.sources.ca, cabundletest.CA("short", start.Add(-time.Hour), start.Add(time.Duration(n+1)*5*time.Second))...)
	}
	r.sources.ca = append(r.sources.ca, caOne...)
	r.watch()
	r.work(t)
	for range contestedAfter + 1 {
		r.clock.Step(5*time.Second + time.Millisecond)
		r.readAll(t.Context())
		if again := r.work(t); again > 0 {
			t.Errorf("what has expired goes only after %v", again)
		}
	}
	r.expectContest(t, "")
	if r.targets.writes < contestedAfter {
		t.Errorf("%d writes", r.targets.writes)
	}
}
