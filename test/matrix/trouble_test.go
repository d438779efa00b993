package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// trouble is something that the admin, or an accident, does to the shards.
type trouble struct {
	name string
	// times is how often it is done, half a second after the other.
	times int
	do    func(context.Context, client.Client) error
}

// editing is a trouble that changes each shard.
func editing(change func(*corev1.PodTemplate)) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error { return edit(ctx, c, change) }
}

// troubles are tried while targets are created all the time.
var troubles = []trouble{
	{name: "the shards are deleted", times: 4, do: remove},
	{name: "the shards are moved to other names", times: 2, do: move},
	{name: "entries are taken out", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		clear(attributes(shard, 0))
	})},
	{name: "entries are made what is not base64", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		for source := range attributes(shard, 0) {
			attributes(shard, 0)[source] = "!? ?!"
		}
	})},
	{name: "entries are cut in half", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		for source, entry := range attributes(shard, 0) {
			attributes(shard, 0)[source] = entry[:len(entry)/8*4+1] // not base64 any more, which a policy can see
		}
	})},
	{name: "histories are made nonsense", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		for source := range attributes(shard, 1) {
			attributes(shard, 1)[source] = "{"
		}
	})},
	{name: "the volumes are taken out", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		shard.Template.Spec.Volumes = nil
	})},
	{name: "the label is taken away", times: 2, do: editing(func(shard *corev1.PodTemplate) {
		shard.Labels = nil
	})},
}

// TestShardsUnderLoad has things happen to the shards while targets are created and sources rotated all the time. No create fails, all
// targets are right in the end, and so are the shards.
func TestShardsUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	world := newWorld(t, 2)
	c, names := newCrowd(ctx, world.Client), sources(8)
	if err := c.begin(ctx, world.Client, names); err != nil {
		t.Fatal(err)
	}
	if err := c.published(ctx, world.Client); err != nil {
		t.Fatal(err)
	}
	t.Run("nobody but caject writes them", func(t *testing.T) {
		if err := guarded(ctx, world.Client); err != nil {
			t.Error(err)
		}
	})
	if err := unguard(ctx, world.Client); err != nil {
		t.Fatal(err)
	}
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			stop := c.load(ctx, world.Client, world.Client, names)
			for range trouble.times {
				if err := trouble.do(ctx, world.Client); err != nil {
					t.Error(err)
				}
				pauseFor(ctx, 500*time.Millisecond)
			}
			stop()
			c.settled(t, world.Client)
		})
	}
	t.Run("the shards are full", func(t *testing.T) { c.fillUp(t, world, names) })
	t.Run("an entry is made a foreign certificate", func(t *testing.T) { c.intrude(t, world) })
	t.Run("a backup of another cluster is restored", func(t *testing.T) { c.restoreForeign(t, world, names) })
}

// settled fails the test unless all is right now, or soon.
func (c *crowd) settled(t *testing.T, api client.Client) {
	t.Helper()
	if err := c.right(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.published(t.Context(), api); err != nil {
		t.Error(err)
	}
	c.review(t)
}

// fillUp has sources with large bundles named, and rotated, under load: what does not fit into a shard goes to another one.
func (c *crowd) fillUp(t *testing.T, world *trial.World, names []string) {
	ctx := t.Context()
	stop := c.load(ctx, world.Client, world.Client, names)
	defer stop()
	all := make([]bulky, 14)
	for n := range all {
		all[n] = bulky{api: world.Client, name: fmt.Sprintf("bulky%d", n), first: largeCA(2 * n), second: largeCA(2*n + 1)}
		if err := all[n].create(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range all {
		if err := errors.Join(b.holds(ctx, b.first), b.rotate(ctx)); err != nil {
			t.Error(err)
		}
	}
	for _, b := range all {
		if err := b.holds(ctx, b.first, b.second); err != nil {
			t.Error(err)
		}
	}
	stop()
	c.settled(t, world.Client)
	parts, err := shardsOf(ctx, world.Client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		if size := parts[i].Size(); size > 1<<20 {
			t.Errorf("%s has %d bytes", parts[i].Name, size)
		}
	}
	t.Logf("%d shards", len(parts))
}

// bulky is a source with so many certificates that a shard holds only a few of its kind, and its target.
type bulky struct {
	api           client.Client
	name          string
	first, second []byte
}

func (b *bulky) target() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return playground.NewValidating(b.name, 1, playground.FromSecret(trial.Namespace, b.name))
}

func (b *bulky) create(ctx context.Context) error {
	if err := b.api.Create(ctx, playground.NewSecret(trial.Namespace, b.name, b.first)); err != nil {
		return err
	}
	return b.api.Create(ctx, b.target())
}

func (b *bulky) rotate(ctx context.Context) error {
	return b.api.Update(ctx, playground.NewSecret(trial.Namespace, b.name, b.second))
}

// holds returns once the target holds all that is wanted.
func (b *bulky) holds(ctx context.Context, want ...[]byte) error {
	return eventually(ctx, patience, func(ctx context.Context) error {
		target := b.target()
		if err := b.api.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
			return err
		}
		held := string(playground.CABundles(target)[0])
		for _, ca := range want {
			if !strings.Contains(held, string(ca)) {
				return fmt.Errorf("%s does not hold all that its source had: %d bytes", b.name, len(held))
			}
		}
		return nil
	})
}

// largeCA returns certificates of some 24 KiB in all, in PEM: two such bundles are less than a source may have published.
func largeCA(n int) (bundle []byte) {
	for m := 0; len(bundle) < 24<<10; m++ {
		bundle = append(bundle, playground.NewCA(strings.Repeat("x", 50)+fmt.Sprint(n, m))...)
	}
	return bundle
}

// intrude puts a foreign certificate into an entry of which no target is created meanwhile: no target gets it.
func (c *crowd) intrude(t *testing.T, world *trial.World) {
	ctx := t.Context()
	const name = "intruded"
	if err := c.begin(ctx, world.Client, []string{name}); err != nil {
		t.Fatal(err)
	}
	if err := c.published(ctx, world.Client); err != nil {
		t.Fatal(err)
	}
	intruder := *encoded(string(playground.NewCA("intruder")))
	if err := edit(ctx, world.Client, func(shard *corev1.PodTemplate) {
		if _, ok := attributes(shard, 0)[sourceKey(name)]; ok {
			attributes(shard, 0)[sourceKey(name)] = intruder
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.published(ctx, world.Client); err != nil {
		t.Error(err)
	}
	if err := c.create(ctx, world.Client, 2, name); err != nil {
		t.Error(err)
	}
	c.settled(t, world.Client)
}

// restoreForeign puts shards of another cluster in place of those that are there, while caject is away.
func (c *crowd) restoreForeign(t *testing.T, world *trial.World, names []string) {
	ctx := t.Context()
	for _, replica := range world.Replicas.All() {
		if err := world.Replicas.StopGently(replica); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := *encoded(string(playground.NewCA("of another cluster")))
	if err := edit(ctx, world.Client, func(shard *corev1.PodTemplate) {
		shard.Annotations[clusterAnnotation] = "4f2a8a0e-0000-4000-8000-000000000000"
		for source := range attributes(shard, 0) {
			attributes(shard, 0)[source] = elsewhere
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := world.Start(); err != nil {
			t.Fatal(err)
		}
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := world.Replicas.WaitReady(wait); err != nil {
		t.Fatal(err)
	}
	if err := c.published(ctx, world.Client); err != nil {
		t.Fatal(err)
	}
	stop := c.load(ctx, world.Client, world.Client, names)
	pauseFor(ctx, 2*time.Second)
	stop()
	c.settled(t, world.Client)
}
