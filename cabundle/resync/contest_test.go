package resync

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestContest writes a target at times. Each line says what the last of the writes comes to.
func TestContest(t *testing.T) {
	type write struct {
		after time.Duration // the write before
		same  bool          // somebody else has changed the target
		wiped bool          // and left no certificate in it
	}
	every := func(n int, after time.Duration, same bool) (all []write) {
		for range n {
			all = append(all, write{after, same, false})
		}
		return all
	}
	wipes := func(n int, after time.Duration) (all []write) {
		for range n {
			all = append(all, write{after, true, true})
		}
		return append(every(1, 0, false), all...)
	}
	type outcome struct {
		Undone    int
		Rest      time.Duration // before it writes over certificates
		Refills   time.Duration // before it fills what holds none
		Contested bool
	}
	for sentence, test := range map[string]struct {
		writes []write
		want   outcome
	}{
		"the first write":              {every(1, 0, false), outcome{0, 0, 0, false}},
		"the first that was undone":    {append(every(1, 0, false), write{time.Second, true, false}), outcome{1, firstRetry, firstRetry, false}},
		"the second":                   {append(every(1, 0, false), every(2, time.Second, true)...), outcome{2, 2 * firstRetry, 2 * firstRetry, false}},
		"the fifth":                    {append(every(1, 0, false), every(5, time.Second, true)...), outcome{5, 16 * firstRetry, 16 * firstRetry, true}},
		"the fortieth":                 {append(every(1, 0, false), every(40, 31*time.Second, true)...), outcome{40, interval, wipeRest, true}},
		"ten rotations in a hurry":     {every(10, time.Second, false), outcome{0, 0, 0, false}},
		"a rotation amid a fight":      {append(every(6, time.Second, true), write{time.Second, false, false}), outcome{5, 0, 0, true}},
		"the fight goes on after that": {append(every(6, time.Second, true), write{time.Second, false, false}, write{time.Second, true, false}), outcome{6, 64 * firstRetry, 64 * firstRetry, true}},
		"after a minute of quiet":      {append(every(6, time.Second, true), write{2*interval + 1, true, false}), outcome{0, firstRetry, firstRetry, false}},
		"just before":                  {append(every(6, time.Second, true), write{2 * interval, true, false}), outcome{6, 64 * firstRetry, 64 * firstRetry, true}},
		"rotations do not prolong it": {append(append(every(6, time.Second, true), every(7, 10*time.Second, false)...), write{time.Second, true, false}),
			outcome{1, firstRetry, firstRetry, false}},
		"wiped once":                           {wipes(1, time.Second), outcome{1, 0, firstRetry, false}},
		"wiped for the fortieth time":          {wipes(40, 9*time.Second), outcome{40, 0, wipeRest, true}},
		"wiped, and then certificates instead": {append(wipes(40, 9*time.Second), write{wipeRest, true, false}), outcome{41, firstRetry, firstRetry, true}},
		"undone each two minutes":              {every(10, 2*time.Minute, true), outcome{0, firstRetry, firstRetry, false}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var c contest
			now := start
			for _, w := range test.writes {
				now = now.Add(w.after)
				c = c.write(now, undoing{same: w.same, wiped: w.wiped, rest: wipeRest}, interval)
			}
			_, rest := c.postpone(now, undoing{same: true, rest: interval}, interval)
			if diff := cmp.Diff(test.want, outcome{c.undone, rest, c.rest(now, now, interval), c.contested()}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheEndOfAContest(t *testing.T) {
	c := contest{written: start, undone: 7, undoneAt: start, manager: "other", until: start.Add(interval)}
	for sentence, test := range map[string]struct {
		at    time.Time
		rest  time.Duration
		quiet bool
	}{
		"at once":                       {start, interval, false},
		"later":                         {start.Add(10 * time.Second), 20 * time.Second, false},
		"when it may be written again":  {start.Add(interval), 0, false},
		"after two intervals":           {start.Add(2 * interval), -interval, false},
		"after more":                    {start.Add(2*interval + 1), -interval - 1, true},
		"before it, so a clock is back": {start.Add(-1), 0, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if rest, quiet := c.rest(test.at, test.at, interval), c.quiet(test.at, interval); rest != test.rest || quiet != test.quiet {
				t.Errorf("it rests for %v; quiet: %v", rest, quiet)
			}
		})
	}
	t.Run("who it was is forgotten", func(t *testing.T) {
		for _, same := range []bool{false, true} {
			if got := c.write(start.Add(3*interval), undoing{same: same}, interval); got.manager != "" || got.contested() {
				t.Errorf("it is %+v", got)
			}
		}
	})
	t.Run("amid it, who it is is known", func(t *testing.T) {
		if got := c.write(start.Add(interval), undoing{same: true}, interval); got.manager != "other" {
			t.Errorf("it is %+v", got)
		}
	})
}
