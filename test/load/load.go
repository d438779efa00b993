// Package load fills many objects at once, and objects that are as large as they can be, and measures how long that takes and
// what caject needs for it.
package load

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// Options say how much.
type Options struct {
	// Objects is how many targets are filled from Sources, a tenth of them CRDs, the others one third of each other kind.
	Objects, Sources int
	// Creates is how many more are created, by so many clients that the API server has no pause.
	Creates int
	// MaxMemory is what caject may take of its own at most (RssAnon, in bytes).
	MaxMemory int64
	// Patience is how long anything may take.
	Patience time.Duration
	// Cainjector is the program of cert-manager's cainjector, which then does the same in a cluster of its own; empty if it does not.
	Cainjector string
}

const (
	// clients create side by side in the first part, and hasty ones in the second.
	clients, hasty = 8, 32
	// largeBytes is what a CRD has in its schema: as JSON it is about 1.4 MB, and etcd takes 1.5 MB.
	largeBytes = 1_390_000
)

// load is a run with one injector.
type load struct {
	Options
	census     *trial.Census
	population *trial.Population
	rows       []row
	// processes are the injector's, and healthy returns once all so many targets are right, or what is wrong when ctx ends.
	processes func() []*playground.Process
	healthy   func(ctx context.Context, targets int) error
}

// newLoad returns one whose census watches until ctx ends. c is the admin's.
func newLoad(ctx context.Context, o Options, c client.WithWatch) *load {
	census := trial.NewCensus(c)
	go census.Run(ctx)
	return &load{Options: o, census: census, population: trial.NewPopulation(census, c)}
}

// Run does all parts in w, and those that cainjector does as well with that one, and writes a table to out. The error says what was
// not filled, or what was too much.
func Run(ctx context.Context, w *trial.World, o Options, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoad(ctx, o, w.Client)
	l.healthy = func(ctx context.Context, targets int) error { return w.WaitHealthy(ctx, l.census, targets) }
	l.processes = func() (all []*playground.Process) {
		for _, replica := range w.Replicas.All() {
			all = append(all, replica.Process)
		}
		return all
	}
	before, err := w.Use(ctx)
	if err != nil {
		return err
	}
	peak, err := l.do(ctx, l.fill, l.create, l.rotate, l.large)
	if err != nil {
		return err
	}
	after, err := w.Use(ctx)
	if err != nil {
		return err
	}
	peer, err := runPeer(ctx, o)
	if err != nil {
		return fmt.Errorf("cainjector: %w", err)
	}
	write(out, l.rows, peer.rows)
	fmt.Fprintf(out, "caject's own memory (RssAnon): %d MB before, %d MB at most, %d MB after; goroutines: %d before, %d after.\n",
		before.Memory.Anonymous>>20, peak>>20, after.Memory.Anonymous>>20, before.Goroutines, after.Goroutines)
	if o.Cainjector != "" {
		fmt.Fprintf(out, "cainjector's: %d MB at most.\n", peer.peak>>20)
	}
	if peak > o.MaxMemory {
		return fmt.Errorf("caject took %d MB, more than %d", peak>>20, o.MaxMemory>>20)
	}
	_, err = l.census.Result()
	return err
}

// do does parts one after the other, and returns the most memory that the injector has had of its own meanwhile (RssAnon, in bytes).
func (l *load) do(ctx context.Context, parts ...func(context.Context) error) (peak int64, err error) {
	most := l.watchMemory(ctx)
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return most(), err
		}
	}
	return most(), nil
}

// watchMemory samples the injector's memory; most ends that and returns the largest in bytes.
func (l *load) watchMemory(ctx context.Context) (most func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	largest := make(chan int64)
	go func() {
		var m int64
		for {
			for _, process := range l.processes() {
				if memory, err := process.Memory(); err == nil {
					m = max(m, memory.Anonymous)
				}
			}
			select {
			case <-ctx.Done():
				largest <- m
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() int64 { cancel(); return <-largest }
}

func (l *load) source(n int) string { return fmt.Sprintf("source%d", n%l.Sources) }

func (l *load) fill(ctx context.Context) error {
	for n := range l.Sources {
		if err := l.population.AddSource(ctx, l.source(n)); err != nil {
			return err
		}
	}
	return l.creates(ctx, fmt.Sprintf("%d objects over %d sources, %d clients", l.Objects, l.Sources, clients), l.Objects, clients)
}

func (l *load) create(ctx context.Context) error {
	return l.creates(ctx, fmt.Sprintf("%d more as fast as the API server takes them, %d clients", l.Creates, hasty), l.Creates, hasty)
}

// creates creates n targets, and measures for each how long it takes from the request until it is seen to be filled.
func (l *load) creates(ctx context.Context, what string, n, clients int) error {
	r := row{what: what}
	var mu sync.Mutex
	var late []client.Object
	began := map[string]time.Time{}
	begin := time.Now()
	var group errgroup.Group
	group.SetLimit(clients)
	for i := range n {
		group.Go(func() error {
			kind := 1 + i%3
			if i%10 == 0 {
				kind = 0
			}
			start := time.Now()
			object, err := l.population.AddTarget(ctx, kind, l.source(i))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if len(playground.CABundles(object)[0]) > 0 {
				r.answer++
				r.took = append(r.took, time.Since(start))
			} else {
				late = append(late, object)
				began[object.GetName()] = start
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := l.right(ctx); err != nil {
		return err
	}
	for _, object := range late {
		r.took = append(r.took, l.census.Filled(object).Sub(began[object.GetName()]))
	}
	r.whole = l.census.LastFilled().Sub(begin)
	l.rows = append(l.rows, r)
	return nil
}

// right waits until all targets are filled, and caject, if it is that, says so.
func (l *load) right(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Patience)
	defer cancel()
	return l.healthy(ctx, l.population.Targets())
}

// rotate gives all sources another CA at once.
func (l *load) rotate(ctx context.Context) error {
	r := row{what: fmt.Sprintf("all %d sources rotated at once, %d targets", l.Sources, l.population.Targets())}
	begin := time.Now()
	var group errgroup.Group
	group.SetLimit(clients)
	for n := range l.Sources {
		group.Go(func() error { return l.population.Rotate(ctx, l.source(n)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := l.right(ctx); err != nil {
		return err
	}
	for _, filled := range l.census.AllFilled() {
		r.took = append(r.took, filled.Sub(begin))
	}
	r.whole = l.census.LastFilled().Sub(begin)
	l.rows = append(l.rows, r)
	return nil
}
