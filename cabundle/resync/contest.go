package resync

import "time"

const (
	// contestedAfter is how many of caject's writes must be undone, one soon after the other, for somebody to be told. That takes
	// seconds, since caject waits longer each time.
	contestedAfter = 5
	// contestReason is that of the Event.
	contestReason = "TargetContested"
)

// contest is what is known of somebody who undoes what caject writes to a target. Its methods are pure.
type contest struct {
	written  time.Time // when caject last wrote the target
	undone   int       // how many of its writes were undone since the target was last quiet
	undoneAt time.Time // when the last of them was found to be, or the first of all was written
	manager  string    // who does it; empty before contestedAfter
	writes   int       // how many writes in a row had to wait
	until    time.Time // when caject may write it again
}

// quiet reports whether nobody has undone a write for so long that what was before does not count any more. That caject has
// written the target meanwhile, for its source has changed, says nothing.
func (c contest) quiet(now time.Time, interval time.Duration) bool {
	return now.Sub(c.undoneAt) > 2*interval
}

// rest returns for how long the target is not written. It is never more than the interval: then the clock has gone back.
func (c contest) rest(now time.Time, interval time.Duration) time.Duration {
	if left := c.until.Sub(now); left <= interval {
		return left
	}
	return 0
}

// write returns the contest once caject writes the target at now. same says that the source is what it was at the last
// look and nothing has expired: then somebody else has changed the target. The next write of such a target waits, each time longer,
// until the target was quiet for a while.
func (c contest) write(now time.Time, same bool, interval time.Duration) contest {
	switch {
	case now.Sub(c.written) > 2*interval:
		c = contest{undoneAt: now}
	case same && c.quiet(now, interval):
		c = contest{undone: 1, undoneAt: now}
	case same:
		c.undone++
		c.undoneAt = now
	}
	c.written, c.until = now, now
	if same {
		c.until = now.Add(min(firstRetry<<min(c.writes, 20), interval))
		c.writes++
	}
	return c
}

// contested reports whether somebody is to be told.
func (c contest) contested() bool { return c.undone >= contestedAfter }
