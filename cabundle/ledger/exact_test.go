package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caject/caject/cabundle"
)

// TestRevisionWithoutMerging: then a target holds what its source holds, and no more. That may be so of all targets, or of those that ask
// for it.
func TestRevisionWithoutMerging(t *testing.T) {
	tests := map[string]struct {
		readings []cabundle.Reading
		want     int
	}{
		"another CA":                           {[]cabundle.Reading{holds("two")}, 1},
		"rotated and rolled back":              {[]cabundle.Reading{holds("two"), holds("one")}, 2},
		"a CA less":                            {[]cabundle.Reading{holds("one", "two"), holds("one")}, 2},
		"another order":                        {[]cabundle.Reading{holds("one", "two"), holds("two", "one")}, 2},
		"the same":                             {[]cabundle.Reading{holds("one")}, 0},
		"one of two is distrusted":             {[]cabundle.Reading{holds("one", "two"), distrusting(holds("one", "two"), "one")}, 2},
		"one that it had before is distrusted": {[]cabundle.Reading{holds("two"), distrusting(holds("two"), "one")}, 2},
	}
	for sentence, test := range tests {
		for words, mode := range map[string]struct {
			rules    cabundle.Rules
			revision func(Reading) int
		}{
			"all targets":           {cabundle.Rules{Replace: true}, func(r Reading) int { return r.Revision }},
			"those that ask for it": {cabundle.Rules{}, func(r Reading) int { return r.ExactRevision }},
		} {
			t.Run(words+": "+sentence, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := started(t, mode.rules, source)
					before := mode.revision(r.Latest(source))
					for _, reading := range test.readings {
						r.cluster.store(source, reading)
						r.know(source)
					}
					if grown := mode.revision(r.Latest(source)) - before; grown != test.want {
						t.Errorf("it has grown by %d, not %d", grown, test.want)
					}
					if heard := r.heard(source); heard < test.want {
						t.Errorf("the listeners were told %d times", heard)
					}
				})
			})
		}
	}
}

// TestATargetThatReplacesGetsNoFormerCA, neither by resync nor at admission.
func TestATargetThatReplacesGetsNoFormerCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		r.cluster.store(source, holds("two"))
		r.know(source)
		for mode, want := range map[string]string{"merge": "one two", "replace": "two"} {
			annotations := map[string]string{cabundle.ModeAnnotation: mode}
			_, weighed := r.Weigh(source, annotations, holds("two"))
			for who, combine := range map[string]cabundle.Combine{"resync": r.Combine(source, annotations), "admission": weighed} {
				if got := words(combine(time.Now(), cabundle.Bundle{}, holds("two").Bundle)); got != want {
					t.Errorf("%s, %s: it gets %q, not %q", mode, who, got, want)
				}
			}
		}
	})
}
