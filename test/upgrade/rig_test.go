package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

// sources are rotated in turn.
const sources = 4

// rig is a world whose API server is replaced, and what happens in it.
type rig struct {
	world      *trial.World
	census     *trial.Census
	population *trial.Population
	turn       int // how many targets were created
	unanswered int // of these, those whose create was never answered
	rows       []row
}

func newRig(t *testing.T, version string) *rig {
	t.Helper()
	world := trialtest.World(t, interval, trial.Options{Program: program, Replicas: replicas, APIServer: apiServer(t, version)})
	r := &rig{world: world, census: trial.NewCensus(world.Client)}
	go r.census.Run(t.Context())
	r.population = trial.NewPopulation(r.census, world.Client)
	for n := range sources {
		if err := r.population.AddSource(t.Context(), source(n)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func source(n int) string { return fmt.Sprintf("source%d", n%sources) }

func apiServer(t *testing.T, version string) string {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	path, err := playground.APIServerOf(root, version)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// values are those of the chart.
func (r *rig) values() []string {
	return []string{fmt.Sprintf("replicaCount=%d", replicas), "resyncInterval=" + interval.String()}
}

// replace kills the API server and starts one of another version, and returns how long there was none.
func (r *rig) replace(t *testing.T, version string) time.Duration {
	t.Helper()
	began := time.Now()
	if err := r.world.Control.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	r.world.Control.Configure(playground.UseAPIServer(apiServer(t, version)))
	if err := r.world.Control.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// churn creates a target and rotates a source each second, until the function that it returns is called.
func (r *rig) churn(t *testing.T) (pause func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if err := r.change(context.WithoutCancel(ctx)); err != nil {
				ended <- err
				return
			}
			_ = playground.Sleep(ctx, time.Second)
		}
		ended <- nil
	}()
	_ = playground.Sleep(ctx, 3*time.Second)
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// change tries each until it succeeds: the API server may be away.
func (r *rig) change(ctx context.Context) error {
	n := r.turn
	r.turn++
	target := trial.Kinds[n%len(trial.Kinds)](fmt.Sprintf("target%d", n), playground.FromSecret(trial.Namespace, source(n/len(trial.Kinds))))
	err := playground.Eventually(ctx, timeout, 100*time.Millisecond, func(ctx context.Context) error {
		err := r.population.Add(ctx, target.DeepCopyObject().(client.Object))
		if apierrors.IsAlreadyExists(err) {
			r.unanswered++
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", target.GetName(), err)
	}
	return playground.Eventually(ctx, timeout, 100*time.Millisecond, func(ctx context.Context) error { return r.population.Rotate(ctx, source(n)) })
}

func (r *rig) targets() int { return r.population.Targets() + r.unanswered }

// right fails the test unless all targets get right, and caject says so.
func (r *rig) right(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := r.world.WaitHealthy(ctx, r.census, r.targets()); err != nil {
		t.Fatal(err)
	}
}

// served reports whether the API server serves policies.
func (r *rig) served(t *testing.T) bool {
	t.Helper()
	served, err := playground.ServesPolicies(r.world.Control.Config)
	if err != nil {
		t.Fatal(err)
	}
	return served
}

// uses reports whether caject counts on policies.
func (r *rig) uses() bool { return slices.Contains(r.world.Installation.Args, "--admission-policy") }

// suggested fails the test unless each caject says that helm upgrade would install policies, if they are served and there are none.
func (r *rig) suggested(t *testing.T, served bool) {
	t.Helper()
	want := 0
	if served && !r.uses() {
		want = 1
	}
	for n, replica := range r.world.Replicas.All() {
		eventually(t, fmt.Sprintf("caject %d: helm upgrade", n), func(ctx context.Context) error {
			families, err := playground.Metrics(ctx, replica.MetricsPort)
			if err != nil {
				return err
			}
			said := replica.Logged("serves MutatingAdmissionPolicies", "helm upgrade")
			unused := families["caject_admission_policies_unused"].GetMetric()[0].GetGauge().GetValue()
			if said != want || unused != float64(want) {
				return fmt.Errorf("it is said %d times, not %d; the metric is %v", said, want, unused)
			}
			return nil
		})
	}
}

// upgrade is helm upgrade with the same values. While an API server starts, it refuses some of it.
func (r *rig) upgrade(t *testing.T) {
	t.Helper()
	eventually(t, "helm upgrade", func(ctx context.Context) error {
		return r.world.Installation.Upgrade(ctx, r.world.Control, r.values()...)
	})
	r.installed(t)
}

// installed fails the test unless the chart has policies where they are served, and nowhere else.
func (r *rig) installed(t *testing.T) {
	t.Helper()
	if used, served := r.uses(), r.served(t); used != served {
		t.Fatalf("policies are served: %t, caject uses them: %t", served, used)
	}
}

// roll replaces one caject after the other by one with the chart's arguments.
func (r *rig) roll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), replicas*timeout)
	defer cancel()
	if err := r.world.Roll(ctx); err != nil {
		t.Fatal(err)
	}
}

// policies waits until policies fill, if there are any, and returns for how many kinds.
func (r *rig) policies(t *testing.T, served bool) int {
	t.Helper()
	kinds, err := playground.PolicyKinds(t.Context(), r.world.Client, playground.Fill)
	if err != nil {
		t.Fatal(err)
	}
	if served != slices.Contains(kinds, cabundle.MutatingWebhookConfiguration) {
		t.Fatalf("policies are served: %t; they fill %q", served, kinds)
	}
	if !served {
		return 0
	}
	eventually(t, "fill by policy", func(ctx context.Context) error {
		probe := playground.NewMutating("probe", 1, playground.FromSecret(trial.Namespace, source(0)))
		if err := r.world.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if len(playground.CABundles(probe)[0]) == 0 {
			return errors.New("it is empty in the answer to the create")
		}
		return nil
	})
	return len(kinds)
}

// quiet fails the test unless caject comes to rest.
func (r *rig) quiet(t *testing.T) playground.Silence {
	t.Helper()
	span := 10 * time.Second
	if text := os.Getenv("UPGRADE_SPAN"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	quiet, err := r.world.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), r.world.Control, calm, restless); err != nil {
		t.Fatal(err)
	}
	silence, err := quiet.Watch(t.Context(), r.world.Control, span)
	if err != nil {
		t.Error(err)
	}
	return silence
}

// refused fails the test if anybody was told that a target is refused: none was ever wrong.
func (r *rig) refused(t *testing.T) {
	t.Helper()
	var events corev1.EventList
	if err := r.world.Client.List(t.Context(), &events); err != nil {
		t.Fatal(err)
	}
	for _, event := range events.Items {
		if event.Reason == string(cabundle.TargetRefused) {
			t.Errorf("%s %s: %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Message)
		}
	}
}

// eventually fails the test unless condition gets true.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), timeout, 100*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
