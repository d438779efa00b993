// Package apiservers runs caject beside several kube-apiservers on one etcd, as in a control plane that is highly available: what is written
// through one is hinted at by it and read through another, whose caches are behind; each evaluates the policies by itself; and one of them is
// slow, silent, frozen, killed or behind for a while, the one that all replicas are connected to. Whatever happens, all is right soon, also
// while it lasts, and then nothing is written.
//
// APISERVERS is how many there are, 2 by default. APISERVERS_SPAN is how long nothing changes after each trouble; without it that is looked
// at once, after all of them.
package apiservers

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// interval is the replicas' --resync-interval: so long that what is right before was not found by a round.
	interval = time.Minute
	// patience is how long anything may take; others run beside the tests.
	patience = 40 * time.Second
	// replicas is how many caject run.
	replicas = 2
	// calm is for how long nothing is written before the quiet span begins, and restless how long that may take to come.
	calm, restless = 5 * time.Second, time.Minute
	// shortSpan is how long nothing changes after all troubles.
	shortSpan = 10 * time.Second
)

// binary is caject, built with the race detector.
var binary string

func TestMain(m *testing.M) { trialtest.Main(m, &binary) }

// rig is a world with several API servers.
type rig struct {
	*trial.World
	census     *trial.Census
	population *trial.Population
}

// newRig starts all.
func newRig(t *testing.T, args ...string) *rig {
	t.Helper()
	n, err := trialtest.Number("APISERVERS", 2)
	if err != nil || n < 2 {
		t.Fatalf("APISERVERS is %q, not a number from 2", os.Getenv("APISERVERS"))
	}
	r := &rig{World: trialtest.World(t, interval, trial.Options{Program: binary, Replicas: replicas, APIServers: n, Args: args})}
	r.census = trial.NewCensus(r.Client)
	go r.census.Run(t.Context())
	r.population = trial.NewPopulation(r.census, r.Clients...)
	return r
}

// last is the API server that something happens to.
func (r *rig) last() *playground.APIServer { return r.APIServers.All()[len(r.Clients)-1] }

// right waits until all targets hold what their sources do, and caject says so.
func (r *rig) right(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := r.WaitHealthy(wait, r.census, r.population.Targets())
	if _, seen := r.census.Result(); seen != nil {
		err = errors.Join(err, seen)
	}
	return err
}

// quiet fails the test unless caject is silent for span.
func (r *rig) quiet(t *testing.T, span time.Duration) {
	t.Helper()
	quiet, err := r.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), r.Control, calm, restless); err != nil {
		t.Fatal(err)
	}
	silence, err := quiet.Watch(t.Context(), r.Control, span)
	if err != nil {
		t.Error(err)
	}
	t.Log(silence)
}

// sources are what all targets of the rig name.
var sources = []string{"source0", "source1", "source2"}

// begin makes sources, and a target of each kind for each.
func (r *rig) begin(t *testing.T) {
	t.Helper()
	for _, source := range sources {
		if err := r.population.AddSource(t.Context(), source); err != nil {
			t.Fatal(err)
		}
		for kind := range trial.Kinds {
			if _, err := r.population.AddTarget(t.Context(), kind, source); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.right(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// changed creates a target of each source, rotates that and applies the target again with a placeholder, in turn through each of some API
// servers, and waits until all is right.
func (r *rig) changed(ctx context.Context, through []client.Client) error {
	r.population.Through(through...)
	for n, source := range sources {
		target, err := r.population.AddTarget(ctx, n%len(trial.Kinds), source)
		if err != nil {
			return err
		}
		if err := r.population.Rotate(ctx, source); err != nil {
			return err
		}
		if err := r.population.Blank(ctx, target); err != nil {
			return err
		}
	}
	return r.right(ctx)
}
