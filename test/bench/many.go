package bench

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// many has many targets created at once, then all their sources rotated at once, with each number of sources.
func (s *session) many(ctx context.Context) error {
	for _, sources := range s.Sources {
		if err := s.progress.step(fmt.Sprintf("%d targets created and rotated, %d sources", s.Targets, sources), func() error {
			return s.manyOf(ctx, sources)
		}); err != nil {
			return err
		}
	}
	return nil
}

// crowd is many targets and their sources.
type crowd struct {
	sources []string
	cas     [][]byte // of each source, in PEM
	targets []client.Object
	source  map[string]int // that of a target, by key
}

func (s *session) manyOf(ctx context.Context, sources int) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	all := &crowd{source: map[string]int{}}
	for range sources {
		name := s.name("many")
		ca, err := s.addSource(ctx, name)
		if err != nil {
			return err
		}
		all.sources, all.cas = append(all.sources, name), append(all.cas, ca)
	}
	for i := range s.Targets {
		target := trial.Kinds[mixedKind(i)](s.name("t"), playground.FromSecret(namespace, all.sources[i%sources]))
		all.targets = append(all.targets, target)
		all.source[key(target)] = i % sources
	}
	for _, part := range []func(context.Context, *crowd) error{s.createCrowd, s.rotateCrowd} {
		if err := s.settle(ctx, s.Settle); err != nil {
			return err
		}
		if err := part(ctx, all); err != nil {
			return err
		}
	}
	if err := s.remove(ctx, all.targets...); err != nil {
		return err
	}
	return s.settle(ctx, s.Settle)
}

// mixedKind says of which kind the i-th target is: a tenth are CRDs, the others one third of each other kind.
func mixedKind(i int) int {
	if i%10 == 0 {
		return 0
	}
	return 1 + i%3
}

// expectCrowd says that each target is about to hold the CA of its source.
func (s *session) expectCrowd(crowd *crowd) *sight {
	cas := map[string][]byte{}
	for name, source := range crowd.source {
		cas[name] = crowd.cas[source]
	}
	return s.lookout.expect(cas)
}

func (s *session) createCrowd(ctx context.Context, crowd *crowd) error {
	filled := s.expectCrowd(crowd)
	before, err := s.use()
	if err != nil {
		return err
	}
	began := time.Now()
	answered := make([]bool, len(crowd.targets))
	if err := each(ctx, len(crowd.targets), clients, func(ctx context.Context, i int) error {
		err := s.client.Create(ctx, crowd.targets[i])
		answered[i] = holds(crowd.targets[i], crowd.cas[i%len(crowd.cas)])
		return err
	}); err != nil {
		return err
	}
	created := time.Since(began)
	if err := s.lookout.wait(ctx, filled); err != nil {
		return err
	}
	row := s.crowdRow(crowd, "created")
	s.report.AddTimes(row("all created", Seconds), s.subject(), created)
	s.report.AddTimes(row("all filled", Seconds), s.subject(), filled.last.Sub(began))
	s.report.Add(row("filled in the answer to the request", Percent), s.subject(), share(answered))
	return s.reportCrowd(ctx, row, before)
}

func (s *session) rotateCrowd(ctx context.Context, crowd *crowd) error {
	for i, name := range crowd.sources {
		crowd.cas[i] = playground.NewCA(name + " next")
	}
	filled := s.expectCrowd(crowd)
	before, err := s.use()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := each(ctx, len(crowd.sources), clients, func(ctx context.Context, i int) error {
		return s.rotate(ctx, crowd.sources[i], crowd.cas[i])
	}); err != nil {
		return err
	}
	if err := s.lookout.wait(ctx, filled); err != nil {
		return err
	}
	row := s.crowdRow(crowd, "rotated")
	s.report.AddTimes(row("last target right", Seconds), s.subject(), filled.last.Sub(began))
	return s.reportCrowd(ctx, row, before)
}

// crowdRow makes keys of one group.
func (s *session) crowdRow(crowd *crowd, what string) func(string, Unit) Key {
	return func(row string, unit Unit) Key {
		return Key{fmt.Sprintf("%d targets of %%d sources %s at once", len(crowd.targets), what), len(crowd.sources), row, unit}
	}
}

func (s *session) reportCrowd(ctx context.Context, row func(string, Unit) Key, before use) error {
	after, err := s.useAfter(ctx, time.Second) // an injector looks again at what it has written
	if err != nil {
		return err
	}
	used := after.since(before)
	s.report.AddTimes(row("API server's CPU", Seconds), s.subject(), used.apiServer)
	s.report.AddTimes(row("injector's CPU", Seconds), s.subject(), used.injector)
	return nil
}

// share is how many are true, in percent.
func share(all []bool) float64 {
	n := 0
	for _, one := range all {
		if one {
			n++
		}
	}
	return 100 * float64(n) / float64(len(all))
}
