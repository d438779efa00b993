package work

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// bench is a Queue whose workers run in a synctest bubble. It notes when an item was worked on, in time since the beginning.
type bench struct {
	*Queue[string]
	do func(string) time.Duration // what a worker does; nil is nothing

	mu   sync.Mutex
	done []string
	logs []string
}

// working runs body beside so many workers, and fails the test unless they end with it.
func working(t *testing.T, workers int, body func(*testing.T, *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Queue: NewQueue[string]("working", clock.RealClock{})}
		begin := time.Now()
		logger := funcr.New(func(_, line string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.logs = append(b.logs, line)
		}, funcr.Options{})
		ctx, cancel := context.WithCancel(log.IntoContext(t.Context(), logger))
		ended := make(chan error)
		go func() {
			ended <- b.Run(ctx, workers, func(item string) []any { return []any{"item", item} }, func(ctx context.Context, item string) time.Duration {
				b.mu.Lock()
				b.done = append(b.done, fmt.Sprintf("%s at %v", item, time.Since(begin)))
				b.mu.Unlock()
				if b.do == nil {
					return 0
				}
				log.FromContext(ctx).Info("Working")
				return b.do(item)
			})
		}()
		body(t, b)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// expect fails the test unless that is what was done until now.
func (b *bench) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.done); diff != "" {
		t.Error(diff)
	}
}

func TestAnItemIsHeldOnce(t *testing.T) {
	working(t, 1, func(t *testing.T, b *bench) {
		b.do = func(string) time.Duration { time.Sleep(time.Second); return 0 }
		b.Add("a")
		synctest.Wait()
		for range 3 { // while it is worked on, and after another one has come
			b.Add("a")
			b.Add("b")
		}
		time.Sleep(time.Minute)
		b.expect(t, "a at 0s", "b at 1s", "a at 2s")
	})
}

func TestWhatWaits(t *testing.T) {
	for sentence, test := range map[string]struct {
		add  func(*bench)
		want []string
	}{
		"is done when the time has come": {func(b *bench) { b.AddAfter("a", time.Second) }, []string{"a at 1s"}},
		"the earlier time counts": {func(b *bench) {
			b.AddAfter("a", time.Minute)
			b.AddAfter("a", time.Second)
			b.AddAfter("a", time.Hour)
		}, []string{"a at 1s"}},
		"is not done twice":                       {func(b *bench) { b.AddAfter("a", time.Second); b.AddAfter("a", time.Second) }, []string{"a at 1s"}},
		"what is added at once waits for nothing": {func(b *bench) { b.AddAfter("a", time.Second); b.Add("a") }, []string{"a at 0s", "a at 1s"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			working(t, 1, func(t *testing.T, b *bench) {
				test.add(b)
				time.Sleep(2 * time.Hour)
				b.expect(t, test.want...)
			})
		})
	}
}

func TestAnItemIsDoneAgainWhenItSaysSo(t *testing.T) {
	working(t, 1, func(t *testing.T, b *bench) {
		waits := []time.Duration{time.Second, time.Minute, 0}
		b.do = func(string) time.Duration {
			wait := waits[0]
			waits = waits[1:]
			return wait
		}
		b.Add("a")
		time.Sleep(time.Hour)
		b.expect(t, "a at 0s", "a at 1s", "a at 1m1s")
	})
	working(t, 1, func(t *testing.T, b *bench) {
		b.do = func(string) time.Duration { return -time.Second }
		b.Add("a")
		time.Sleep(time.Hour)
		b.expect(t, "a at 0s")
	})
}

func TestAPanicIsLoggedAndTheItemTriedAgain(t *testing.T) {
	working(t, 1, func(t *testing.T, b *bench) {
		panics := true
		b.do = func(string) time.Duration {
			if panics {
				panics = false
				panic("a bug")
			}
			return 0
		}
		b.Add("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(b.done) != 2 {
			t.Errorf("done: %v", b.done)
		}
		if !slices.ContainsFunc(b.logs, func(line string) bool {
			return strings.Contains(line, "a bug") && strings.Contains(line, `"item"="a"`)
		}) {
			t.Errorf("logged: %v", b.logs)
		}
	})
}

func TestEachLineOfTheLogNamesTheItem(t *testing.T) {
	working(t, 1, func(t *testing.T, b *bench) {
		b.do = func(string) time.Duration { return 0 }
		b.Add("a")
		synctest.Wait()
		if !slices.ContainsFunc(b.logs, func(line string) bool {
			return strings.Contains(line, `"Working"`) && strings.Contains(line, `"item"="a"`)
		}) {
			t.Errorf("logged: %v", b.logs)
		}
	})
}

// TestAlive is about one item that takes long, not about many of them.
func TestAlive(t *testing.T) {
	for sentence, test := range map[string]struct {
		items int
		takes time.Duration
		after time.Duration
		alive bool
	}{
		"there is nothing to do":           {0, 0, time.Hour, true},
		"a thousand items":                 {1000, time.Minute, time.Hour, true},
		"one that takes as long as it may": {1, hangs, hangs - 1, true},
		"one that hangs":                   {1, time.Hour, hangs + time.Second, false},
		"one that has hung":                {1, 10 * time.Minute, time.Hour, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			working(t, 2, func(t *testing.T, b *bench) {
				b.do = func(string) time.Duration { time.Sleep(test.takes); return 0 }
				for i := range test.items {
					b.Add(fmt.Sprint(i))
				}
				time.Sleep(test.after)
				if err := b.Alive(nil); (err == nil) != test.alive {
					t.Error(err)
				}
			})
		})
	}
}

func TestSeveralItemsAreWorkedOnSideBySide(t *testing.T) {
	working(t, 2, func(t *testing.T, b *bench) {
		b.do = func(string) time.Duration { time.Sleep(time.Second); return 0 }
		for _, item := range []string{"a", "b", "c"} {
			b.Add(item)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		slices.Sort(b.done)
		b.expect(t, "a at 0s", "b at 0s", "c at 1s")
	})
}
