// Package soak runs a playground under churn and watches caject: what every target holds, at every moment, and what caject
// takes.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// Options say what is done, and for how long.
type Options struct {
	// Duration is how long the churn goes on.
	Duration time.Duration
	// Sources is how many Secrets are rotated in turn; each has one target of each kind at first.
	Sources int
	// Pause is between two changes.
	Pause time.Duration
	// Patience is how long after a change a target may lack the CA of its source.
	Patience time.Duration
	// SpareMemory is how much more of its own memory (RssAnon, in bytes) caject may have at the end than after a fifth of the
	// time: it is not the same for each build, and Go gives back memory when it likes.
	SpareMemory int64
	// Lifetime is for how long the CAs are valid. If it is short, they expire and are dropped; each source is to be rotated long
	// before.
	Lifetime time.Duration
	// Scrapes takes what each replica serves as metrics, each second, for test/monitoring/plot. Nil: nothing does.
	Scrapes io.Writer
}

const (
	// quietSpan is how long nothing changes in the end, once nothing was written for as long as calm, or restless is over.
	quietSpan, calm, restless = 20 * time.Second, 10 * time.Second, time.Minute
	// lasting is for how long the CAs of the quiet span are valid.
	lasting = time.Hour
)

// soak is a run.
type soak struct {
	Options
	world      *trial.World
	census     *trial.Census
	population *trial.Population
	targets    []client.Object
	changes    map[string]int
	samples    []sample
	worst      time.Duration
	silence    playground.Silence
}

// sample is what caject took at some time.
type sample struct {
	at  time.Duration
	use trial.Use
}

// Run has o.Duration of churn in w, writes a summary to out, and returns what was wrong.
func Run(ctx context.Context, w *trial.World, o Options, out io.Writer) error {
	census := trial.NewCensus(w.Client)
	s := &soak{Options: o, world: w, census: census, population: trial.NewPopulation(census, w.Clients...), changes: map[string]int{}}
	s.population.Lifetime = o.Lifetime
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go census.Run(ctx)
	scraped := make(chan error, 1)
	scraping, stop := context.WithCancel(ctx)
	defer stop()
	go func() { scraped <- s.scrape(scraping) }()
	if err := s.populate(ctx); err != nil {
		return err
	}
	err := s.churn(ctx)
	stop()
	err = errors.Join(err, <-scraped)
	if err == nil {
		err = s.quiet(ctx)
	}
	states, wrong := census.Result()
	err = errors.Join(err, wrong, s.grown())
	s.summary(out, states, err)
	return err
}

func name(source int) string { return fmt.Sprintf("source%d", source) }

func (s *soak) populate(ctx context.Context) error {
	for source := range s.Sources {
		if err := s.population.AddSource(ctx, name(source)); err != nil {
			return err
		}
		for kind := range trial.Kinds {
			if err := s.add(ctx, kind, source); err != nil {
				return err
			}
		}
	}
	return s.right(ctx)
}

func (s *soak) add(ctx context.Context, kind, source int) error {
	object, err := s.population.AddTarget(ctx, kind, name(source))
	if err == nil {
		s.targets = append(s.targets, object)
	}
	return err
}

// churn changes one thing after the other, and waits now and then until all is right.
func (s *soak) churn(ctx context.Context) error {
	begin := time.Now()
	rotated := 0
	for n := 0; time.Since(begin) < s.Duration; n++ {
		if n%100 == 0 {
			use, err := s.world.Use(ctx)
			if err != nil {
				return err
			}
			s.samples = append(s.samples, sample{time.Since(begin), use})
		}
		what := "rotate a CA"
		var err error
		switch i := rand.IntN(len(s.targets)); n % 5 {
		case 0, 1:
			err = s.population.Rotate(ctx, name(rotated%s.Sources))
			rotated++
		case 2:
			what = "apply a target again with a placeholder"
			err = s.population.Blank(ctx, s.targets[i])
		case 3:
			what = "create a target"
			err = s.add(ctx, rand.IntN(len(trial.Kinds)), rand.IntN(s.Sources))
		case 4:
			what = "delete a target"
			err = s.population.RemoveTarget(ctx, s.targets[i])
			s.targets = append(s.targets[:i], s.targets[i+1:]...)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		s.changes[what]++
		if n%20 == 19 {
			if err := s.right(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.Pause):
		}
	}
	if err := s.right(ctx); err != nil {
		return err
	}
	use, err := s.world.Use(ctx)
	s.samples = append(s.samples, sample{time.Since(begin), use})
	return err
}

// right waits until every target is, and caject says so.
func (s *soak) right(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	if err := s.world.WaitHealthy(ctx, s.census, s.population.Targets()); err != nil {
		return fmt.Errorf("%s after the last change: %w", s.Patience, err)
	}
	s.worst = max(s.worst, time.Since(began))
	return nil
}

// quiet gives all sources CAs that last, waits until the others have expired, and sees that caject is silent then.
func (s *soak) quiet(ctx context.Context) error {
	s.population.Lifetime = lasting
	for source := range s.Sources {
		if err := s.population.Rotate(ctx, name(source)); err != nil {
			return err
		}
	}
	if err := s.right(ctx); err != nil {
		return err
	}
	quiet, err := s.world.Quiet()
	if err != nil {
		return err
	}
	if s.Lifetime < lasting {
		// What has expired leaves with the next round, which comes within an interval and a fifth.
		if err := playground.Sleep(ctx, s.Lifetime+quiet.Interval*3/2); err != nil {
			return err
		}
	}
	if err := quiet.Settle(ctx, s.world.Control, calm, restless); err != nil {
		return err
	}
	s.silence, err = quiet.Watch(ctx, s.world.Control, quietSpan)
	return err
}

// spareGoroutines is how many more caject may have at the end than after a fifth of the time.
const spareGoroutines = 30

// grown returns an error if caject has taken more and more.
func (s *soak) grown() error {
	if len(s.samples) == 0 {
		return nil
	}
	early, last := s.samples[len(s.samples)/5].use, s.samples[len(s.samples)-1].use
	if last.Memory.Anonymous > early.Memory.Anonymous+s.SpareMemory || last.Goroutines > early.Goroutines+spareGoroutines {
		return fmt.Errorf("caject has grown from %+v to %+v", early, last)
	}
	return nil
}

func (s *soak) summary(out io.Writer, states int, err error) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "after\tgoroutines\tRssAnon\tresident\t")
	step := max(1, len(s.samples)/10)
	for i, sample := range s.samples {
		if i%step == 0 || i == len(s.samples)-1 {
			fmt.Fprintf(table, "%s\t%d\t%.1f MB\t%.1f MB\t\n", sample.at.Round(time.Second), sample.use.Goroutines,
				float64(sample.use.Memory.Anonymous)/(1<<20), float64(sample.use.Memory.Resident)/(1<<20))
		}
	}
	_ = table.Flush()
	for _, what := range []string{"rotate a CA", "apply a target again with a placeholder", "create a target", "delete a target"} {
		fmt.Fprintf(out, "%6d × %s\n", s.changes[what], what)
	}
	fmt.Fprintf(out, "%d targets at the end. %d states of targets were looked at. All was right at the latest %.1f s after each 20 changes.\n",
		len(s.targets), states, s.worst.Seconds())
	gaps, longest := s.census.Gaps()
	fmt.Fprintf(out, "%d of the placeholders were not replaced in the same request; what they had replaced was back after %.0f ms at most.\n",
		gaps, float64(longest.Microseconds())/1000)
	if s.silence.Span > 0 {
		fmt.Fprintf(out, "After all changes: %s.\n", s.silence)
	}
	if err != nil {
		fmt.Fprintf(out, "WRONG: %v\n", err)
		return
	}
	fmt.Fprintln(out, "No target was half written or lost a certificate that had not expired, and each held the CA of its source.")
}
