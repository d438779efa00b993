package ledger

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const retireAfter = 2 * time.Minute

// historyOf is what a replica stores that saw the readings, a second apart, the last of them now.
func historyOf(rules cabundle.Rules, readings ...cabundle.Reading) cabundle.History {
	var history cabundle.History
	for i, reading := range readings {
		now := time.Now().Add(time.Duration(i+1-len(readings)) * time.Second)
		reading.Version = int64(100 + i)
		history = rules.Observe(now, history, reading)
	}
	return history
}

func TestRevision(t *testing.T) {
	grows := func(change func(*rig)) struct {
		change func(*rig)
		want   int
	} {
		return struct {
			change func(*rig)
			want   int
		}{change, 1}
	}
	becomes := func(readings ...cabundle.Reading) func(*rig) {
		return func(r *rig) {
			for _, reading := range readings {
				r.cluster.store(source, reading)
				r.know(source)
			}
		}
	}
	stays := func(change func(*rig)) struct {
		change func(*rig)
		want   int
	} {
		test := grows(change)
		test.want = 0
		return test
	}
	tests := map[string]struct {
		change func(*rig)
		want   int
	}{
		"another CA":                          grows(becomes(holds("two"))),
		"a further CA":                        grows(becomes(holds("one", "two"))),
		"a problem comes":                     grows(becomes(lacks(cabundle.SourceWithoutCA))),
		"a certificate is distrusted":         grows(becomes(distrusting(holds("one"), "one"))),
		"one is distrusted that it never had": stays(becomes(distrusting(holds("one"), "zero"))),
		"one is trusted again":                {becomes(distrusting(holds("one"), "one"), trusting(holds("one"), "one")), 2},
		"others have distrusted one":          grows(func(r *rig) { r.Learn(source, historyOf(r.options.Rules, distrusting(holds("zero"), "zero"))) }),
		"time alone retires one":              {func(r *rig) { becomes(holds("two"))(r); time.Sleep(retireAfter + longest) }, 2},
		"time retires one that others had seen": {func(r *rig) {
			r.Learn(source, historyOf(r.options.Rules, holds("zero"), holds("one")))
			time.Sleep(retireAfter + longest)
		}, 2},
		"others have retired one":            grows(func(r *rig) { r.Learn(source, retired(r.options.Rules)) }),
		"nothing changes":                    stays(func(r *rig) { r.know(source); time.Sleep(5 * interval) }),
		"another version of the same":        stays(becomes(holds("one"), holds("one"))),
		"an outage":                          stays(func(r *rig) { r.cluster.goAway(); time.Sleep(5 * interval) }),
		"an outage that is over":             stays(func(r *rig) { r.cluster.goAway(); r.know(source); r.cluster.comeBack(); r.know(source) }),
		"a cache that is behind":             stays(func(r *rig) { r.cluster.lag(holds("zero")); time.Sleep(5 * interval) }),
		"others have seen a CA before it":    grows(func(r *rig) { r.Learn(source, historyOf(r.options.Rules, holds("zero"), holds("one"))) }),
		"others have seen the same":          stays(func(r *rig) { r.Learn(source, historyOf(r.options.Rules, holds("one"))) }),
		"hints at nothing":                   stays(func(r *rig) { r.Hint(source); time.Sleep(5 * interval) }),
		"another source changes":             stays(func(r *rig) { r.cluster.store(secret(1), holds("two")); r.Follow(secret(1)); r.know(secret(1)) }),
		"it is not named for a while":        stays(func(r *rig) { r.Unfollow(source); time.Sleep(interval); r.Follow(source); time.Sleep(longest) }),
		"a problem comes, changes and goes":  {becomes(lacks(cabundle.SourceWithoutCA), lacks(cabundle.SourceInvalid), holds("one")), 3},
		"a problem gets another explanation": {becomes(lacks(cabundle.SourceInvalid), cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceInvalid, Detail: "another"}}), 1},
		"rotated and rolled back":            {becomes(holds("two"), holds("one")), 1}, // targets hold both
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{RetireAfter: retireAfter}, source)
				before := r.Revision(source)
				test.change(r)
				heard := r.heard(source)
				if grown := r.Revision(source) - before; grown != test.want {
					t.Errorf("it has grown by %d, not %d", grown, test.want)
				}
				if heard < test.want {
					t.Errorf("the listeners were told %d times", heard)
				}
				if r.Latest(source).Revision != r.Revision(source) {
					t.Error("there are two of them")
				}
			})
		})
	}
}

// retired is the history of a source that held "zero", and holds "one" for longer than retireAfter.
func retired(rules cabundle.Rules) cabundle.History {
	history := rules.Observe(time.Now().Add(-2*retireAfter), historyOf(rules, holds("zero")), holds("one"))
	return rules.Observe(time.Now(), history, holds("one"))
}

func TestASourceThatWasNeverReadHasNoRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.Learn(source, historyOf(cabundle.Rules{}, distrusting(holds("zero"), "zero")))
		r.cluster.goAway()
		r.know(source)
		for _, ref := range []cabundle.Reference{source, secret(1)} {
			if known := r.Latest(ref); r.Revision(ref) != 0 || known.Revision != 0 || known.Problem != nil || !known.Bundle.Empty() || !known.Began.IsZero() {
				t.Errorf("%s: %+v", ref, known)
			}
		}
	})
}

func TestLearn(t *testing.T) {
	var rules cabundle.Rules
	tests := map[string]struct {
		learn cabundle.History
		now   cabundle.Reading // what the source is; zero if it holds "one" still
		stale bool
		heard int    // how often the listeners are told, until all is read again
		want  string // the certificates that are known, in their order
		holds string // what the source holds now, as far as is known
	}{
		"nothing":                         {learn: cabundle.History{}, want: "one", holds: "one"},
		"the same":                        {learn: historyOf(rules, holds("one")), want: "one", holds: "one"},
		"a CA from before":                {learn: historyOf(rules, holds("zero"), holds("one")), heard: 1, want: "zero one", holds: "one"},
		"a rotation that was missed":      {learn: historyOf(rules, holds("one"), holds("two")), now: holds("two"), stale: true, heard: 2, want: "one two", holds: "two"},
		"two of them":                     {learn: historyOf(rules, holds("one"), holds("two")), now: holds("three"), stale: true, heard: 2, want: "one two three", holds: "three"},
		"one that was rolled back since":  {learn: historyOf(rules, holds("one"), holds("two")), stale: true, heard: 2, want: "one two", holds: "one"},
		"that the opt-in was withdrawn":   {learn: historyOf(rules, holds("one"), lacks(cabundle.SourceNotAllowed)), now: lacks(cabundle.SourceNotAllowed), stale: true, heard: 2},
		"that it was, and is given again": {learn: historyOf(rules, holds("one"), lacks(cabundle.SourceNotAllowed)), stale: true, heard: 2, want: "one", holds: "one"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, rules, source)
				if test.now.Problem != nil || !test.now.Bundle.Empty() {
					r.cluster.store(source, test.now)
					r.cluster.lag(holds("one"))
				}
				time.Sleep(time.Second)
				r.forget()
				r.cluster.set(func() { r.cluster.latency = time.Microsecond }) // what is learnt is seen before it is read again
				history, stale := r.Learn(source, test.learn)
				if stale != test.stale {
					t.Errorf("stale: %t", stale)
				}
				if diff := cmp.Diff(history.Verdicts(), r.Latest(source).History.Verdicts()); diff != "" {
					t.Error(diff)
				}
				if r.Latest(source).Consistent == test.stale {
					t.Errorf("fit to write a target from: %t", !test.stale)
				}
				time.Sleep(time.Millisecond)
				if !r.Latest(source).Consistent {
					t.Error("once it is read again, it is not fit to write a target from")
				}
				if heard := r.heard(source); heard != test.heard {
					t.Errorf("the listeners were told %d times, not %d", heard, test.heard)
				}
				if reads := len(r.cluster.asked(source)); (reads > 0) != test.stale {
					t.Errorf("%d reads", reads)
				}
				known := r.Latest(source).History
				if got := words(known.Bundle(time.Now())); got != test.want {
					t.Errorf("it has had %q, not %q", got, test.want)
				}
				if got := words(known.Current()); got != test.holds {
					t.Errorf("it holds %q, not %q", got, test.holds)
				}
				if history, stale = r.Learn(source, test.learn); stale || r.heard(source) > 0 {
					t.Errorf("the same again: stale: %t", stale)
				}
				if _, stale = r.Learn(source, history); stale || r.heard(source) > 0 {
					t.Errorf("what was stored thereupon: stale: %t", stale)
				}
			})
		})
	}
}

// TestLearnUnitesWhatNoneKnewAlone: what follows from two histories together.
func TestLearnUnitesWhatNoneKnewAlone(t *testing.T) {
	of := func(h cabundle.History, name string) cabundle.Known { return h.Known[fingerprints(name)[0]] }
	tests := map[string]struct {
		mine  []cabundle.Reading
		learn cabundle.History
		check func(cabundle.History) bool
	}{
		"one that only this one has seen is gone by what others have seen": {
			mine: []cabundle.Reading{holds("one")}, learn: historyOf(cabundle.Rules{}, holds("two")),
			check: func(h cabundle.History) bool { return !of(h, "one").Gone.IsZero() && of(h, "two").Gone.IsZero() },
		},
		"a certificate that the store has forgotten is not forgotten here": {
			mine: []cabundle.Reading{holds("one"), distrusting(holds("one"), "one")},
			learn: func() cabundle.History {
				h := historyOf(cabundle.Rules{}, distrusting(holds("one"), "one"))
				known := of(h, "one")
				known.Certificate = nil
				h.Known[fingerprints("one")[0]] = known
				return h
			}(),
			check: func(h cabundle.History) bool { return of(h, "one").Certificate != nil },
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cabundle.Rules{})
				for _, reading := range test.mine {
					r.cluster.store(source, reading)
					r.know(source)
				}
				history, _ := r.Learn(source, test.learn)
				if !test.check(history) || !test.check(r.Latest(source).History) {
					t.Errorf("%+v", history)
				}
			})
		})
	}
}

// TestASourceThatNobodyFollowsIsNotStale: nobody reads it again, so nobody is to wait for that.
func TestASourceThatNobodyFollowsIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.cluster.store(source, holds("one"))
		r.know(source)
		r.forget()
		time.Sleep(time.Second)
		if _, stale := r.Learn(source, historyOf(cabundle.Rules{}, holds("one"), holds("two"))); stale {
			t.Error("stale")
		}
		time.Sleep(interval)
		if reads := len(r.cluster.asked(source)); reads > 0 {
			t.Errorf("%d reads", reads)
		}
	})
}

func words(b cabundle.Bundle) string {
	all := ""
	for i, name := range subjects(b) {
		if i > 0 {
			all += " "
		}
		all += name
	}
	return all
}

// TestAReadThatBeganBefore: what others have stored since is newer than what such a read finds.
func TestAReadThatBeganBeforeDoesNotBringBackWhatWas(t *testing.T) {
	for sentence, freshness := range map[string]cluster.Freshness{"a consistent one": consistent, "one from the cache": cached} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				r.cluster.latency = 100 * time.Millisecond
				go r.Read(r.ctx, source, freshness, metrics.Resync)
				time.Sleep(50 * time.Millisecond)
				r.cluster.store(source, holds("two"))
				r.Learn(source, historyOf(cabundle.Rules{}, holds("one"), holds("two")))
				var seen []string // what it is known to hold, over time
				for range 500 {
					time.Sleep(time.Millisecond)
					if now := words(r.Latest(source).History.Current()); len(seen) == 0 || seen[len(seen)-1] != now {
						seen = append(seen, now)
					}
				}
				if diff := cmp.Diff([]string{"two"}, seen); diff != "" {
					t.Error(diff)
				}
				if held := subjects(r.Latest(source).Bundle); !cmp.Equal(held, []string{"two"}) {
					t.Errorf("it was read to hold %v", held)
				}
			})
		})
	}
}

// TestTimeDoesNotBringBackWhatWas: a retirement is due while what others have stored asks for another read.
func TestTimeDoesNotBringBackWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := cabundle.Rules{RetireAfter: retireAfter}
		r := started(t, rules, source)
		r.cluster.store(source, holds("two"))
		r.know(source)
		r.cluster.store(source, holds("three"))
		r.cluster.set(func() { r.cluster.behind[source], r.cluster.latency = holds("two"), time.Second })
		time.Sleep(retireAfter - time.Second/2)
		go r.Read(r.ctx, source, cached, metrics.Resync)
		time.Sleep(time.Second / 4)
		r.Learn(source, rules.Observe(time.Now(), r.Latest(source).History, holds("three")))
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			if now := words(r.Latest(source).History.Current()); now != "three" {
				t.Fatalf("it is known to hold %q", now)
			}
		}
	})
}

func TestASourceThatIsStaleIsReadOnceTheAPIServerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		r.cluster.store(source, holds("two"))
		r.cluster.lag(holds("one"))
		r.cluster.goAway()
		time.Sleep(time.Second)
		stored := historyOf(cabundle.Rules{}, holds("one"), holds("two"))
		if _, stale := r.Learn(source, stored); !stale {
			t.Error("not stale")
		}
		time.Sleep(time.Minute)
		if _, stale := r.Learn(source, stored); !stale {
			t.Error("not stale any more, although it was not read")
		}
		r.cluster.comeBack()
		time.Sleep(outageRetry + outageRetry/5)
		if _, stale := r.Learn(source, stored); stale {
			t.Error("stale still")
		}
	})
}

// TestAVerdictThatIsNotWorthStoringIsToldAll: a certificate that soon expires is no reason to store anything, but one to look at targets.
func TestAVerdictThatIsNotWorthStoringIsToldAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		caUntil("brief", time.Now().Add(30*time.Minute))
		before := r.Revision(source)
		history, _ := r.Learn(source, historyOf(cabundle.Rules{}, distrusting(holds("brief"), "brief"), holds("one")))
		if diff := cmp.Diff(fingerprints("brief"), history.Verdicts()); diff != "" {
			t.Error(diff)
		}
		if heard := r.heard(source); r.Revision(source) != before+1 || heard != 1 {
			t.Errorf("the revision has grown by %d, the listeners were told %d times", r.Revision(source)-before, heard)
		}
	})
}

func TestAClusterThatWasRestoredFromABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		r.cluster.version = 1000
		r.cluster.store(source, holds("two"))
		r.know(source)
		old := r.Latest(source).History
		r.cluster.version = 10
		r.cluster.store(source, holds("one"))
		time.Sleep(longest)
		if held := words(r.Latest(source).History.Current()); held != "one" {
			t.Errorf("it is known to hold %q", held)
		}
		// What is stored was restored, too; or was not.
		for _, stored := range []cabundle.History{{}, old} {
			if _, stale := r.Learn(source, stored); stale {
				t.Error("stale")
			}
			time.Sleep(time.Second)
			if held := words(r.Latest(source).History.Current()); held != "one" {
				t.Errorf("after what is stored: it is known to hold %q", held)
			}
		}
		r.cluster.store(source, holds("three"))
		time.Sleep(longest)
		if held := words(r.Latest(source).History.Current()); held != "three" {
			t.Errorf("it is known to hold %q", held)
		}
	})
}

// TestWhatIsKnownIsBounded: whoever may write a Secret may have it hold ever new CAs, which expire in years.
func TestWhatIsKnownIsBounded(t *testing.T) {
	tests := map[string]func(*rig, cabundle.Reading){
		"what is read":   func(r *rig, reading cabundle.Reading) { r.cluster.store(source, reading); r.know(source) },
		"what is learnt": func(r *rig, reading cabundle.Reading) { r.Learn(source, historyOf(cabundle.Rules{}, reading)) },
	}
	for sentence, meet := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				for n := range 120 {
					meet(r, holds(strings.Repeat("a long name ", 100)+fmt.Sprint(n)))
				}
				size := 0
				for _, known := range r.Latest(source).History.Known {
					size += len(known.Certificate.Raw)
				}
				if size > 2*cabundle.MaxSourceBytes {
					t.Errorf("%d bytes are known", size)
				}
			})
		})
	}
}

func TestWeigh(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		rules    cabundle.Rules
		known    []cabundle.Reading
		reading  cabundle.Reading
		existing cabundle.Bundle
		want     string // what the target holds then
		problem  cabundle.Reason
	}{
		"an unknown source":                         {reading: holds("one"), want: "one"},
		"the field is empty: all that it has had":   {known: []cabundle.Reading{holds("one")}, reading: holds("two"), want: "one two"},
		"the field holds something":                 {known: []cabundle.Reading{holds("one")}, reading: holds("two"), existing: bundle("zero"), want: "zero one two"},
		"with Replace the source alone":             {rules: cabundle.Rules{Replace: true}, known: []cabundle.Reading{holds("one")}, reading: holds("two"), existing: bundle("zero"), want: "two"},
		"distrusted in this very reading":           {known: []cabundle.Reading{holds("one")}, reading: distrusting(holds("one", "two"), "one"), existing: bundle("one"), want: "two"},
		"distrusted before":                         {known: []cabundle.Reading{distrusting(holds("one"), "one")}, reading: holds("one", "two"), want: "two"},
		"trusted again in this very reading":        {known: []cabundle.Reading{distrusting(holds("one"), "one")}, reading: trusting(holds("one"), "one"), want: "one"},
		"all is distrusted":                         {known: []cabundle.Reading{holds("one")}, reading: distrusting(holds("one"), "one"), problem: cabundle.SourceDistrusted},
		"the administrator distrusts, nobody knows": {rules: cabundle.Rules{Distrusted: fingerprints("one")}, reading: holds("one", "two"), existing: bundle("one"), want: "two"},
		"an outage": {known: []cabundle.Reading{holds("one")}, reading: outageOf(false), problem: cabundle.SourceUnavailable},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, test.rules)
				for _, reading := range test.known {
					r.cluster.store(source, reading)
					r.know(source)
				}
				before := r.Latest(source)
				accounts := len(r.accounts)
				reading, combine := r.Weigh(source, nil, test.reading)
				if got := reason(reading); got != test.problem {
					t.Errorf("the problem is %q", got)
				}
				if test.problem == "" {
					if got := words(combine(now, test.existing, reading.Bundle)); got != test.want {
						t.Errorf("the target holds %q, not %q", got, test.want)
					}
				}
				if diff := cmp.Diff(view(before), view(r.Latest(source))); diff != "" || len(r.accounts) != accounts {
					t.Errorf("it was noted: %s", diff)
				}
			})
		})
	}
}

func reason(r cabundle.Reading) cabundle.Reason {
	if r.Problem == nil {
		return ""
	}
	return r.Problem.Reason
}

func TestExpiries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(time.Hour)
		caUntil("expires soon", soon)
		caUntil("has expired", time.Now().Add(-time.Hour))
		r := started(t, cabundle.Rules{}, secrets(4)...)
		r.cluster.store(secret(4), holds("one"))
		r.know(secret(4)) // nobody follows it
		r.cluster.store(secret(0), holds("expires soon", "one"))
		r.cluster.store(secret(1), holds("has expired", "one"))
		r.cluster.store(secret(2), holds("has expired"))
		r.cluster.store(secret(3), lacks(cabundle.SourceNotAllowed))
		for _, ref := range secrets(4) {
			r.know(ref)
		}
		want := map[cabundle.Reference]time.Time{secret(0): soon, secret(1): farOff}
		if diff := cmp.Diff(want, r.Expiries()); diff != "" {
			t.Error(diff)
		}
	})
}
