package resync

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
)

var (
	final   = cabundle.Problem{Reason: cabundle.NotInjectable}
	refused = cabundle.Problem{Reason: cabundle.TargetRefused}
)

// known is a state of a target that was right at the last look, at Revision 1 of its source.
func known(change func(*state)) *state {
	s := &state{
		seen:   seen{uid: "uid", version: "1", ref: secret, at: start},
		looked: looked{version: "1", revision: 1, known: true, expiry: start.Add(time.Hour)},
	}
	if change != nil {
		change(s)
	}
	return s
}

func TestDueStaleRight(t *testing.T) {
	type verdict struct{ Due, Stale, Right bool }
	for sentence, test := range map[string]struct {
		state *state
		after time.Duration // since start
		want  verdict       // at Revision 1 of the source
	}{
		"nothing has changed":                    {known(nil), 0, verdict{false, false, true}},
		"it was never looked at":                 {&state{seen: known(nil).seen}, 0, verdict{true, true, false}},
		"it has changed":                         {known(func(s *state) { s.seen.version = "2" }), 0, verdict{true, false, false}},
		"the source has changed":                 {known(func(s *state) { s.looked.revision = 7 }), 0, verdict{true, true, false}},
		"a certificate expires":                  {known(nil), time.Hour, verdict{false, false, true}},
		"a certificate has expired":              {known(nil), time.Hour + 1, verdict{true, false, true}},
		"no certificate will expire":             {known(func(s *state) { s.looked.expiry = time.Time{} }), 10000 * time.Hour, verdict{false, false, true}},
		"it has a problem":                       {known(func(s *state) { s.looked.problem = &final }), 0, verdict{false, false, false}},
		"the last look is to be repeated":        {known(func(s *state) { s.looked.version = "" }), 0, verdict{true, false, false}},
		"its annotation cannot be understood":    {known(func(s *state) { s.seen.invalid, s.looked.revision = &final, 0 }), 0, verdict{false, false, true}},
		"nothing is known of it but its version": {known(func(s *state) { s.looked.known = false }), 0, verdict{false, false, false}},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := verdict{test.state.due(start.Add(test.after), 1), test.state.stale(1), test.state.right(1)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	now := start.Add(time.Minute)
	found := looked{version: "2", revision: 2}
	with := func(problem cabundle.Problem, source bool) looked {
		l := found
		l.problem, l.source = &problem, source
		return l
	}
	type outcome struct {
		Wait     time.Duration
		Version  string // empty: it is looked at again whatever happens
		Revision int
		Known    bool
		Failures int
		Unknown  bool // since now, or before
	}
	for sentence, test := range map[string]struct {
		before *state
		found  looked
		want   outcome
	}{
		"it is right": {known(nil), found, outcome{0, "2", 2, true, 0, false}},
		"it is right after failures": {
			known(func(s *state) { s.failures, s.unknownSince = 3, start }), found, outcome{0, "2", 2, true, 0, false},
		},
		"a final problem waits for a change": {known(nil), with(final, false), outcome{0, "2", 2, true, 0, false}},
		"a problem of the source waits for it": {
			known(func(s *state) { s.failures = 3 }), with(missing, true), outcome{0, "2", 2, true, 0, false},
		},
		"a problem of the target is retried": {known(nil), with(refused, false), outcome{firstRetry, "", 2, true, 1, false}},
		"the fourth time it waits longer": {
			known(func(s *state) { s.failures = 3 }), with(refused, false), outcome{8 * firstRetry, "", 2, true, 4, false},
		},
		"it never waits longer than the interval": {
			known(func(s *state) { s.failures = 1000 }), with(refused, false), outcome{interval, "", 2, true, 1001, false},
		},
		"an outage says nothing": {known(nil), with(away, true), outcome{firstRetry, "", 1, true, 1, true}},
		"an outage at the first look": {
			&state{seen: known(nil).seen}, with(away, true), outcome{firstRetry, "", 0, false, 1, true},
		},
		"an outage is not waited for as long": {
			known(func(s *state) { s.failures = 1000 }), with(away, true), outcome{outageRetry, "", 1, true, 1001, true},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := *test.before
			wait := s.settle(now, test.found, interval)
			got := outcome{wait, s.looked.version, s.looked.revision, s.looked.known, s.failures, !s.unknownSince.IsZero()}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("an outage has lasted since it began", func(t *testing.T) {
		s := known(nil)
		s.settle(start, with(away, true), interval)
		s.settle(now, with(away, true), interval)
		if !s.unknownSince.Equal(start) {
			t.Errorf("it is unknown since %v", s.unknownSince)
		}
	})
}

// TestTake has a look end with its findings at version 2, while the watch has shown something else, or not.
func TestTake(t *testing.T) {
	after := *known(func(s *state) {
		s.looked = looked{version: "2", revision: 2, known: true}
		s.contest.undone, s.takenOver, s.reported, s.failures = 3, true, "told", 4
	})
	for sentence, test := range map[string]struct {
		meanwhile func(*state)
		want      *state
	}{
		"nothing: the look knows better": {func(*state) {}, func() *state {
			s := after
			s.seen.version = "2"
			return &s
		}()},
		"another change": {func(s *state) { s.seen.version, s.seen.fresh = "3", true }, func() *state {
			s := after
			s.seen.version, s.seen.fresh = "3", true
			return &s
		}()},
		"another source": {func(s *state) { s.seen.version, s.seen.ref = "3", other }, &state{
			seen: seen{uid: "uid", version: "3", ref: other, at: start}, takenOver: true, reported: "told",
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := known(test.meanwhile)
			s.take(after)
			if diff := cmp.Diff(test.want, s, cmp.AllowUnexported(state{}, seen{}, looked{}, contest{}, words{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRecent(t *testing.T) {
	reading := func(change func(*ledger.Reading)) ledger.Reading {
		r := ledger.Reading{Revision: 1, Consistent: true, Began: start.Add(-time.Second)}
		change(&r)
		return r
	}
	for sentence, test := range map[string]struct {
		state  *state
		source ledger.Reading
		want   bool
	}{
		"it was read before the target was seen":        {known(nil), reading(func(*ledger.Reading) {}), false},
		"at the same time":                              {known(nil), reading(func(r *ledger.Reading) { r.Began = start }), false},
		"since then":                                    {known(nil), reading(func(r *ledger.Reading) { r.Began = start.Add(1) }), true},
		"since then, but from a cache":                  {known(nil), reading(func(r *ledger.Reading) { r.Began, r.Consistent = start.Add(1), false }), false},
		"it has changed since the target was looked at": {known(nil), reading(func(r *ledger.Reading) { r.Revision = 2 }), true},
		"it has changed, but the target is not known":   {&state{seen: known(nil).seen}, reading(func(*ledger.Reading) {}), false},
		"it has changed, but that is from a cache":      {known(nil), reading(func(r *ledger.Reading) { r.Revision, r.Consistent = 2, false }), false},
		"it cannot be used":                             {known(nil), reading(func(r *ledger.Reading) { r.Problem = &missing }), true},
		"it cannot be used, if one can believe a cache": {known(nil), reading(func(r *ledger.Reading) { r.Problem, r.Consistent = &missing, false }), false},
		"it was never read":                             {known(nil), ledger.Reading{}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := recent(test.state, test.source); got != test.want {
				t.Errorf("recent: %v", got)
			}
		})
	}
}
