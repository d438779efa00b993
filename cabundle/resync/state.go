package resync

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
)

// state is what is known of one annotated target: as the watch shows it, as the last look left it, and what lasts longer.
type state struct {
	seen    seen
	looked  looked
	contest contest

	takenOver bool   // cert-manager's cainjector was removed from its owners
	reported  string // the problem last reported; empty if there is none
	// unreported says that the problem is one that the leader is to report, and this replica was not the leader.
	unreported   bool
	failures     int       // looks in a row that are to be repeated
	unknownSince time.Time // when looks began to come to nothing: see Problem.Outage
}

// seen is a target as the watch last showed it.
type seen struct {
	uid     types.UID
	version string // changes whenever the object may need another look: see version
	ref     cabundle.Reference
	replace bool              // it gets what the source holds and nothing else: no policy fills it
	invalid *cabundle.Problem // of the annotation
	at      time.Time         // when that version was first seen
	before  time.Time         // when the version before that was first seen; zero if none was
	fresh   bool              // it has just changed, and admission did not see it: it most likely needs a write
}

// looked is what the last look came to. The zero value is that of a target that was never looked at.
type looked struct {
	version  string // of the target; empty if it is to be looked at again whatever happens
	revision int    // of the source
	// expiry is when the first certificate expires that the target or its source holds; zero if none will.
	expiry  time.Time
	problem *cabundle.Problem // why not all is right
	source  bool              // the problem is that of the source alone
	known   bool              // the look came to something: problem is not an Outage
}

// due reports whether s needs a look at now, when its source has the given revision.
func (s *state) due(now time.Time, revision int) bool {
	return s.looked.version != s.seen.version || s.stale(revision) || s.expired(now)
}

// stale reports whether the source has changed since the last look.
func (s *state) stale(revision int) bool {
	return s.seen.invalid == nil && s.looked.revision != revision
}

// expired reports whether a certificate has expired since the last look.
func (s *state) expired(now time.Time) bool {
	return !s.looked.expiry.IsZero() && now.After(s.looked.expiry)
}

// idle reports whether the target has no place for a caBundle, as the last look has shown.
func (s *state) idle() bool {
	return s.looked.known && s.looked.problem != nil && s.looked.problem.Idle()
}

// revisionOf returns the revision of source that counts for a target: one that asks for what the source holds and nothing else has more to follow.
func revisionOf(source ledger.Reading, replace bool) int {
	if replace {
		return source.ExactRevision
	}
	return source.Revision
}

// revision returns the revision of source that counts for the target, as the watch shows it.
func (s *state) revision(source ledger.Reading) int { return revisionOf(source, s.seen.replace) }

// right reports whether the target holds what its source, at the given revision, is.
func (s *state) right(revision int) bool {
	return s.looked.known && s.looked.problem == nil && s.looked.version == s.seen.version && !s.stale(revision)
}

// settle takes in what a look came to, and returns how long to wait for the next one; 0 if it needs none until something changes.
// A source that cannot be used is not waited for here: its Revision changes when it can.
func (s *state) settle(now time.Time, found looked, interval time.Duration) (wait time.Duration) {
	problem := found.problem
	if problem == nil || !problem.Outage() {
		s.unknownSince = time.Time{}
		found.known = true
		s.looked = found
	} else {
		if s.unknownSince.IsZero() {
			s.unknownSince = now
		}
		s.looked.version = "" // and what was known before stays
	}
	if problem == nil || problem.Final() || found.source && !problem.Outage() {
		s.failures = 0
		return 0
	}
	longest := interval
	if problem.Outage() {
		longest = min(longest, outageRetry)
	}
	return s.repeat(longest)
}

// repeat has the target looked at again, whatever happens, and returns how long to wait: at most longest.
func (s *state) repeat(longest time.Duration) (wait time.Duration) {
	s.looked.version = ""
	wait = min(firstRetry<<min(s.failures, 20), longest)
	s.failures++
	return wait
}

// take takes in after, which is s as a look has left it. The watch may have shown the target to be another one meanwhile. If it has not,
// the look knows better than the watch what the target is like: it may have written it.
func (s *state) take(after state) {
	if after.seen.ref != s.seen.ref {
		after.ask(s.seen)
	}
	if after.looked.version != "" && s.seen.version == after.seen.version {
		s.seen.version = after.looked.version
	}
	after.seen = s.seen
	*s = after
}

// ask has s ask for another source from now on, as seen shows. What was found, and who wrote what, was about the former one; what was
// told to people stays.
func (s *state) ask(seen seen) {
	*s = state{seen: seen, takenOver: s.takenOver, reported: s.reported, unreported: s.unreported}
}
