package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const cached, consistent = cluster.Cached, cluster.Consistent

// longest is how long a source that is followed goes unread at most.
const longest = interval + interval/5

func TestATickCostsOneCachedReadOrFindsWhatIsNew(t *testing.T) {
	tests := map[string]struct {
		change cabundle.Reading // zero if nothing changes
		want   []cluster.Freshness
		grown  int
	}{
		"nothing new: one read from the cache":                        {cabundle.Reading{}, []cluster.Freshness{cached}, 0},
		"another version of the same: one read from the cache":        {holds("one"), []cluster.Freshness{cached}, 0},
		"another CA: one from the cache and one from etcd":            {holds("two"), []cluster.Freshness{cached, consistent}, 1},
		"a problem that can last: one from the cache, one from etcd":  {lacks(cabundle.SourceNotAllowed), []cluster.Freshness{cached, consistent}, 1},
		"a distrust annotation: one from the cache and one from etcd": {distrusting(holds("one"), "one"), []cluster.Freshness{cached, consistent}, 1},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				if test.change.Problem != nil || !test.change.Bundle.Empty() {
					r.cluster.store(source, test.change)
				}
				before := r.Revision(source)
				var reads []read
				for len(reads) == 0 { // until the first tick
					time.Sleep(10 * time.Millisecond)
					reads = r.cluster.asked(source)
				}
				if diff := cmp.Diff(test.want, freshnesses(reads)); diff != "" {
					t.Error(diff)
				}
				if heard, grown := r.heard(source), r.Revision(source)-before; grown != test.grown || heard != test.grown {
					t.Errorf("the revision has grown by %d, the listeners were told %d times", grown, heard)
				}
				if via := r.Latest(source).Via; via != metrics.Resync {
					t.Errorf("found by %s", via)
				}
			})
		})
	}
}

func TestEachSourceIsReadOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refs := secrets(100)
		r := started(t, cabundle.Rules{}, refs...)
		const intervals = 20
		time.Sleep(intervals * interval)
		for _, ref := range refs {
			reads := r.cluster.asked(ref)
			if n := len(reads); n < intervals*5/6 || n > intervals+1 {
				t.Errorf("%s was read %d times in %d intervals", ref, n, intervals)
			}
			for i := 1; i < len(reads); i++ {
				if pause := reads[i].at.Sub(reads[i-1].at); pause < interval || pause > longest {
					t.Errorf("%s between two reads", pause)
				}
			}
		}
	})
}

func TestReadsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sources, parts = 100, 10
		r := newRig(t, cabundle.Rules{}).start()
		for _, ref := range secrets(sources) {
			r.cluster.store(ref, holds("one"))
			r.Follow(ref)
		}
		began := time.Now()
		time.Sleep(interval)
		synctest.Wait()
		var in [parts]int
		seen := map[cabundle.Reference]int{}
		for _, read := range r.cluster.asked(cabundle.Reference{}) {
			in[min(parts-1, int(read.at.Sub(began)*parts/interval))]++
			seen[read.ref]++
		}
		for part, reads := range in {
			if reads > sources*3/10 { // at random, more are one case in ten million
				t.Errorf("%d reads in part %d of the interval: %v", reads, part, in)
			}
		}
		if len(seen) != sources {
			t.Errorf("%d sources were read in an interval", len(seen))
		}
	})
}

// TestASourceThatCannotBeUsedIsTriedAgain looks at the pauses between the reads of a source that gives nothing, beside one that is good.
func TestASourceThatCannotBeUsedIsTriedAgain(t *testing.T) {
	tests := map[string]struct {
		reading cabundle.Reading
		outage  bool
		longest time.Duration
	}{
		"it does not exist":                 {reading: lacks(cabundle.SourceNotFound), longest: interval},
		"it does not allow it":              {reading: lacks(cabundle.SourceNotAllowed), longest: interval},
		"the API server answers an error":   {reading: outageOf(true), outage: true, longest: interval},
		"nobody answers for the API server": {reading: outageOf(false), outage: true, longest: outageRetry},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := secret(1)
				r := started(t, cabundle.Rules{}, good)
				if test.outage {
					r.cluster.set(func() { r.cluster.fails[source] = test.reading })
				} else {
					r.cluster.store(source, test.reading)
				}
				r.Follow(source)
				const span = 20 * interval
				time.Sleep(span)
				reads := r.cluster.asked(source)
				growing := firstRetry
				for i := 1; i < len(reads); i++ {
					pause, want := reads[i].at.Sub(reads[i-1].at), min(growing, test.longest)
					if pause < want || pause > want+want/5 {
						t.Fatalf("pause %d is %s, not %s", i, pause, want)
					}
					growing = min(2*growing, interval)
				}
				if least := int((span - 4*interval) / (test.longest + test.longest/5)); len(reads) < least {
					t.Errorf("%d reads, not %d", len(reads), least)
				}
				if n := len(r.cluster.asked(good)); n > int(span/interval)+1 {
					t.Errorf("the other source was read %d times", n)
				}
				// And once it can be used, it is as if nothing had been.
				r.cluster.set(func() { delete(r.cluster.fails, source) })
				r.cluster.store(source, holds("one"))
				r.changesWithin(source, r.Revision(source), test.longest+test.longest/5+time.Second)
				r.forget()
				time.Sleep(5 * interval)
				if n := len(r.cluster.asked(source)); n > 6 {
					t.Errorf("%d reads of a good source in 5 intervals", n)
				}
			})
		})
	}
}

// TestASourceThatSomebodyElseFindsMissingIsTriedAgain: its first tick may be an interval away.
func TestASourceThatSomebodyElseFindsMissingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refs := secrets(20)
		r := newRig(t, cabundle.Rules{}).start()
		for _, ref := range refs {
			r.Follow(ref)
			r.know(ref)
		}
		r.forget()
		time.Sleep(4 * firstRetry)
		for _, ref := range refs {
			if reads := len(r.cluster.asked(ref)); reads < 2 {
				t.Errorf("%s: %d reads", ref, reads)
			}
		}
	})
}

// TestWhoeverAsksForASourceThatCannotBeUsedItIsNotTriedMoreRarely: they do not count as tries.
func TestWhoeverAsksForASourceThatCannotBeUsedItIsNotTriedMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.Follow(source)
		for range 50 {
			r.know(source)
		}
		r.forget()
		time.Sleep(4 * firstRetry)
		if reads := len(r.cluster.asked(source)); reads < 2 {
			t.Errorf("%d reads", reads)
		}
	})
}

func TestAnOutageThatIsOverDoesNotMakeTheNextOneLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		for range 3 {
			r.cluster.set(func() { r.cluster.fails[source] = outageOf(true) })
			time.Sleep(4 * interval)
			r.cluster.set(func() { clear(r.cluster.fails) })
			time.Sleep(4 * interval)
		}
		r.forget()
		r.cluster.set(func() { r.cluster.fails[source] = outageOf(true) })
		time.Sleep(longest)
		reads := r.cluster.asked(source)
		if len(reads) < 2 {
			t.Fatalf("%d reads in an interval", len(reads))
		}
		if pause := reads[1].at.Sub(reads[0].at); pause > 2*firstRetry {
			t.Errorf("the second read comes %s after the first one", pause)
		}
	})
}
