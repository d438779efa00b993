package ledger

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

func TestAThousandAskersAtOnceCostTwoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.cluster.latency = 100 * time.Millisecond
		r.cluster.store(source, holds("one"))
		var asking sync.WaitGroup
		asking.Go(func() { r.know(source) })
		time.Sleep(50 * time.Millisecond)
		r.cluster.store(source, holds("two"))
		asked := time.Now()
		for range 1000 {
			asking.Go(func() {
				got := r.Read(t.Context(), source, cluster.Consistent, metrics.Resync)
				if got.Began.Before(asked) || !cmp.Equal(subjects(got.Bundle), []string{"two"}) {
					t.Errorf("it holds %v by a read that began %s after the question", subjects(got.Bundle), got.Began.Sub(asked))
				}
			})
		}
		asking.Wait()
		if reads := len(r.cluster.asked(source)); reads != 2 {
			t.Errorf("%d reads", reads)
		}
	})
}

// TestReadsAreBounded has many ask for many sources at any time. The fake sees to it that reads of one source do not overlap.
func TestReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.cluster.latency = 20 * time.Millisecond
		refs := secrets(100)
		for _, ref := range refs {
			r.cluster.store(ref, holds("one"))
		}
		var asking sync.WaitGroup
		for range 2000 {
			ref, wait := refs[rand.IntN(len(refs))], time.Duration(rand.IntN(1000))*time.Millisecond
			freshness := cluster.Freshness(rand.IntN(2))
			asking.Go(func() {
				time.Sleep(wait)
				asked := time.Now()
				got := r.Read(t.Context(), ref, freshness, metrics.Resync)
				if freshness == cluster.Consistent && (got.Began.Before(asked) || !got.Consistent) {
					t.Errorf("a read that began %s before the question, consistent: %t", asked.Sub(got.Began), got.Consistent)
				}
			})
		}
		asking.Wait()
		if r.cluster.most != maxReads {
			t.Errorf("%d reads side by side, not %d", r.cluster.most, maxReads)
		}
	})
}

func TestFreshness(t *testing.T) {
	const cached, consistent = cluster.Cached, cluster.Consistent
	tests := map[string]struct {
		known cabundle.Reading // zero if the source was not read yet
		cache cabundle.Reading // zero if it is up to date
		ask   []cluster.Freshness
		want  []cluster.Freshness
	}{
		"a source that was not read yet is taken from the cache, if that is asked for": {
			ask: []cluster.Freshness{cached}, want: []cluster.Freshness{cached},
		},
		"a cache that has nothing new is enough": {
			known: holds("one"), ask: []cluster.Freshness{cached}, want: []cluster.Freshness{cached},
		},
		"what is new in the cache is read from etcd": {
			known: holds("former"), ask: []cluster.Freshness{cached}, want: []cluster.Freshness{cached, consistent},
		},
		"what is old in the cache is read from etcd": {
			known: holds("one"), cache: holds("former"), ask: []cluster.Freshness{cached}, want: []cluster.Freshness{cached, consistent},
		},
		"a consistent read is one": {
			known: holds("former"), ask: []cluster.Freshness{consistent}, want: []cluster.Freshness{consistent},
		},
		"one who asks for a consistent read gets it for all who ask at the same time": {
			known: holds("former"), ask: []cluster.Freshness{cached, consistent, cached}, want: []cluster.Freshness{consistent},
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cabundle.Rules{})
				if !test.known.Bundle.Empty() {
					r.cluster.store(source, test.known)
					r.know(source)
				}
				r.cluster.store(source, holds("one"))
				if !test.cache.Bundle.Empty() {
					r.cluster.lag(test.cache)
				}
				r.forget()
				hold(t, r, len(test.ask), func(i int) {
					got := r.Read(t.Context(), source, test.ask[i], metrics.Resync)
					if !cmp.Equal(subjects(got.Bundle), []string{"one"}) {
						t.Errorf("%v", subjects(got.Bundle))
					}
					if want := slices.Contains(test.want, consistent) || !test.known.Bundle.Empty(); got.Consistent != want {
						t.Errorf("consistent: %t", got.Consistent)
					}
				})
				if diff := cmp.Diff(test.want, freshnesses(r.cluster.asked(source))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// hold has n ask while all slots are taken, so that they ask at the same time.
func hold(t *testing.T, r *rig, n int, ask func(i int)) {
	t.Helper()
	if err := r.slots.Acquire(t.Context(), maxReads); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for i := range n {
		asking.Go(func() { ask(i) })
	}
	synctest.Wait()
	r.slots.Release(maxReads)
	asking.Wait()
}

func TestASourceThatDoesNotAnswerIsKnownAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.cluster.store(source, holds("one"))
		before := r.know(source)
		r.cluster.goAway()
		got := r.know(source)
		if got.Problem == nil || !got.Problem.Outage() {
			t.Errorf("the problem is %v", got.Problem)
		}
		got.Problem = nil
		for name, known := range map[string]Reading{"returned": got, "known": r.Latest(source)} {
			if diff := cmp.Diff(view(before), view(known)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

// view returns what can be compared of a Reading.
func view(r Reading) any {
	return []any{subjects(r.Bundle), r.Problem, r.Revision, r.Via, r.Consistent, r.Began}
}

func TestWhoCannotWaitLeavesTheReadToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.cluster.store(source, holds("former"))
		r.know(source)
		r.forget()
		r.cluster.latency = time.Second
		r.cluster.store(source, holds("one"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var other sync.WaitGroup
		hold(t, r, 1, func(int) {
			other.Go(func() {
				if got := r.know(source); !cmp.Equal(subjects(got.Bundle), []string{"one"}) {
					t.Errorf("the other one got %v, %v", subjects(got.Bundle), got.Problem)
				}
			})
			began := time.Now()
			got := r.Read(ctx, source, cluster.Consistent, metrics.Resync)
			if took := time.Since(began); took != 100*time.Millisecond || got.Problem == nil || !got.Problem.Outage() {
				t.Errorf("after %s: %v", took, got.Problem)
			}
			if held := words(got.Bundle); held != "former" || got.Revision != 1 {
				t.Errorf("known before: %q, revision %d", held, got.Revision)
			}
		})
		other.Wait()
		if reads := len(r.cluster.asked(source)); reads != 1 || r.Revision(source) != 2 {
			t.Errorf("%d reads, revision %d", reads, r.Revision(source))
		}
	})
}
