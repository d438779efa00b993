package quiet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/test/trial"
)

// TestTwoThatActAtOnceAlarmNobody rotates a source of many targets again and again, with two replicas that both write: one because
// it was told, the other because it leads. That one comes too late for what the other has done is no problem of anybody's.
func TestTwoThatActAtOnceAlarmNobody(t *testing.T) {
	t.Parallel()
	const targets, times = 60, 10
	s := newStage(t, 2, "policy.enabled=false")
	a := &act{stage: s, source: "alarm", names: map[string]string{}, scenario: scenario{name: "alarm", slug: "alarm"}}
	s.acts = append(s.acts, a)
	refused, stop := s.watchStates(t.Context(), "refused")
	held := [][]byte{a.ca("0")}
	if err := a.crowd(t.Context(), targets, trial.Kinds, held[0]); err != nil {
		t.Fatal(err)
	}
	for n := range times {
		held = append(held, a.ca(fmt.Sprint(n+1)))
		err := steps(
			func() error { return a.rotate(t.Context(), held[n+1]) },
			func() error { return s.right(t.Context(), targets) },
			func() error { return a.hold(t.Context(), must(held...)) },
		)
		if err != nil {
			t.Fatalf("rotation %d of %d: %v", n+1, times, err)
		}
	}
	stop()
	scrapes, found := refused()
	if len(found) > 0 {
		t.Errorf("in %d scrapes of the metrics, targets were refused:\n%s", scrapes, strings.Join(found, "\n"))
	}
	if err := s.alarms(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.census.Result(); err != nil {
		t.Error(err)
	}
	t.Logf("%d rotations of %d targets, %d scrapes of the metrics", times, targets, scrapes)
}

// right waits until n targets hold what their sources do, by what the census sees: to ask for many of them again and again would
// keep the API server busy.
func (s *stage) right(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	return s.census.WaitRight(ctx, n)
}

// watchStates looks for targets in a given state in the metrics of all replicas, five times a second, until stop is called. found
// returns how often it looked, and the targets, each with when it was first found so.
func (s *stage) watchStates(ctx context.Context, state string) (found func() (int, []string), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	scrapes, seen := 0, map[string]string{}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for n, replica := range s.world.Replicas.All() {
				states, err := targetStates(ctx, replica.MetricsPort)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						seen["metrics"] = err.Error()
					}
					continue
				}
				scrapes++
				for target, is := range states {
					if seen[target] == "" && strings.HasPrefix(is, state) {
						seen[target] = fmt.Sprintf("%s is %q in the metrics of replica %d at %s", target, is, n+1, time.Now().Format("15:04:05.000"))
					}
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() (int, []string) { return scrapes, slices.Sorted(maps.Values(seen)) }, func() { cancel(); <-done }
}
