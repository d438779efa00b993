package resync

import (
	"time"

	"github.com/caject/caject/cabundle"
)

const (
	// contestedAfter is how many of caject's writes must be undone, one soon after the other, for somebody to be told. That takes
	// seconds, since caject waits longer each time.
	contestedAfter = 5
	// contestReason is that of the Event.
	contestReason = "TargetContested"
	// wipeRest is the longest that a field without a certificate waits to be filled again, and wipeRestCRD that of a CRD: each write of a
	// CRD has the API server build its storage anew.
	wipeRest, wipeRestCRD = 5 * time.Second, 30 * time.Second
	// wipeGap is how long after one was made up for the next wipe counts as the first: it is made up for at once.
	wipeGap = 10 * time.Second
	// refillsPerSecond and refillBurst bound how many fields that were wiped again and again are filled by one replica in all.
	refillsPerSecond, refillBurst = 20, 40
)

// contest is what is known of somebody who undoes what caject writes to a target. Its methods are pure.
type contest struct {
	written  time.Time // when caject last wrote the target
	undone   int       // how many of its writes were undone since the target was last quiet
	undoneAt time.Time // when the last of them was found to be, or the first of all was written
	wiped    bool      // the last of them was, and nothing was left
	manager  string    // who does it; empty before contestedAfter
	said     words     // what was told of the manager
	writes   int       // how many writes over certificates of somebody else there were in a row
	refills  int       // and how many of what was wiped
	until    time.Time // when caject may look at it again, and fill what holds no certificate
	overAt   time.Time // when caject may write over certificates of somebody else again
	slot     time.Time // when it may be filled again as far as all targets together are concerned
}

// words are what was told of somebody who undoes what caject writes.
type words struct{ wipes, fights bool }

// undoing says how a target was found that caject is about to write.
type undoing struct {
	same   bool          // the source is what it was at the last look and nothing has expired: then somebody else has changed the target
	wiped  bool          // what is to be written holds no certificate
	rest   time.Duration // the longest wait of a field that is wiped
	budget time.Duration // how long all that are wiped again and again must wait for one another
	left   time.Time     // until when it is left to the replica that leads, if it is wiped; zero if this one does
}

// restOf returns how long a target that is wiped again and again rests, where nothing rests longer than interval.
func restOf(kind cabundle.Kind, interval time.Duration) time.Duration {
	if kind == cabundle.CustomResourceDefinition {
		return min(wipeRestCRD, interval)
	}
	return min(wipeRest, interval)
}

// quiet reports whether nobody has undone a write for so long that what was before does not count any more. That caject has
// written the target meanwhile, for its source has changed, says nothing.
func (c contest) quiet(now time.Time, interval time.Duration) bool {
	return now.Sub(c.undoneAt) > 2*interval
}

// rest returns for how long a target that was seen to change at seen is not looked at.
func (c contest) rest(now, seen time.Time, interval time.Duration) time.Duration {
	if c.wiped && seen.Sub(c.written) >= wipeGap {
		return left(now, c.slot, interval)
	}
	return max(left(now, c.until, interval), left(now, c.slot, interval))
}

// left returns how much time is left until then. It is never more than the interval: else the clock has gone back.
func left(now, then time.Time, interval time.Duration) time.Duration {
	if left := then.Sub(now); left <= interval {
		return left
	}
	return 0
}

// repeats reports whether the target has been wiped before, a short time ago.
func (c contest) repeats(now time.Time, u undoing, interval time.Duration) bool {
	return u.same && u.wiped && c.undone > 0 && !c.quiet(now, interval)
}

// postpone returns how long to leave a target alone that holds certificates of somebody else, or that another replica is to fill, and the
// contest if it is.
func (c contest) postpone(now time.Time, u undoing, interval time.Duration) (contest, time.Duration) {
	wait := left(now, c.overAt, interval)
	if u.wiped {
		wait = left(now, u.left, interval)
	}
	if !u.same || wait <= 0 {
		return c, 0
	}
	c.until = now.Add(min(wait, u.rest))
	return c, min(wait, u.rest)
}

// write returns the contest once caject writes the target at now. The next write of a target that somebody else has changed waits, each
// time longer, until the target was quiet for a while; but what is wiped does not wait longer than its rest.
func (c contest) write(now time.Time, u undoing, interval time.Duration) contest {
	switch {
	case now.Sub(c.written) > 2*interval:
		c = contest{undoneAt: now}
	case u.same && c.quiet(now, interval):
		c = contest{undone: 1, undoneAt: now}
	case u.same:
		c.undone++
		c.undoneAt = now
	}
	c.written, c.until, c.slot, c.wiped = now, now, now.Add(u.budget), u.same && u.wiped
	switch {
	case !u.same:
		c.overAt = now
	case u.wiped: // it says nothing of how long to wait before certificates are written over
		c.until = now.Add(min(firstRetry<<min(c.refills, 20), u.rest))
		c.refills++
	default:
		wait := min(firstRetry<<min(c.writes, 20), interval)
		c.until, c.overAt = now.Add(min(wait, u.rest)), now.Add(wait)
		c.writes++
	}
	return c
}

// contested reports whether somebody is to be told.
func (c contest) contested() bool { return c.undone >= contestedAfter }
