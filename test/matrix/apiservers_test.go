package matrix

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// TestTwoAPIServers has targets created through one API server while their sources are rotated through the other one. What one of them
// has evaluated with, the other may have seen replaced; in the end all is right.
func TestTwoAPIServers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	world := newWorldOf(t, trial.Options{Replicas: 2, APIServers: 2})
	other := world.Clients[1]
	c, names := newCrowd(ctx, world.Client), sources(6)
	if err := c.begin(ctx, world.Client, names); err != nil {
		t.Fatal(err)
	}
	for sentence, servers := range map[string]struct{ creates, rotates client.Client }{
		"created through the second, rotated through the first": {other, world.Client},
		"created through the first, rotated through the second": {world.Client, other},
	} {
		t.Run(sentence, func(t *testing.T) {
			stop := c.load(ctx, servers.creates, servers.rotates, names)
			pauseFor(ctx, 8*time.Second)
			stop()
			c.settled(t, world.Client)
		})
	}
	t.Run("filled in the answers of both", func(t *testing.T) {
		for _, api := range []client.Client{world.Client, other} {
			for _, name := range names {
				if err := dryRun(ctx, api, name, 0); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestAnAPIServerThatStarts kills the API server and starts it again. From its first answer on, each create of a webhook configuration is
// filled in the answer.
func TestAnAPIServerThatStarts(t *testing.T) {
	t.Parallel()
	const (
		starts = 3
		span   = 8 * time.Second // of creates after each
	)
	ctx := t.Context()
	world := newWorld(t, 2)
	c, names := newCrowd(ctx, world.Client), sources(4)
	if err := c.begin(ctx, world.Client, names); err != nil {
		t.Fatal(err)
	}
	if err := c.published(ctx, world.Client); err != nil {
		t.Fatal(err)
	}
	for start := range starts {
		t.Run(fmt.Sprintf("start %d", start+1), func(t *testing.T) {
			if err := world.Control.KillAPIServer(); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			early, cancel := context.WithCancel(ctx)
			var s sample
			all.Go(func() { s.take(early, world.Client, names, span) })
			err := world.Control.StartAPIServer()
			if err != nil {
				cancel()
			}
			all.Wait()
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d creates, %d filled in the answer, %d refused after the first; the first unfilled one %s, the last %s after the first answer",
				s.answered, s.filled, len(s.refused), s.firstUnfilled.Round(time.Millisecond), s.lastUnfilled.Round(time.Millisecond))
			for _, err := range s.refused {
				t.Errorf("a create is refused: %v", err)
			}
			if s.answered == 0 || s.filled < s.answered {
				t.Errorf("%d of %d creates were not filled in the answer", s.answered-s.filled, s.answered)
			}
		})
	}
	if err := c.right(ctx); err != nil {
		t.Error(err)
	}
	c.review(t)
}

// sample is what came of creates, one after the other, from the first one that is answered on.
type sample struct {
	answered, filled            int
	firstUnfilled, lastUnfilled time.Duration // since the first answer
	refused                     []error
}

// take creates webhook configurations, and stores none, until span after the first one was accepted.
func (s *sample) take(ctx context.Context, api client.Client, names []string, span time.Duration) {
	var first time.Time
	for n := 0; ctx.Err() == nil && (first.IsZero() || time.Since(first) < span); n++ {
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := dryRun(ask, api, names[n%len(names)], n)
		cancel()
		_, unfilled := err.(unfilledError)
		switch {
		case err == nil || unfilled:
			if first.IsZero() {
				first = time.Now()
			}
			s.answered++
			if err == nil {
				s.filled++
			} else {
				if s.lastUnfilled = time.Since(first); s.firstUnfilled == 0 {
					s.firstUnfilled = s.lastUnfilled
				}
			}
		case !first.IsZero():
			s.refused = append(s.refused, err)
		}
		pauseFor(ctx, 20*time.Millisecond)
	}
}

// unfilledError says that an answer has no certificate.
type unfilledError struct{ object string }

func (e unfilledError) Error() string { return e.object + " is not filled in the answer to its create" }

// dryRun creates a webhook configuration, and stores nothing. The error is an unfilledError if it is accepted without a certificate.
func dryRun(ctx context.Context, api client.Client, source string, n int) error {
	object := trial.Kinds[2+n%2](fmt.Sprintf("dry%d", n), playground.FromSecret(trial.Namespace, source))
	if err := api.Create(ctx, object, client.DryRunAll); err != nil {
		return err
	}
	for _, bundle := range playground.CABundles(object) {
		if len(certificates(string(bundle))) == 0 {
			return unfilledError{fmt.Sprintf("%s of %s", kindNames[2+n%2], source)}
		}
	}
	return nil
}
