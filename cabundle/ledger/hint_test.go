package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// since returns how long after began each read was.
func since(began time.Time, reads []read) []time.Duration {
	var all []time.Duration
	for _, r := range reads {
		all = append(all, r.at.Sub(began))
	}
	return all
}

func TestHintAtASourceThatNobodyFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former := secret(1)
		r := started(t, cabundle.Rules{}, source, former)
		r.Unfollow(former)
		unknown := secret(2)
		for _, ref := range []cabundle.Reference{unknown, former} {
			if allocations := testing.AllocsPerRun(100, func() { r.Hint(ref) }); allocations != 0 {
				t.Errorf("%v allocations", allocations)
			}
			time.Sleep(2 * interval)
			if reads := r.cluster.asked(ref); len(reads) > 0 {
				t.Errorf("%d reads", len(reads))
			}
		}
		if _, ok := r.accounts[unknown]; ok {
			t.Error("it has an account")
		}
		if r.accounts[former].hint.active() {
			t.Error("a hint at the former one is followed")
		}
	})
}

func TestAHintIsFollowedUntilTheSourceHasChanged(t *testing.T) {
	tests := map[string]struct {
		after time.Duration // the hint the source changes; 0 if it does not
		reads int
		found time.Duration
	}{
		"it changes right away":     {time.Millisecond, 1, 5 * time.Millisecond},
		"it changes a moment later": {70 * time.Millisecond, 3, 80 * time.Millisecond},
		"it changes a second later": {time.Second - time.Millisecond, 5, time.Second},
		"it changes seconds later":  {2 * time.Second, 6, 3 * time.Second},
		"it does not change, or the API server's request comes to nothing": {0, 6, 0},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				before, began := r.Revision(source), time.Now()
				r.Hint(source)
				if test.after > 0 {
					time.AfterFunc(test.after, func() { r.cluster.store(source, holds("two")) })
					if found := r.changesWithin(source, before, 4*time.Second); found > test.found+time.Millisecond {
						t.Errorf("found after %s", found)
					}
					if via, heard := r.Latest(source).Via, r.heard(source); via != metrics.Hint || heard != 1 {
						t.Errorf("found by %s, told %d times", via, heard)
					}
				}
				time.Sleep(5*time.Second - time.Since(began))
				want := slices.Clone(hintDelays[:test.reads])
				if test.after > 0 {
					want = append(want, want[test.reads-1]+lookBack)
				}
				reads := slices.DeleteFunc(r.cluster.asked(source), func(r read) bool { return r.freshness == cached }) // a tick
				if diff := cmp.Diff(want, since(began, reads)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAThousandHintsAreFollowedLikeOneAndOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		before := r.Revision(source)
		for range 1000 {
			r.Hint(source)
		}
		r.cluster.store(source, holds("two"))
		r.changesWithin(source, before, 10*time.Millisecond)
		time.Sleep(10 * time.Second)
		if reads, want := len(r.cluster.asked(source)), 1+len(hintDelays); reads > want+1 { // and perhaps a tick
			t.Errorf("%d reads, not %d", reads, want)
		}
	})
}

func TestTwoRotationsSoonAfterOneAnotherAreBothFound(t *testing.T) {
	for _, apart := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				for _, name := range []string{"two", "three"} {
					r.Hint(source)
					time.AfterFunc(4*time.Millisecond, func() { r.cluster.store(source, holds(name)) }) // the hint comes first
					time.Sleep(apart)
				}
				time.Sleep(100 * time.Millisecond)
				if held := subjects(r.Latest(source).Bundle); !cmp.Equal(held, []string{"three"}) {
					t.Errorf("100 ms later it is known to hold %v", held)
				}
			})
		})
	}
}

// TestHintsThatGoToTheOtherReplica: the Service takes the hints of a source now to one replica, now to the other. One that reads soon after a
// hint may find the change before it, which it has heard nothing of.
func TestHintsThatGoToTheOtherReplica(t *testing.T) {
	for _, apart := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				for n := range 12 {
					if n%2 == 1 {
						r.Hint(source)
					}
					time.AfterFunc(7*time.Millisecond, func() { r.cluster.store(source, holds(fmt.Sprint(n))) })
					time.Sleep(apart)
				}
				time.Sleep(time.Second + 10*time.Millisecond)
				if held := words(r.Latest(source).Bundle); held != "11" {
					t.Errorf("a second after the last change it is known to hold %q", held)
				}
			})
		})
	}
}

// TestAHintBeforeTheFirstReading: a Secret is often written while its first target is created.
func TestAHintBeforeTheFirstReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.cluster.store(source, holds("one"))
		r.Follow(source)
		r.Hint(source)
		time.AfterFunc(50*time.Millisecond, func() { r.cluster.store(source, holds("two")) })
		time.Sleep(100 * time.Millisecond)
		if held := subjects(r.Latest(source).Bundle); !cmp.Equal(held, []string{"two"}) {
			t.Errorf("100 ms later it is known to hold %v", held)
		}
	})
}

// TestAHintAtASourceThatDoesNotExist: the long waits for such a source do not count where nobody answers.
func TestAHintAtASourceThatDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.Follow(source)
		time.Sleep(10 * interval)
		before := r.Revision(source)
		r.Hint(source)
		r.cluster.goAway()
		time.Sleep(10 * time.Second)
		r.cluster.store(source, holds("one"))
		r.cluster.comeBack()
		r.changesWithin(source, before, 6*time.Second)
	})
}

func TestAHintThatTheAPIServerDoesNotAnswerForIsMadeUpFor(t *testing.T) {
	for _, away := range []time.Duration{10 * time.Millisecond, time.Second, 10 * time.Second, 10 * time.Minute} {
		t.Run(fmt.Sprintf("it is away for %s", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				before := r.Revision(source)
				r.Hint(source)
				r.cluster.goAway()
				time.Sleep(away)
				r.cluster.store(source, holds("two"))
				r.cluster.lag(holds("one")) // of the API server that is back
				r.cluster.comeBack()
				r.changesWithin(source, before, 6*time.Second)
			})
		})
	}
}

func TestASourceThatChangesEverFasterIsFollowedAtGrowingDelays(t *testing.T) {
	tests := map[string]struct {
		cas   int // how many it holds in turn
		hints bool
		learn bool
	}{
		"ever new CAs, with hints":                {cas: 1200, hints: true},
		"a few in turn, with hints":               {cas: 3, hints: true},
		"others store what they have read":        {cas: 20, learn: true},
		"with hints, and others store what it is": {cas: 20, hints: true, learn: true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				r.cluster.set(func() { r.cluster.latency = time.Millisecond })
				var stored cabundle.History
				for n := range 20 * 60 {
					if test.hints {
						r.Hint(source)
					}
					time.Sleep(time.Millisecond)
					now := holds(fmt.Sprint(n % test.cas))
					r.cluster.store(source, now)
					if test.learn {
						stored, _ = stored.Observe(time.Now(), now).Trim(time.Now(), cabundle.MaxSourceBytes)
						r.Learn(source, stored)
					}
					time.Sleep(49 * time.Millisecond)
				}
				r.cluster.store(source, holds("last"))
				reads, turns := len(r.cluster.asked(source)), r.accounts[source].turns
				t.Logf("%d of 1,200 changes were followed, by %d reads", turns, reads)
				if turns < 10 || turns > 60 || reads > 180 {
					t.Errorf("%d of 1,200 changes were followed, by %d reads", turns, reads)
				}
				for words(r.Latest(source).Bundle) != "last" {
					if time.Sleep(time.Second); time.Since(r.Latest(source).Began) > 2*longest {
						t.Fatal("the last change was not found")
					}
				}
				// And after a quiet time it is as fast as ever.
				time.Sleep(2 * interval)
				before := r.Revision(source)
				r.Hint(source)
				r.cluster.store(source, holds("four"))
				r.changesWithin(source, before, 10*time.Millisecond)
			})
		})
	}
}

// TestHintsThatNeverCease come to nothing: somebody tries to write what is always refused.
func TestHintsThatNeverCease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		hints := func(span time.Duration) {
			for range span / (3 * time.Millisecond) {
				r.Hint(source)
				time.Sleep(3 * time.Millisecond)
			}
		}
		hints(time.Minute)
		if reads := len(r.cluster.asked(source)); reads > 130 {
			t.Errorf("%d reads in a minute", reads)
		}
		r.cluster.store(source, holds("two"))
		hints(2 * time.Second)
		if held := words(r.Latest(source).Bundle); held != "two" {
			t.Errorf("2 s after a change it is known to hold %q", held)
		}
	})
}

func TestWhatIsFoundAfterAHintIsFoundByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		r.Hint(source)
		r.cluster.store(source, holds("two"))
		r.know(source) // somebody else is faster
		if known := r.Latest(source); words(known.Bundle) != "two" || known.Via != metrics.Hint {
			t.Errorf("%q, found by %s", words(known.Bundle), known.Via)
		}
		time.Sleep(time.Minute)
		r.cluster.store(source, holds("three"))
		r.know(source)
		if via := r.Latest(source).Via; via != metrics.Resync {
			t.Errorf("the next change was found by %s", via)
		}
	})
}

// TestASourceThatChangesEveryFewSecondsIsNotHeldUp has one change every five seconds, and at random as often: then some come one soon after the
// other.
func TestASourceThatChangesEveryFewSecondsIsNotHeldUp(t *testing.T) {
	for sentence, pause := range map[string]func() time.Duration{
		"regularly": func() time.Duration { return 5 * time.Second },
		"at random": func() time.Duration { return time.Duration(rand.ExpFloat64() * float64(5*time.Second)) },
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				for n := range 10 * 60 / 5 {
					before, began, next := r.Revision(source), time.Now(), pause()
					r.Hint(source)
					time.Sleep(time.Millisecond)
					r.cluster.store(source, holds(fmt.Sprint(n)))
					r.changesWithin(source, before, longestDelay+time.Second)
					time.Sleep(next - time.Since(began))
				}
			})
		})
	}
}

// TestReadsAfterADelay: a source that changes too fast is not made up for by many reads at once.
func TestReadsAfterADelay(t *testing.T) {
	const second = time.Second
	now := time.Unix(1e9, 0)
	h := hint{notBefore: now.Add(10 * second)}
	h.begin(now, 1)
	var got []time.Duration
	for h.active() {
		got = append(got, h.due.Sub(now))
		h.step(h.due, 1)
	}
	var want []time.Duration
	for _, delay := range hintDelays {
		want = append(want, 10*second-hintDelays[0]+delay)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASourceThatHasChangedIsReadAtOnce(t *testing.T) {
	const latency = 10 * time.Millisecond
	tests := map[string]struct {
		before func(*rig)
		reads  int // under way, or before that of the change
	}{
		"it rests":             {before: func(*rig) {}},
		"it could not be used": {before: func(r *rig) { r.cluster.set(func() { clear(r.cluster.stored) }); time.Sleep(10 * interval) }},
		"it is hinted at":      {before: func(r *rig) { r.Hint(source); time.Sleep(500 * time.Millisecond) }},
		"it did not answer": {before: func(r *rig) {
			r.cluster.goAway()
			time.Sleep(time.Minute)
			r.cluster.comeBack()
		}},
		"it is being read":           {before: func(r *rig) { go r.know(source); time.Sleep(latency / 2) }, reads: 1},
		"a tick is reading it":       {before: func(r *rig) { r.queue.Add(source); time.Sleep(latency / 2) }, reads: 1},
		"it has just changed before": {before: func(r *rig) { r.Changed(source); time.Sleep(latency / 2) }, reads: 1},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				r.cluster.latency = latency
				test.before(r)
				r.cluster.store(source, holds("two"))
				r.cluster.lag(holds("one"))
				r.Changed(source)
				time.Sleep(time.Duration(test.reads+1)*latency + time.Millisecond)
				if held := subjects(r.Latest(source).Bundle); !cmp.Equal(held, []string{"two"}) {
					t.Errorf("it is known to hold %v", held)
				}
			})
		})
	}
}

func TestASourceThatHasChangedIsReadFromEtcdOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		r.Changed(source)
		time.Sleep(longest)
		if reads := freshnesses(r.cluster.asked(source)); !cmp.Equal(reads[:2], []cluster.Freshness{consistent, cached}) {
			t.Errorf("%v", reads)
		}
	})
}

func TestAChangeOfASourceThatNobodyFollowsIsNoMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.Changed(source)
		time.Sleep(interval)
		if reads := r.cluster.asked(source); len(reads) > 0 {
			t.Errorf("%d reads", len(reads))
		}
	})
}
