package publish

import (
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/shards"
)

// Summary is what the publisher has to know of the targets of a source.
type Summary struct {
	// Total is how many there are that have a place for a caBundle, and Injected how many of them hold what the source is now.
	Total, Injected int
	// Pending is how many more there are that may have such a place, and were not looked at yet.
	Pending int
}

// complete reports whether all targets hold what the source is now.
func (s Summary) complete() bool { return s.Injected == s.Total && s.Pending == 0 }

// wanted returns what is to be stored of a source: its history, and what follows from it. synced says that all targets are known:
// before that nothing is taken away for the sake of targets that seem not to be there. dropped is how many certificates were dropped for
// want of room.
func wanted(now time.Time, rules cabundle.Rules, stored shards.Entry, reading ledger.Reading, targets Summary, synced bool) (next shards.Entry, dropped int) {
	history, dropped := reading.History.Trim(now, cabundle.MaxSourceBytes)
	before := stored.Published.Bundle()
	if stored.Stored() { // what was dropped before is remembered for a while, and need not be told again
		dropped = 0
		for _, certificate := range before.Unexpired(now).Certificates() {
			if _, kept := history.Known[cabundle.Fingerprint(certificate)]; !kept {
				dropped++
			}
		}
	}
	next = shards.Entry{History: stored.History}
	if history.Adds(now, stored.History) {
		next.History = history
	} else {
		history = stored.History.Complete(history)
	}
	published := rules.Published(now, history, reading.Reading, before)
	former := stored.Published
	if history.Withdrawn > stored.History.Withdrawn { // what targets hold of before stays there: it is not replaced
		former = cabundle.Published{}
	}
	next.Published = former.Next(published, synced && targets.complete())
	if problem := problemOf(now, reading); problem != nil {
		next.Problem = problem.Error()
	}
	return next, dropped
}

// problemOf returns why the source cannot be injected, or nil.
func problemOf(now time.Time, reading ledger.Reading) *cabundle.Problem {
	if reading.Problem == nil && reading.Bundle.Unexpired(now).Empty() {
		return cabundle.Expired(reading.Bundle)
	}
	return reading.Problem
}

// outlived reports whether former values are stored that no target holds any more: all of them had the new one before it was stored, and
// nothing else would have that looked at again.
func (p *Publisher) outlived(stored shards.Entry, ref cabundle.Reference, reading ledger.Reading) bool {
	return len(stored.Published.Replaces) > 0 && p.targets.Synced() && p.targets.Summary(ref, reading).complete()
}
