package apiservers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// TestSeveralAPIServers has each do its work while nothing is wrong, and then something happen to one of them.
func TestSeveralAPIServers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.begin(t)
	r.each(t)
	span := spanOfEach(t)
	rows := r.tryAll(t, span)
	if span == 0 {
		r.quiet(t, shortSpan)
	}
	printTable(rows)
}

// each has the same done through each API server.
func (r *rig) each(t *testing.T) {
	for n, api := range r.Clients {
		t.Run(fmt.Sprintf("fills in the answer to a create, API server %d", n), func(t *testing.T) { filled(t, api, n) })
		t.Run(fmt.Sprintf("keeps what an update would lose, API server %d", n), func(t *testing.T) { r.kept(t, n) })
	}
	for n, server := range r.APIServers.All() {
		for m := range r.Clients {
			t.Run(fmt.Sprintf("rotated through API server %d, while all replicas read from %d", m, n), func(t *testing.T) {
				if err := r.APIServers.Gather(t.Context(), server, replicas); err != nil {
					t.Fatal(err)
				}
				r.pushed(t, m)
			})
		}
	}
}

// filled fails the test unless objects of each kind are filled in the answer to their create; none is stored.
func filled(t *testing.T, api client.Client, n int) {
	t.Helper()
	for kind := range trial.Kinds {
		err := playground.Eventually(t.Context(), patience, 100*time.Millisecond, func(ctx context.Context) error {
			object := trial.Kinds[kind](fmt.Sprintf("dry%d-%d", n, kind), playground.FromSecret(trial.Namespace, sources[0]))
			if err := api.Create(ctx, object, client.DryRunAll); err != nil {
				return err
			}
			for _, bundle := range playground.CABundles(object) {
				if len(bundle) == 0 {
					return fmt.Errorf("%T is not filled in the answer", object)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// kept fails the test unless a target whose source cannot be used keeps what it holds, although somebody applies a placeholder.
func (r *rig) kept(t *testing.T, n int) {
	t.Helper()
	ca, api := playground.NewCA("kept"), r.Clients[n]
	for kind := range trial.Kinds {
		object := trial.Kinds[kind](fmt.Sprintf("kept%d-%d", n, kind), playground.FromSecret(trial.Namespace, "missing"))
		playground.SetCABundles(object, ca)
		if err := r.Clients[0].Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if err := trial.Blank(t.Context(), api, object); err != nil {
			t.Fatal(err)
		}
		if err := playground.Holds(object, ca); err != nil {
			t.Errorf("%T: %v", object, err)
		}
		if err := api.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// pushed fails the test unless all targets follow a rotation long before the next round.
func (r *rig) pushed(t *testing.T, through int) {
	t.Helper()
	began := time.Now()
	r.population.Through(r.Clients[through])
	if err := r.population.Rotate(t.Context(), sources[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.right(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if took > interval/2 {
		t.Error("no hint was followed")
	}
	t.Logf("all right after %s", took.Round(time.Millisecond))
}
