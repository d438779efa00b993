package resync

import (
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
)

// act is what to do with a target next.
type act string

const (
	nothing act = "nothing"
	// report says that a problem that this replica has only just come to answer for is to be told.
	report act = "report"
	// pause lets a target rest that somebody changes as often as caject writes it.
	pause act = "pause"
	// refuse is for an annotation that cannot be understood.
	refuse act = "refuse"
	// await leaves a target whose source cannot be used as it is. The target was looked at before: nothing else is wrong with it.
	await act = "await"
	// keep leaves a target that has no place for a caBundle as it is, whatever its source is by now.
	keep act = "keep"
	// readmit has admission bring the target to the source as it is known. Nothing is read.
	readmit act = "readmit"
	// check looks from the API server's cache, which may only conclude that all is right.
	check act = "check"
	// look reads the target, and writes what is not right.
	look act = "look"
)

// next decides what to do with a target at now. leads says that this replica acts at once.
func next(now time.Time, s *state, source ledger.Reading, leads bool, interval time.Duration) (act, time.Duration) {
	same := s.looked.version == s.seen.version // as it was at the last look
	revision, rest := s.revision(source), s.contest.rest(now, s.seen.at, interval)
	switch {
	case !s.due(now, revision):
		if s.unreported && leads {
			return report, 0
		}
		return nothing, 0
	case rest > 0 && !s.stale(revision):
		// Nobody wins such a fight by being faster. But another CA does not wait for its end.
		return pause, rest
	case s.seen.invalid != nil:
		return refuse, 0
	case source.Problem != nil && s.looked.source && same:
		return await, 0
	case same && s.idle():
		return keep, 0
	case s.stale(revision) && same && s.looked.known && !s.looked.source && usable(now, source):
		return readmit, 0
	case leads && (s.seen.fresh && !same || s.looked.source && usable(now, source)): // it most likely needs a write
		return look, 0
	}
	return check, 0
}

// usable reports whether source is known for certain, and has something to inject.
func usable(now time.Time, source ledger.Reading) bool {
	return source.Consistent && source.Problem == nil && !source.Bundle.Unexpired(now).Empty()
}

// hinted reports whether s is due because a hint has found that its source has changed.
func hinted(s *state, source ledger.Reading) bool {
	return source.Via == metrics.Hint && s.looked.known && s.stale(s.revision(source))
}

// version returns what changes whenever a caBundle may have changed, or another source or mode is asked for. The generation, where there is
// one, spares a look at each change of a CRD's status; APIServices have none. For example:
//
//	generation 3 secret/team-a/webhook-ca
func version(object cabundle.Object, ref cabundle.Reference) string {
	return versionOf(object.Generation, object.ResourceVersion, ref, cabundle.Replaces(object.Annotations))
}
