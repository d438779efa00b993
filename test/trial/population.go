package trial

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// Population is sources and targets, as the census is told of them. It is safe for concurrent use.
type Population struct {
	// Lifetime is for how long the next CAs are valid; an hour at first.
	Lifetime time.Duration

	census *Census

	mu      sync.Mutex
	clients []client.Client
	turn    int
	targets int
	serial  int
}

// NewPopulation returns one without any. clients are the admin's, of one API server or of several: each is used in turn.
func NewPopulation(census *Census, clients ...client.Client) *Population {
	return &Population{Lifetime: time.Hour, clients: clients, census: census}
}

// Through has clients used from now on, in turn.
func (p *Population) Through(clients ...client.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients = clients
}

// client returns the one whose turn it is.
func (p *Population) client() client.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	return p.clients[p.turn%len(p.clients)]
}

// Targets is how many targets there are.
func (p *Population) Targets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.targets
}

func (p *Population) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	return p.serial
}

// AddSource creates a source.
func (p *Population) AddSource(ctx context.Context, name string) error {
	return p.writeSource(ctx, name, p.client().Create)
}

// Rotate gives a source another CA. If it fails, the write may have happened or not: it is to be called again.
func (p *Population) Rotate(ctx context.Context, name string) error {
	return p.writeSource(ctx, name, func(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
		return p.client().Update(ctx, object)
	})
}

func (p *Population) writeSource(ctx context.Context, name string, write func(context.Context, client.Object, ...client.CreateOption) error) error {
	now := time.Now()
	ca := cabundletest.CA(fmt.Sprintf("%s %d", name, p.next()), now.Add(-time.Hour), now.Add(p.Lifetime))
	p.census.Expect(Namespace+"/"+name, ca)
	return write(ctx, playground.NewSecret(Namespace, name, ca))
}

// Kind makes a target of one kind, with a given name and annotations.
type Kind func(name string, annotations map[string]string) client.Object

// Kinds are all: CRDs, APIServices, and validating and mutating webhook configurations.
var Kinds = []Kind{
	func(name string, annotations map[string]string) client.Object {
		return playground.NewCRD(name, annotations)
	},
	func(name string, annotations map[string]string) client.Object {
		return playground.NewAPIService(name, annotations)
	},
	func(name string, annotations map[string]string) client.Object {
		return playground.NewValidating(name, 2, annotations)
	},
	func(name string, annotations map[string]string) client.Object {
		return playground.NewMutating(name, 2, annotations)
	},
}

// AddTarget creates a target, kind being an index of Kinds, with empty caBundles. It returns it as the API server answered.
func (p *Population) AddTarget(ctx context.Context, kind int, source string) (client.Object, error) {
	object := Kinds[kind](fmt.Sprintf("t%d", p.next()), playground.FromSecret(Namespace, source))
	return object, p.Add(ctx, object)
}

// Add creates a target.
func (p *Population) Add(ctx context.Context, object client.Object) error {
	if err := p.client().Create(ctx, object); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets++
	return nil
}

// RemoveTarget deletes a target.
func (p *Population) RemoveTarget(ctx context.Context, object client.Object) error {
	if err := p.client().Delete(ctx, object); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets--
	return nil
}

// Placeholder is what manifests have in the place of a caBundle.
const Placeholder = "\n"

// Blank writes a Placeholder into each caBundle of a target, as whoever applies its manifest again does.
func (p *Population) Blank(ctx context.Context, object client.Object) error {
	return Blank(ctx, p.client(), object)
}

// Blank does so through c.
func Blank(ctx context.Context, c client.Client, object client.Object) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		playground.SetCABundles(object, []byte(Placeholder))
		return c.Update(ctx, object)
	})
}
