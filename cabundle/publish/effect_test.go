package publish

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/caject/caject/cabundle"
)

func TestEffect(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	type state struct {
		Told   int
		Served bool
	}
	for sentence, test := range map[string]struct {
		misses []time.Duration // after start
		later  time.Duration   // after the last of them
		want   state
	}{
		"nothing was missed":                           {nil, 0, state{}},
		"many at once, as after an installation":       {[]time.Duration{0, 1, 2, 3, 4}, 0, state{}},
		"two, far apart":                               {[]time.Duration{0, time.Hour}, 0, state{}},
		"three, but not for long":                      {[]time.Duration{0, 10 * time.Second, 20 * time.Second}, 0, state{}},
		"three for long enough":                        {[]time.Duration{0, 10 * time.Second, 30 * time.Second}, 0, state{1, true}},
		"it goes on, and is told once":                 {[]time.Duration{0, 10 * time.Second, 30 * time.Second, time.Minute, time.Hour}, 0, state{1, true}},
		"nothing was to be filled for nearly an hour":  {[]time.Duration{0, 10 * time.Second, 30 * time.Second}, time.Hour - 1, state{1, true}},
		"nothing was to be filled for an hour":         {[]time.Duration{0, 10 * time.Second, 30 * time.Second}, time.Hour, state{1, false}},
		"it comes to light again after a silent while": {[]time.Duration{0, 10 * time.Second, 30 * time.Second, 5 * time.Hour}, time.Minute, state{1, true}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var e effect
			var got state
			now := start
			for _, at := range test.misses {
				var tell bool
				now = start.Add(at)
				if e, tell = e.miss(now); tell {
					got.Told++
				}
			}
			got.Served = e.served(now.Add(test.later))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPoliciesThatFillNothingAreServedUntilOneFills(t *testing.T) {
	r, _, _, clk := newRig(t, cabundle.Rules{})
	served := func(sentence string, want int) {
		t.Helper()
		text := "# HELP caject_admission_policies_ineffective 1 while admission policies do not fill targets of that kind, as far as this replica has found out within the last hour, else 0.\n" +
			"# TYPE caject_admission_policies_ineffective gauge\n"
		for _, each := range cabundle.Kinds() {
			value := 0
			if each == kind {
				value = want
			}
			text += fmt.Sprintf("caject_admission_policies_ineffective{kind=%q} %d\n", each, value)
		}
		if err := testutil.CollectAndCompare(r, strings.NewReader(text)); err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	served("at first", 0)
	for range ineffectiveMisses {
		r.missed(t.Context(), source, kind)
		clk.Step(ineffectiveAfter)
	}
	served("after the misses", 1)
	r.hit(t.Context(), cabundle.APIService)
	served("another kind is filled", 1)
	r.hit(t.Context(), kind)
	served("one is filled", 0)
}
