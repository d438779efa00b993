package resync

import (
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
)

// reading is that of a source at the given Revision, from etcd.
func reading(revision int, change func(*ledger.Reading)) ledger.Reading {
	r := ledger.Reading{Revision: revision, Consistent: true, Began: start.Add(-time.Second)}
	r.Bundle = cabundle.ParseExisting(caOne)
	if change != nil {
		change(&r)
	}
	return r
}

func TestNext(t *testing.T) {
	now := start.Add(time.Minute)
	cannot := func(r *ledger.Reading) { r.Bundle, r.Problem = cabundle.Bundle{}, &missing }
	cached := func(r *ledger.Reading) { r.Consistent = false }
	expired := func(r *ledger.Reading) {
		r.Bundle = cabundle.ParseExisting(cabundletest.CA("expired", start.Add(-time.Hour), start))
	}
	changed := func(s *state) { s.seen.version = "2" }
	fresh := func(s *state) { s.seen.version, s.seen.fresh = "2", true }
	invalid := func(s *state) { s.seen.version, s.seen.invalid = "2", &final }
	waiting := func(s *state) { s.looked.problem, s.looked.source = &missing, true }
	placeless := func(s *state) { s.looked.problem = &cabundle.Problem{Reason: cabundle.NotInjectable} }
	again := func(s *state) { s.looked.version = "" }
	contested := func(s *state) { s.contest.until = now.Add(3 * time.Second) }
	unreported := func(s *state) { s.looked.problem, s.unreported = &final, true }
	all := func(changes ...func(*state)) *state {
		return known(func(s *state) {
			for _, change := range changes {
				change(s)
			}
		})
	}
	for sentence, test := range map[string]struct {
		state  *state
		source ledger.Reading
		follow bool // it does not lead
		want   act
		wait   time.Duration
	}{
		"nothing has changed":                                       {all(), reading(1, nil), false, nothing, 0},
		"nothing has changed since a problem was told":              {all(waiting), reading(1, cannot), false, nothing, 0},
		"nothing has changed in a target that somebody else writes": {all(contested), reading(1, nil), false, nothing, 0},

		"the leader has not told a problem":  {all(unreported), reading(1, nil), false, report, 0},
		"it is not this replica that tells":  {all(unreported), reading(1, nil), true, nothing, 0},
		"a problem not told may not be true": {all(unreported, changed), reading(1, nil), false, check, 0},

		"somebody changes it as often as caject":         {all(contested, changed), reading(1, nil), false, pause, 3 * time.Second},
		"the same, and it has just changed":              {all(contested, fresh), reading(1, nil), false, pause, 3 * time.Second},
		"a contest that is over":                         {all(changed, func(s *state) { s.contest.until = now }), reading(1, nil), false, check, 0},
		"a contest does not hold up another CA":          {all(contested), reading(2, nil), false, readmit, 0},
		"nor if the target has changed, too":             {all(contested, changed), reading(2, nil), false, check, 0},
		"a contest of which the clock has gone far back": {all(changed, func(s *state) { s.contest.until = now.Add(time.Hour) }), reading(1, nil), false, check, 0},

		"its annotation cannot be understood":                  {all(invalid), ledger.Reading{}, false, refuse, 0},
		"the same, and it was refused":                         {all(invalid, func(s *state) { s.looked.version = "2" }), ledger.Reading{}, false, nothing, 0},
		"the source cannot be used, and could not before":      {all(waiting), reading(2, cannot), false, await, 0},
		"the source cannot be used, but could before":          {all(), reading(2, cannot), false, check, 0},
		"the source cannot be used, and the target is another": {all(waiting, changed), reading(2, cannot), false, check, 0},

		"the source has changed, but there is no place for it":    {all(placeless), reading(2, nil), false, keep, 0},
		"there may be a place for it by now":                      {all(placeless, changed), reading(2, nil), false, check, 0},
		"the source has changed":                                  {all(), reading(2, nil), false, readmit, 0},
		"the source has changed, and this replica follows":        {all(), reading(2, nil), true, readmit, 0},
		"the source can be used by now":                           {all(waiting), reading(2, nil), false, look, 0},
		"the source may have changed: a cache says so":            {all(), reading(2, cached), false, check, 0},
		"the source has nothing left that is good":                {all(), reading(2, expired), false, check, 0},
		"both have changed":                                       {all(changed), reading(2, nil), false, check, 0},
		"the source has changed, and the last look was in vain":   {all(again), reading(2, nil), false, check, 0},
		"nothing was found out about the target before":           {known(func(s *state) { s.looked = looked{version: "1"} }), reading(1, nil), false, check, 0},
		"it was never looked at":                                  {&state{seen: known(nil).seen}, ledger.Reading{}, false, check, 0},
		"it has changed":                                          {all(changed), reading(1, nil), false, check, 0},
		"the last look was in vain":                               {all(again), reading(1, nil), false, check, 0},
		"a certificate has expired":                               {known(func(s *state) { s.looked.expiry = start }), reading(1, nil), false, check, 0},
		"the same, in a webhook configuration that changed once":  {known(func(s *state) { s.looked.expiry, s.seen.fresh = start, true }), reading(1, nil), false, check, 0},
		"a webhook configuration has just changed":                {all(fresh), reading(1, nil), false, look, 0},
		"it has just been made":                                   {known(func(s *state) { fresh(s); s.looked = looked{} }), ledger.Reading{}, false, look, 0},
		"it has just changed, but the leader is likely to see it": {all(fresh), reading(1, nil), true, check, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, wait := next(now, test.state, test.source, !test.follow, interval)
			if got != test.want || wait != test.wait {
				t.Errorf("%s, after %v", got, wait)
			}
		})
	}
}

func TestHinted(t *testing.T) {
	hint := func(r *ledger.Reading) { r.Via = metrics.Hint }
	for sentence, test := range map[string]struct {
		state  *state
		source ledger.Reading
		want   bool
	}{
		"a hint has found the change":                 {known(nil), reading(2, hint), true},
		"a tick has":                                  {known(nil), reading(2, func(r *ledger.Reading) { r.Via = metrics.Resync }), false},
		"the target was brought to it already":        {known(nil), reading(1, hint), false},
		"the target is new, and would be due anyway":  {&state{seen: known(nil).seen}, reading(1, hint), false},
		"the target has no source that can be hinted": {known(func(s *state) { s.seen.invalid = &final }), reading(2, hint), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := hinted(test.state, test.source); got != test.want {
				t.Errorf("hinted: %v", got)
			}
		})
	}
}
