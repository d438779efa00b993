package matrix

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// crowd is sources that are rotated and targets that are created all the time, and a census of all that becomes of them.
type crowd struct {
	census *trial.Census

	mu      sync.Mutex
	held    map[string][]string // what each source ever held, by what the shards call it
	targets int
	filled  int // in the answer to their create
	errs    []error
	serial  int
}

// newCrowd has a census watch c's cluster.
func newCrowd(ctx context.Context, c client.WithWatch) *crowd {
	crowd := &crowd{census: trial.NewCensus(c), held: map[string][]string{}}
	go crowd.census.Run(ctx)
	return crowd
}

// rotate has a source hold another certificate; write creates or updates it.
func (c *crowd) rotate(ctx context.Context, name string, write func(context.Context, client.Object) error) error {
	c.mu.Lock()
	c.serial++
	ca := playground.NewCA(fmt.Sprintf("%s %d", name, c.serial))
	c.held[sourceKey(name)] = append(c.held[sourceKey(name)], string(ca))
	c.mu.Unlock()
	c.census.Expect(trial.Namespace+"/"+name, ca)
	return write(ctx, playground.NewSecret(trial.Namespace, name, ca))
}

func creating(c client.Client) func(context.Context, client.Object) error {
	return func(ctx context.Context, o client.Object) error { return c.Create(ctx, o) }
}

func updating(c client.Client) func(context.Context, client.Object) error {
	return func(ctx context.Context, o client.Object) error { return c.Update(ctx, o) }
}

// sources are the names of n of them.
func sources(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("source%d", i))
	}
	return names
}

// begin makes sources, and a target of each kind for each.
func (c *crowd) begin(ctx context.Context, api client.Client, names []string) error {
	for _, name := range names {
		if err := c.rotate(ctx, name, creating(api)); err != nil {
			return err
		}
		for kind := range trial.Kinds {
			if err := c.create(ctx, api, kind, name); err != nil {
				return err
			}
		}
	}
	return c.right(ctx)
}

// create creates a target, and notes whether the answer has a certificate.
func (c *crowd) create(ctx context.Context, api client.Client, kind int, source string) error {
	c.mu.Lock()
	c.serial++
	object := trial.Kinds[kind](fmt.Sprintf("crowd%d", c.serial), playground.FromSecret(trial.Namespace, source))
	c.mu.Unlock()
	err := api.Create(ctx, object)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("create a %s of %s: %w", kindNames[kind], source, err)
	}
	c.targets++
	if len(certificates(string(playground.CABundles(object)[0]))) > 0 {
		c.filled++
	}
	return nil
}

// load creates targets of the given sources all the time, and rotates one a second, until the returned function is called.
func (c *crowd) load(ctx context.Context, creates, rotates client.Client, names []string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	every := func(pause time.Duration, what func() error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := what(); err != nil {
					c.mu.Lock()
					c.errs = append(c.errs, err)
					c.mu.Unlock()
				}
				pauseFor(ctx, pause)
			}
		})
	}
	background := context.WithoutCancel(ctx) // a request that has begun is brought to its end
	every(80*time.Millisecond, func() error {
		kind := 1 + rand.IntN(len(trial.Kinds)-1)
		if rand.IntN(20) == 0 {
			kind = 0 // CRDs cost an API server the most
		}
		return c.create(background, creates, kind, names[rand.IntN(len(names))])
	})
	every(time.Second, func() error { return c.rotate(background, names[rand.IntN(len(names))], updating(rotates)) })
	return func() {
		cancel()
		all.Wait()
	}
}

// right returns once all targets hold what their sources do.
func (c *crowd) right(ctx context.Context) error {
	c.mu.Lock()
	targets := c.targets
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.census.WaitRight(ctx, targets)
}

// published returns once the shards hold all sources, as they should.
func (c *crowd) published(ctx context.Context, api client.Client) error {
	cluster, err := clusterOf(ctx, api)
	if err != nil {
		return err
	}
	return eventually(ctx, patience, func(ctx context.Context) error {
		all, err := shardsOf(ctx, api)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return all.right(cluster, c.held)
	})
}

// review fails the test for each create or rotation that has failed, and for whatever the census has seen.
func (c *crowd) review(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	for _, err := range c.errs {
		t.Error(err)
	}
	c.errs = nil
	t.Logf("%d targets were created, %d of them filled in the answer", c.targets, c.filled)
	c.mu.Unlock()
	if _, err := c.census.Result(); err != nil {
		t.Error(err)
	}
}
