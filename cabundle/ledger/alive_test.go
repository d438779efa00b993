package ledger

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

func TestAlive(t *testing.T) {
	tests := map[string]struct {
		sources int
		latency time.Duration
		span    time.Duration
	}{
		"2,000 sources of an API server that takes half a second for each": {2000, 500 * time.Millisecond, 5 * time.Minute},
		"one that many always ask for, of one that is slow":                {1, 500 * time.Millisecond, 5 * time.Minute},
		"150 sources of one that is silent":                                {150, time.Hour, 10 * time.Minute},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cabundle.Rules{}).start()
				r.cluster.latency = test.latency
				for _, ref := range secrets(test.sources) {
					r.cluster.store(ref, holds("one"))
					r.Follow(ref)
					r.Hint(ref)
				}
				for range 12 { // those who look after targets, and publish
					go func() {
						for r.ctx.Err() == nil {
							ctx, cancel := context.WithTimeout(r.ctx, requestTimeout)
							r.Read(ctx, secret(rand.IntN(test.sources)), consistent, metrics.Resync)
							cancel()
						}
					}()
				}
				for range test.span / time.Second {
					time.Sleep(time.Second)
					if err := r.Alive(nil); err != nil {
						t.Fatal(err)
					}
				}
				if reads := len(r.cluster.asked(cabundle.Reference{})); reads < test.sources {
					t.Errorf("%d reads", reads)
				}
			})
		})
	}
}

func TestAReadThatHangsIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		stuck := make(chan struct{})
		r.cluster.set(func() { r.cluster.hangs = stuck })
		go r.know(source)
		time.Sleep(hangs)
		if err := r.Alive(nil); err != nil {
			t.Errorf("after %s: %v", hangs, err)
		}
		time.Sleep(time.Second)
		if err := r.Alive(nil); err == nil || !strings.Contains(err.Error(), "reading a source hangs") {
			t.Errorf("a second later: %v", err)
		}
		r.cluster.set(func() { r.cluster.hangs = nil })
		close(stuck)
		synctest.Wait()
		if err := r.Alive(nil); err != nil {
			t.Errorf("when it has ended: %v", err)
		}
	})
}

func TestALedgerThatWasNeverStartedIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		r.cluster.store(source, holds("one"))
		r.Follow(source)
		r.Hint(source)
		r.know(source)
		time.Sleep(24 * time.Hour)
		if err := r.Alive(nil); err != nil {
			t.Error(err)
		}
	})
}

func TestAnswered(t *testing.T) {
	tests := map[string]struct {
		sources int
		fail    func(*fakeCluster)
		goesOn  bool
	}{
		"all sources are answered for": {3, func(*fakeCluster) {}, true},
		"one of many meets an error":   {3, func(c *fakeCluster) { c.fails[source] = outageOf(true) }, true},
		"one of many has no answer":    {3, func(c *fakeCluster) { c.fails[source] = outageOf(false) }, true},
		"no source can be used":        {1, func(c *fakeCluster) { clear(c.stored) }, true},
		"no source is answered for":    {3, func(c *fakeCluster) { c.down = true }, false},
		"there is no source":           {0, func(c *fakeCluster) { c.down = true }, true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, secrets(test.sources)...)
				r.cluster.set(func() { test.fail(r.cluster) })
				failed := time.Now()
				for range 20 {
					time.Sleep(longest)
					if test.goesOn && time.Since(r.Answered()) > longest {
						t.Fatalf("the last answer was %s ago", time.Since(r.Answered()))
					}
					if !test.goesOn && r.Answered().After(failed) {
						t.Fatalf("there was an answer after %s", r.Answered().Sub(failed))
					}
				}
				r.cluster.comeBack()
				time.Sleep(outageRetry + outageRetry/5)
				if !test.goesOn && !r.Answered().After(failed) {
					t.Error("no answer after the outage")
				}
			})
		})
	}
}
