package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/google/go-cmp/cmp"
)

func TestAfterAStandstillAllSourcesAreReadSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refs := secrets(100)
		r := started(t, cabundle.Rules{}, refs...)
		time.Sleep(10 * interval)
		r.forget()
		r.jump.Add(int64(3 * time.Second))
		time.Sleep(heartbeat + hintPatience + 10*time.Millisecond)
		all := 0
		for _, ref := range refs {
			reads := len(r.cluster.asked(ref))
			if all += reads; reads == 0 || reads > 2 { // twice, if its tick was due in the standstill
				t.Errorf("%s was read %d times", ref, reads)
			}
		}
		if all > 130 {
			t.Errorf("%d reads of 100 sources", all)
		}
		// And that was all.
		time.Sleep(interval / 2)
		if later := len(r.cluster.asked(cabundle.Reference{})); later > 10 {
			t.Errorf("%d reads in the half interval after", later)
		}
	})
}

// TestAStandstillThatIsTooShortToMissAHint is none: the API server tries a hint for a second.
func TestAStandstillThatIsTooShortToMissAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, secrets(100)...)
		time.Sleep(interval)
		r.forget()
		r.jump.Add(int64(900 * time.Millisecond))
		time.Sleep(2 * time.Second)
		if reads := len(r.cluster.asked(cabundle.Reference{})); reads > 30 {
			t.Errorf("%d reads of 100 sources in two seconds", reads)
		}
	})
}

func TestABusyMachineReadsAllSourcesEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sources, seconds = 20, 300
		r := started(t, cabundle.Rules{}, secrets(sources)...)
		for range seconds / 2 { // each second is followed by one in which nothing runs
			time.Sleep(time.Second)
			r.jump.Add(int64(1100 * time.Millisecond))
		}
		reads := len(r.cluster.asked(cabundle.Reference{}))
		// After 5, 10, 20 seconds, and then once per interval, beside the ticks.
		if most := sources * (4 + 2*seconds/30); reads > most {
			t.Errorf("%d reads of %d sources in %d seconds, not %d", reads, sources, seconds, most)
		}
	})
}

// TestAClockThatGoesBackDoesNoHarm: no more is read than before, and all of it is read again as soon as the clock has caught up.
func TestAClockThatGoesBackDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sources = 20
		refs := secrets(sources)
		r := started(t, cabundle.Rules{}, refs...)
		r.jump.Add(int64(time.Hour)) // so that it has made up for a standstill
		time.Sleep(10 * interval)
		r.forget()
		r.jump.Add(-int64(time.Minute))
		time.Sleep(time.Minute)
		r.cluster.store(source, holds("two"))
		time.Sleep(longest)
		for _, ref := range refs {
			if reads := len(r.cluster.asked(ref)); reads == 0 || reads > 5 {
				t.Errorf("%s was read %d times", ref, reads)
			}
		}
		if held := words(r.Latest(source).Bundle); held != "two" {
			t.Errorf("it is known to hold %q", held)
		}
		before := r.Revision(source)
		r.Hint(source)
		r.cluster.store(source, holds("three"))
		r.changesWithin(source, before, 10*time.Millisecond)
		if err := r.Alive(nil); err != nil {
			t.Error(err)
		}
	})
}

func TestStandingAgain(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		at   []int // seconds at which a standstill is noticed
		want []bool
	}{
		"the first one":                       {[]int{0}, []bool{true}},
		"the next one soon after":             {[]int{0, 4}, []bool{true, false}},
		"the next one later":                  {[]int{0, 5, 14, 15, 34, 35, 64, 65, 94, 95}, []bool{true, true, false, true, false, true, false, true, false, true}},
		"after a quiet time it begins afresh": {[]int{0, 5, 15, 76, 81, 90}, []bool{true, true, true, true, true, false}},
		"the clock has gone back":             {[]int{1000, 0, 5}, []bool{true, true, false}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			var s standing
			var got []bool
			for _, at := range test.at {
				got = append(got, s.again(start.Add(time.Duration(at)*time.Second), interval))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
