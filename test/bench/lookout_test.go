package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
)

func TestWhatALookoutWaitsFor(t *testing.T) {
	first, second := playground.NewCA("first"), playground.NewCA("second")
	for sentence, test := range map[string]struct {
		states [][2][]byte // of the two webhooks of one target
		want   int         // after how many of the states it is filled; 0 if it never is
	}{
		"it is filled":                        {states: [][2][]byte{{}, {second, second}}, want: 2},
		"it holds more than that":             {states: [][2][]byte{{slices.Concat(first, second), slices.Concat(first, second)}}, want: 1},
		"one of its webhooks is not":          {states: [][2][]byte{{second, nil}}},
		"it holds another CA":                 {states: [][2][]byte{{first, first}}},
		"it follows in the end":               {states: [][2][]byte{{first, first}, {first, second}, {second, second}, {second, second}}, want: 3},
		"it is told of the first time it was": {states: [][2][]byte{{second, second}, {first, first}, {second, second}}, want: 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			l := &lookout{ended: make(chan struct{})}
			target, other := playground.NewValidating("target", 2, nil), playground.NewMutating("target", 1, nil)
			seen := l.expectAll(second, target)
			begin := time.Now()
			for i, state := range test.states {
				playground.SetEachCABundle(target, state[:])
				l.look(target, begin.Add(time.Duration(i+1)*time.Second))
				playground.SetCABundles(other, second)
				l.look(other, begin)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if test.want == 0 {
				cancel()
			}
			defer cancel()
			err := l.wait(ctx, seen)
			if test.want == 0 {
				if !errors.Is(err, context.Canceled) || l.left(seen) != 1 {
					t.Errorf("the error is %v, %d are left", err, l.left(seen))
				}
				return
			}
			if err != nil || seen.last.Sub(begin) != time.Duration(test.want)*time.Second || l.left(seen) != 0 {
				t.Errorf("filled after %v, %v; %d are left", seen.last.Sub(begin), err, l.left(seen))
			}
			if len(l.sights) != 0 {
				t.Error("it is still looked for")
			}
		})
	}
}
