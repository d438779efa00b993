// Package load fills many objects at once, and objects that are as large as they can be, and measures how long that takes and
// what caject needs for it.
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
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
}

const (
	// clients create side by side in the first part, and hasty ones in the second.
	clients, hasty = 8, 32
	// largeBytes is what a CRD has in its schema: as JSON it is about 1.4 MB, and etcd takes 1.5 MB.
	largeBytes = 1_390_000
)

// load is a run.
type load struct {
	Options
	world      *trial.World
	census     *trial.Census
	population *trial.Population
	rows       []row
}

// row is a line of the table.
type row struct {
	what   string
	took   []time.Duration // of each, sorted
	answer int             // how many were filled in the answer to the request
	whole  time.Duration
}

// Run does all parts in w, and writes a table to out. The error says what was not filled, or what was too much.
func Run(ctx context.Context, w *trial.World, o Options, out io.Writer) error {
	census := trial.NewCensus(w.Client)
	l := &load{Options: o, world: w, census: census, population: trial.NewPopulation(w.Client, census)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go census.Run(ctx)
	before, err := w.Use(ctx)
	if err != nil {
		return err
	}
	most := l.watchMemory(ctx)
	for _, part := range []func(context.Context) error{l.fill, l.create, l.rotate, l.large} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	after, err := w.Use(ctx)
	if err != nil {
		return err
	}
	peak := most()
	l.print(out)
	fmt.Fprintf(out, "caject's own memory (RssAnon): %d MB before, %d MB at most, %d MB after; goroutines: %d before, %d after.\n",
		before.Memory.Anonymous>>20, peak>>20, after.Memory.Anonymous>>20, before.Goroutines, after.Goroutines)
	if peak > o.MaxMemory {
		return fmt.Errorf("caject took %d MB, more than %d", peak>>20, o.MaxMemory>>20)
	}
	_, err = census.Result()
	return err
}

// watchMemory samples caject's memory; most ends that and returns the largest in bytes.
func (l *load) watchMemory(ctx context.Context) (most func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	largest := make(chan int64)
	go func() {
		var m int64
		for {
			for _, replica := range l.world.Replicas.All() {
				if memory, err := replica.Memory(); err == nil {
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

// right waits until all targets are filled, and caject says so.
func (l *load) right(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Patience)
	defer cancel()
	return l.world.WaitHealthy(ctx, l.census, l.population.Targets())
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

// large has a CRD as large as etcd takes created, applied again with a placeholder, and its source rotated. The API server
// sends it twice in the review of an update.
func (l *load) large(ctx context.Context) error {
	crd := playground.NewCRD("large", playground.FromSecret(trial.Namespace, l.source(0)))
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties = map[string]apiextensionsv1.JSONSchemaProps{
		"spec": {Type: "object", Description: strings.Repeat("A field that is explained at length. ", largeBytes/37)},
	}
	measure := func(what string, do func() error) error {
		start := time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		r := row{what: what, took: []time.Duration{time.Since(start)}, whole: time.Since(start)}
		if bundle := crd.Spec.Conversion.Webhook.ClientConfig.CABundle; bytes.Contains(bundle, []byte("BEGIN CERTIFICATE")) {
			r.answer = 1
		}
		l.rows = append(l.rows, r)
		return nil
	}
	return errors.Join(
		measure(fmt.Sprintf("a CRD of %.1f MB created", float64(largeBytes)/1e6), func() error { return l.population.Add(ctx, crd) }),
		measure("  applied again with a placeholder", func() error { return l.population.Blank(ctx, crd) }),
		measure("  its source rotated", func() error {
			crd.Spec.Conversion.Webhook.ClientConfig.CABundle = nil
			if err := l.population.Rotate(ctx, l.source(0)); err != nil {
				return err
			}
			return l.right(ctx)
		}),
	)
}

func (l *load) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tfilled in the answer\tmedian\tp99\tmost\tall after")
	for _, r := range l.rows {
		slices.Sort(r.took)
		at := func(share float64) string {
			return fmt.Sprintf("%.0f ms", float64(r.took[int(share*float64(len(r.took)-1))].Microseconds())/1000)
		}
		fmt.Fprintf(table, "%s\t%d of %d\t%s\t%s\t%s\t%.1f s\n", r.what, r.answer, len(r.took), at(0.5), at(0.99), at(1), r.whole.Seconds())
	}
	_ = table.Flush()
}
