// Package chaos has things go wrong around caject, with real processes, and sees that all is right soon after: every target
// holds what its source does, at no time was one half written or did it lose a certificate, and caject is ready and has no more
// goroutines and memory than before.
//
// CHAOS_ROUNDS says how often each fault is tried: without it once, in a short form, and with the race detector in caject; with
// it, caject is as it is released, and is to be back within ten seconds. CHAOS_REPLICAS is how many caject run, CHAOS_APISERVERS how many
// kube-apiservers on one etcd: what changes is written through each in turn.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// promised is how soon after a fault all is right, on a machine that does nothing else.
	promised = 10 * time.Second
	// patience is how long the short form waits, which others run beside.
	patience = 40 * time.Second
	// sources are rotated by each fault.
	sources = 5
	// quietSpan is how long nothing changes after all faults, once nothing was written for as long as calm, or restless is over.
	quietSpan, calm, restless = 20 * time.Second, 10 * time.Second, time.Minute
	// spareGoroutines, and spareMemory or with the race detector spareWithRace (bytes), are how much more caject may have after a
	// fault than before all of them: it keeps some connections, the bundles grow, and Go gives back memory when it likes.
	spareGoroutines = 30
	// givenBack is within what time memory that is not used any more is given back: a process that does little collects every two
	// minutes, and what it has found it gives back bit by bit.
	givenBack     = 4 * time.Minute
	spareMemory   = 16 << 20
	spareWithRace = 128 << 20
)

// rig is a world whose caject reaches the API server through a proxy.
type rig struct {
	world      *trial.World
	proxy      *trial.Proxy
	census     *trial.Census
	population *trial.Population
	caBefore   string // the CA that must be there again; empty if any will do
	// spareMemory is how much more, in bytes, all caject together may take after a fault.
	spareMemory int64
}

// row is what came of one fault.
type row struct {
	tried         int
	worst         time.Duration
	before, after trial.Use
}

func TestFaults(t *testing.T) {
	rounds, limit := setting(t, "CHAOS_ROUNDS", 0), promised
	long := rounds > 0
	if !long {
		rounds, limit = 1, patience
	}
	r := newRig(t, trial.Options{Replicas: setting(t, "CHAOS_REPLICAS", 1), APIServers: setting(t, "CHAOS_APISERVERS", 1)}, long)
	rested, err := r.world.Use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	faults := r.faults(long)
	rows := make([]row, len(faults))
	for range rounds {
		for i, f := range faults {
			t.Run(f.name, func(t *testing.T) { r.try(t, f, &rows[i], rested, limit) })
			if t.Failed() {
				t.Fatal("what follows would be about a caject that is not well")
			}
		}
	}
	silence := r.quiet(t)
	states, err := r.census.Result()
	if err != nil {
		t.Fatal(err)
	}
	printTable(faults, rows, states, silence)
}

// quiet fails the test unless caject is silent after all that has happened, two rotations at once being the last of it.
func (r *rig) quiet(t *testing.T) playground.Silence {
	t.Helper()
	for range 2 {
		if err := r.rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.wait(t, patience)
	quiet, err := r.world.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), r.world.Control, calm, restless); err != nil {
		t.Fatal(err)
	}
	silence, err := quiet.Watch(t.Context(), r.world.Control, quietSpan)
	if err != nil {
		t.Error(err)
	}
	return silence
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	n, err := trialtest.Number(name, otherwise)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// newRig starts all, caject with the race detector unless it is to be as released, with targets of each kind for each source.
func newRig(t *testing.T, o trial.Options, released bool) *rig {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "caject")
	r, flags := &rig{spareMemory: int64(spareMemory * o.Replicas)}, []string{}
	if !released {
		r.spareMemory, flags = int64(spareWithRace*o.Replicas), []string{"-race"}
	}
	if err := playground.BuildCaject(t.Context(), root, program, flags...); err != nil {
		t.Fatal(err)
	}
	o.Program, o.Before = program, r.interpose
	r.world, err = trial.NewWorld(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.world.Logs())
		}
		if err := r.world.Close(); err != nil {
			t.Error(err)
		}
		r.proxy.Close()
	})
	r.census = trial.NewCensus(r.world.Client)
	r.population = trial.NewPopulation(r.census, r.world.Clients...)
	go r.census.Run(t.Context())
	for n := range sources {
		if err := r.population.AddSource(t.Context(), source(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.addTargets(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wait(t, patience)
	return r
}

// interpose has caject reach the API server through a proxy.
func (r *rig) interpose(w *trial.World) error {
	var err error
	if r.proxy, err = trial.NewProxy(w.Control.Entrance()); err != nil {
		return err
	}
	return r.proxy.Kubeconfig(w.Installation.Kubeconfig, w.Installation.Kubeconfig)
}

func source(n int) string { return fmt.Sprintf("source%d", n) }

// addTargets creates a target of each kind for each source.
func (r *rig) addTargets(ctx context.Context) error {
	for n := range sources {
		for kind := range trial.Kinds {
			if _, err := r.population.AddTarget(ctx, kind, source(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotate gives each source another CA.
func (r *rig) rotate(ctx context.Context) error {
	for n := range sources {
		if err := eventually(ctx, time.Minute, func() error { return r.population.Rotate(ctx, source(n)) }); err != nil {
			return err
		}
	}
	return nil
}

// try has one fault happen, with changes before, meanwhile and after.
func (r *rig) try(t *testing.T, f fault, row *row, rested trial.Use, limit time.Duration) {
	ctx := t.Context()
	before, err := r.world.Use(ctx)
	if err != nil {
		t.Fatal(err)
	}
	do := func(what func(context.Context) error) {
		t.Helper()
		if what == nil {
			return
		}
		if err := what(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var gone client.Object
	do(func(ctx context.Context) (err error) {
		gone, err = r.population.AddTarget(ctx, rand.IntN(len(trial.Kinds)), source(0))
		return err
	})
	if f.apiServerAway {
		do(r.rotate) // caject has begun to act on it
	}
	r.caBefore = ""
	do(f.begin)
	over := time.After(f.lasts)
	if !f.apiServerAway {
		do(r.rotate)
		do(func(ctx context.Context) error { return r.population.RemoveTarget(ctx, gone) })
		do(func(ctx context.Context) error {
			_, err := r.population.AddTarget(ctx, rand.IntN(len(trial.Kinds)), source(1))
			return err
		})
	}
	do(f.during)
	<-over
	do(f.end)
	ended := time.Now()
	if f.apiServerAway {
		do(r.rotate)
	}
	r.wait(t, limit)
	row.tried++
	row.worst = max(row.worst, time.Since(ended))
	row.before, row.after = before, r.settled(t, rested)
}

// wait fails the test unless all is right within limit.
func (r *rig) wait(t *testing.T, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := r.world.WaitHealthy(ctx, r.census, r.population.Targets())
	if err == nil && r.caBefore != "" {
		secret, readErr := r.caSecret(t.Context())
		if err = readErr; err == nil && string(secret.Data["ca.crt"]) != r.caBefore {
			err = errors.New("caject has made another CA, although it held the one before")
		}
	}
	if err != nil {
		t.Fatalf("after %s: %v", limit, err)
	}
	if _, err := r.census.Result(); err != nil {
		t.Fatal(err)
	}
}

// settled returns what caject takes once it is about what it was, and fails the test if that does not come.
func (r *rig) settled(t *testing.T, rested trial.Use) (use trial.Use) {
	t.Helper()
	if err := eventually(t.Context(), givenBack, func() (err error) {
		if use, err = r.world.Use(t.Context()); err != nil {
			return err
		}
		if use.Goroutines > rested.Goroutines+spareGoroutines || use.Memory.Anonymous > rested.Memory.Anonymous+r.spareMemory {
			return fmt.Errorf("caject takes %+v, before all faults %+v", use, rested)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return use
}

// printTable shows what came of each fault.
func printTable(faults []fault, rows []row, states int, silence playground.Silence) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\ttried\tworst time to heal\tgoroutines before, after\tRssAnon before, after")
	for i, f := range faults {
		fmt.Fprintf(table, "%s\t%d\t%.1f s\t%d, %d\t%d MB, %d MB\n", f.name, rows[i].tried, rows[i].worst.Seconds(),
			rows[i].before.Goroutines, rows[i].after.Goroutines, rows[i].before.Memory.Anonymous>>20, rows[i].after.Memory.Anonymous>>20)
	}
	_ = table.Flush()
	fmt.Printf("%d states of targets were looked at. None was half written, and none had lost a certificate.\n", states)
	fmt.Printf("After all faults: %s.\n", silence)
}
