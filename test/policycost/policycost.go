// Package policycost measures what the chart's policies cost each write of an object that can be a target, by the number of sources that are
// published. caject itself does not run.
package policycost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// Options say how much.
type Options struct {
	// Sources are how many are published, in rising order.
	Sources []int
	// Writes is how many writes of each sort are measured, with policies and without.
	Writes int
	// Rotations is how often one source is rotated in the end, and Pause is between two of them.
	Rotations int
	Pause     time.Duration
}

// shardBytes is what a shard holds at most, as those of caject do.
const shardBytes = 192 << 10

// published is the source that targets name; others are published beside it.
const published = "published"

// Run sends the same requests to two API servers by turns, one with the chart's policies and one without any, so that what else the machine
// does hits both, and writes a table of the difference to out.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "caject-policycost-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	with, err := start(ctx, filepath.Join(dir, "with"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, with.Stop()) }()
	without, err := start(ctx, filepath.Join(dir, "without"), "policy.enabled=false", "policy.warnings=false", "policy.restrict=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, without.Stop()) }()
	c := &cost{Options: o, config: with.Config, entry: playground.Entry(playground.NewCA(published), playground.NewCA("former"))}
	if c.with, err = playground.NewClient(with.Config); err != nil {
		return err
	}
	if c.without, err = playground.NewClient(without.Config); err != nil {
		return err
	}
	config := rest.CopyConfig(with.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + playground.Namespace + ":caject", Groups: []string{"system:masters"},
	}
	if c.caject, err = playground.NewClient(config); err != nil {
		return err
	}
	return c.run(ctx, out)
}

// start starts a control plane with the chart, and without its webhooks: caject does not run.
func start(ctx context.Context, dir string, values ...string) (*playground.ControlPlane, error) {
	root, err := playground.Root()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return nil, err
	}
	if _, err = playground.Install(ctx, control, append(values, "hints.enabled=false")...); err == nil {
		_, err = control.Kubectl(ctx, "", "delete", "mutatingwebhookconfiguration", "caject")
	}
	if err != nil {
		return nil, errors.Join(err, control.Stop())
	}
	return control, nil
}

// cost is a run.
type cost struct {
	Options
	config        *rest.Config // of the API server with policies
	with, without client.Client
	caject        client.Client // the policies take it for caject's
	entry         string        // of each source
	sources       int           // published so far
	shards        int
}

func (c *cost) run(ctx context.Context, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "sources\tshards\twrite\tn\twithout: p25\tmedian\twith policies: p25\tmedian\tmore: p25\tmedian\t")
	writes, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	none, err := heap(ctx, c.config)
	if err != nil {
		return err
	}
	for _, sources := range c.Sources {
		if err := c.publish(ctx, sources); err != nil {
			return err
		}
		for _, write := range writes {
			with, without, err := c.measure(ctx, write)
			if err != nil {
				return fmt.Errorf("%s: %w", write.what, err)
			}
			fmt.Fprintf(table, "%d\t%d\t%s\t%d", sources, c.shards, write.what, c.Writes)
			for _, d := range []time.Duration{
				quarter(without), half(without), quarter(with), half(with), quarter(with) - quarter(without), half(with) - half(without),
			} {
				fmt.Fprintf(table, "\t%.2f ms", float64(d)/float64(time.Millisecond))
			}
			fmt.Fprintln(table, "\t")
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return c.rotations(ctx, none, out)
}

// publish publishes so many sources in all, and returns once the policies fill from them.
func (c *cost) publish(ctx context.Context, sources int) error {
	entries := map[string]string{}
	size := 0
	flush := func() error {
		c.shards++
		shard := playground.NewShard(fmt.Sprintf("caject-published-%d", c.shards), entries)
		entries, size = map[string]string{}, 0
		return c.caject.Create(ctx, shard)
	}
	for ; c.sources < sources; c.sources++ {
		name := published
		if c.sources > 0 {
			name = fmt.Sprintf("other%d", c.sources)
		}
		entries["secret/team/"+name] = c.entry
		if size += len(name) + len(c.entry); size > shardBytes-len(c.entry) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(entries) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	last := "other" + fmt.Sprint(sources-1)
	if sources == 1 {
		last = published
	}
	for ctx.Err() == nil {
		probe := playground.NewValidating("probe", 1, playground.FromSecret("team", last))
		if err := c.with.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if len(playground.CABundles(probe)[0]) > 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// write is one sort of write.
type write struct {
	what   string
	object client.Object // as it is sent
	update bool
	filled bool // by a policy
}

// prepare stores what is updated, and returns the sorts of write.
func (c *cost) prepare(ctx context.Context) ([]write, error) {
	annotations := playground.FromSecret("team", published)
	ca := playground.NewCA("stored")
	crd := func(name string) client.Object { return playground.NewCRD(name, nil) }
	configuration := func(name string, annotations map[string]string, ca []byte) client.Object {
		object := playground.NewValidating(name, 2, annotations)
		playground.SetCABundles(object, ca)
		return object
	}
	for _, object := range []client.Object{configuration("plain", nil, ca), configuration("annotated", annotations, ca), crd("stored")} {
		for _, to := range []client.Client{c.with, c.without} {
			if err := to.Create(ctx, object.DeepCopyObject().(client.Object)); err != nil {
				return nil, err
			}
		}
	}
	return []write{
		{what: "create, not annotated", object: configuration("new", nil, nil)},
		{what: "create, filled", object: configuration("new", annotations, nil), filled: true},
		{what: "update, not annotated", object: configuration("plain", nil, ca), update: true},
		{what: "update, annotated, right", object: configuration("annotated", annotations, ca), update: true},
		{what: "update of a CRD, not annotated", object: crd("stored"), update: true},
	}, nil
}

// measure makes the write, with policies and without by turns, and returns how long each took.
func (c *cost) measure(ctx context.Context, w write) (with, without []time.Duration, err error) {
	once := func(to client.Client) (time.Duration, client.Object, error) {
		object := w.object.DeepCopyObject().(client.Object)
		if w.update {
			stored := w.object.DeepCopyObject().(client.Object)
			if err := to.Get(ctx, client.ObjectKeyFromObject(stored), stored); err != nil {
				return 0, nil, err
			}
			object.SetResourceVersion(stored.GetResourceVersion())
		}
		began := time.Now()
		if w.update {
			err = to.Update(ctx, object, client.DryRunAll)
		} else {
			err = to.Create(ctx, object, client.DryRunAll)
		}
		return time.Since(began), object, err
	}
	for n := range c.Writes + c.Writes/10 {
		for _, of := range []struct {
			client client.Client
			took   *[]time.Duration
			filled bool
		}{{c.with, &with, w.filled}, {c.without, &without, false}} {
			took, object, err := once(of.client)
			if err != nil {
				return nil, nil, err
			}
			if empty := len(playground.CABundles(object)[0]) == 0; w.filled && empty == of.filled {
				return nil, nil, fmt.Errorf("filled: %v", !empty)
			}
			if n >= c.Writes/10 { // the first ones warm up
				*of.took = append(*of.took, took)
			}
		}
	}
	slices.Sort(with)
	slices.Sort(without)
	return with, without, nil
}

func quarter(sorted []time.Duration) time.Duration { return sorted[len(sorted)/4] }
func half(sorted []time.Duration) time.Duration    { return sorted[len(sorted)/2] }
