package resync

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caject/caject/cabundle"
)

// outage is what a source comes to while the API server is away.
var outage = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "connection refused"}

// looping runs the periodic loop beside body.
func looping(t *testing.T, body func(*testing.T, *publishing)) {
	t.Helper()
	timed(t, func(t *testing.T, r *publishing) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.loop(ctx) }()
		body(t, r)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestARoundThatCameToNothingIsRepeatedSoon(t *testing.T) {
	looping(t, func(t *testing.T, r *publishing) {
		time.Sleep(time.Second)
		r.sources.change(func() { r.sources.problem = outage })
		time.Sleep(10 * time.Minute)
		r.sources.change(func() { r.sources.ca, r.sources.problem = caTwo, nil })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		r.work(t)
		r.expect(t, append(bytes.Clone(caOne), caTwo...))
	})
}

func TestAHintThatIsOverBeforeAnOutageIsMadeUpFor(t *testing.T) {
	looping(t, func(t *testing.T, r *publishing) {
		time.Sleep(time.Second)
		r.sources.change(func() { r.sources.problem = outage })
		r.Hint(t.Context(), secret)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		r.sources.change(func() { r.sources.ca, r.sources.problem = caTwo, nil })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		r.work(t)
		r.expect(t, append(bytes.Clone(caOne), caTwo...))
	})
}

func TestWhatCouldBeHintedAtDuringAStandstillIsMadeUpFor(t *testing.T) {
	for sentence, test := range map[string]struct {
		stands time.Duration
		want   []byte
	}{
		"shorter than a hint is tried": {400 * time.Millisecond, caOne},
		"longer":                       {time.Second, append(bytes.Clone(caOne), caTwo...)},
		"half an hour":                 {30 * time.Minute, append(bytes.Clone(caOne), caTwo...)},
	} {
		t.Run(sentence, func(t *testing.T) {
			looping(t, func(t *testing.T, r *publishing) {
				time.Sleep(time.Second)
				r.sources.change(func() { r.sources.ca = caTwo })
				r.stoppable.stood.Add(int64(test.stands))
				time.Sleep(7 * time.Second)
				synctest.Wait()
				r.work(t)
				r.expect(t, test.want)
			})
		})
	}
}

func TestAnOutageIsNotWaitedForLong(t *testing.T) {
	r := newRig(t, nil)
	r.sources.problem = outage
	r.watch()
	wait := r.work(t)
	for range 20 {
		wait = r.retry(t)
	}
	if wait != outageRetry {
		t.Errorf("after twenty tries it waits %v", wait)
	}
}

// TestASlowReadDoesNotBringBackTheFormerCA has a read that began before a rotation end after the one that has noticed it. A
// policy that lags then fills what fits the former CA, and nothing is seen to be wrong until the next round.
func TestASlowReadDoesNotBringBackTheFormerCA(t *testing.T) {
	for sentence, slow := range map[string]bool{"a read at a time": false, "a slow one": true} {
		t.Run(sentence, func(t *testing.T) {
			r := newPublishing(t, nil)
			r.options.Policy = true
			r.targets.admit = r.policy(0)
			r.watch()
			r.settled(t)
			turns := r.publisher.begin(secret)
			r.rotate(t)
			if slow {
				r.publisher.note(secret, turns, cabundle.ParseExisting(caOne), nil)
			}
			r.work(t)
			r.expect(t, append(bytes.Clone(caOne), caTwo...))
			r.publish(t)
			if bundle, problem, ok := r.publisher.source(secret); !ok || problem != nil || bundle.Digest() != cabundle.ParseExisting(caTwo).Digest() {
				t.Errorf("the source is taken for %v, %v, %v", bundle, problem, ok)
			}
		})
	}
}
