package setback

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSetback(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	type state struct {
		None bool
		Left time.Duration
	}
	for sentence, test := range map[string]struct {
		failures []time.Duration // after start
		now      time.Duration
		want     state
	}{
		"nothing has failed":                         {nil, time.Second, state{None: true}},
		"it has just failed":                         {[]time.Duration{0}, 0, state{Left: time.Second}},
		"half of the wait is over":                   {[]time.Duration{0}, 500 * time.Millisecond, state{Left: 500 * time.Millisecond}},
		"all of it is":                               {[]time.Duration{0}, time.Second, state{Left: 0}},
		"it has failed again":                        {[]time.Duration{0, time.Second}, time.Second, state{Left: 2 * time.Second}},
		"and again, later than it could":             {[]time.Duration{0, time.Second, 9 * time.Second}, 10 * time.Second, state{Left: 3 * time.Second}},
		"the wait is as long as it gets":             {[]time.Duration{0, 0, 0, 0, 0, 0}, 0, state{Left: 5 * time.Second}},
		"the clock has gone back behind the failure": {[]time.Duration{time.Minute}, time.Second, state{Left: 0}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var s Setback
			for _, at := range test.failures {
				s = s.Fail(start.Add(at), time.Second, 5*time.Second)
			}
			now := start.Add(test.now)
			got := state{s.None(), s.Left(now)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWaitIsNeverLongerThanTheLongest(t *testing.T) {
	now := time.Now()
	if left := (Setback{}).Fail(now, 10*time.Second, 5*time.Second).Left(now); left != 5*time.Second {
		t.Errorf("the first wait is %s", left)
	}
}
