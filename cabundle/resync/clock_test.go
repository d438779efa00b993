package resync

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle/cabundletest"
)

// jumping is a clock that can be set.
type jumping struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now implements [clock.PassiveClock].
func (j *jumping) Now() time.Time { return j.RealClock.Now().Add(time.Duration(j.ahead.Load())) }

// Since implements [clock.PassiveClock].
func (j *jumping) Since(t time.Time) time.Duration { return j.Now().Sub(t) }

// TestTheClockMayJump has a target written a few times, so that caject waits before it writes it again, the clock set, and the target
// undone and its source rotated. All that is waited for then must be over within the interval.
func TestTheClockMayJump(t *testing.T) {
	week := 7 * 24 * time.Hour
	long := func(name string) []byte { return cabundletest.CA(name, start.Add(-week), start.Add(week)) }
	for sentence, jump := range map[string]time.Duration{
		"a day forward":    24 * time.Hour,
		"an hour backward": -time.Hour,
		"a day backward":   -24 * time.Hour,
	} {
		for replica, leads := range map[string]bool{"the leader": true, "a replica that follows": false} {
			t.Run(sentence+", "+replica, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, Options{}, never)
					r.leads = leads
					clock := &jumping{}
					r.Resync.clock, r.tracker.clock = clock, clock
					before, after := long("before"), long("after")
					r.sources.set(secret, before)
					// within works off what is due, and fails the test if want is not there within the interval.
					within := func(want []byte) {
						t.Helper()
						for begin := time.Now(); ; r.pass(50 * time.Millisecond) {
							if r.work(t); r.targets.held(target) == string(want) {
								return
							}
							if time.Since(begin) > interval+followAfter {
								r.expect(t, want)
								t.FailNow()
							}
						}
					}
					r.show(target)
					within(before)
					for range 5 {
						r.wipe("somebody")
						within(before)
					}
					clock.ahead.Add(int64(jump))
					r.wipe("somebody")
					within(before)
					r.sources.set(secret, after)
					r.tick(t, secret)
					within(both(before, after))
					r.changed(target)
					if again := r.work(t); again > 0 {
						t.Errorf("it waits for another %v", again)
					}
				})
			})
		}
	}
}

func TestAClockThatGoesForwardHasWhatExpiredTakenOut(t *testing.T) {
	short := cabundletest.CA("short", start.Add(-time.Hour), start.Add(time.Hour))
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, never, both(short, caOne))
		clock := &jumping{}
		r.Resync.clock, r.tracker.clock = clock, clock
		r.filled(t)
		clock.ahead.Add(int64(2 * time.Hour))
		r.tracker.sweep()
		r.work(t)
		r.expect(t, caOne)
	})
}
