package resync

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

// contestedAfter is how many of caject's writes must be undone, one soon after the other, for somebody to be told.
// That takes seconds, since caject waits longer each time.
const contestedAfter = 5

// contestReason is that of the Event.
const contestReason = "TargetContested"

// contest is what is known of somebody who undoes what caject writes to a target.
type contest struct {
	written  time.Time // when caject last wrote the target
	undone   int       // how many of its writes were undone since the target was last quiet
	undoneAt time.Time // when the last of them was found to be, or the first of all was written
	manager  string    // who does it; empty before contestedAfter
}

// quiet reports that nobody has undone a write for so long that what was before does not count any more. That caject has
// written the target meanwhile, for its source has changed, says nothing.
func (c contest) quiet(now time.Time, interval time.Duration) bool {
	return now.Sub(c.undoneAt) > 2*interval
}

// next returns what is known once caject writes target another time; same says that the source is what it was at the
// last look, so that somebody else has changed the target. Called before the write, when the target still shows who
// it was.
func (r *Resync) next(ctx context.Context, target cabundle.Target, known state, same bool) contest {
	c, now := known.contest, r.clock.Now()
	switch {
	case now.Sub(c.written) > 2*r.options.Interval:
		c = contest{undoneAt: now}
	case same && c.quiet(now, r.options.Interval):
		c = contest{undone: 1, undoneAt: now}
	case same:
		c.undone++
		c.undoneAt = now
	}
	c.written = now
	if c.undone < contestedAfter {
		return c
	}
	managers, err := r.targets.Managers(ctx, target)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Cannot read who changes the target", "error", err.Error())
		return c
	}
	if manager := cabundle.LastManager(managers); manager != c.manager {
		c.manager = manager
		log.FromContext(ctx).Info("Somebody keeps undoing the injection; writing it again, ever more slowly", "manager", manager, "times", c.undone)
		r.event(target, known.uid, corev1.EventTypeWarning, contestReason, fmt.Sprintf(
			"field manager %q keeps changing the caBundle back; caject writes it again, ever more slowly (leave caBundle out of what %q applies, or remove the annotation)",
			manager, manager))
	}
	return c
}
