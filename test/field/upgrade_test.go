package field

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

// formerChart is the chart before it got most of its values, as helm packaged it, with a lower version.
const formerChart = "testdata/caject-0.0.1.tgz"

// "Rolling back causes injector outage", "caBundle is missing" (istio/istio#33317), "helm rollback wedges with zero Ready pods"
// (NVIDIA/nodewright#469): caject's chart goes from a former version to today's, back, forward again, away, and comes at once again. Nobody
// loses a bundle at any moment, caject's own configurations included, and each rotation is followed.
func TestRollingBackCausesAnInjectorOutage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"helm3", "helm4"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := formerRelease(t, name)
			// "Upgrading with existing values fails with 'nil pointer evaluating interface'" (argoproj/argo-helm#1114): with all values of the
			// former chart, those that are new are not there. Nothing is changed.
			if err := r.helm(t, "upgrade", "caject", r.chart, "--reuse-values"); err == nil || !strings.Contains(err.Error(), "nil pointer") {
				t.Errorf("helm upgrade --reuse-values says %v", err)
			}
			r.follows(t)
			for _, step := range [][]string{
				{"upgrade", "caject", r.chart, "--reset-then-reuse-values"}, {"rollback", "caject", "1"}, {"upgrade", "caject", r.chart, "--reset-then-reuse-values"},
			} {
				r.step(t, step...)
			}
			if _, err := r.own.Result(); err != nil {
				t.Error(err)
			}
			r.comesAgain(t)
			r.quiet(t)
		})
	}
}

// release is caject's, by one version of helm, in a cluster of its own with a garbage collector.
type release struct {
	*field
	run        func(context.Context, ...string) (playground.Output, error)
	values     []string
	chart      string // today's
	population *trial.Population
	own        *trial.Census // of caject's own configurations
}

// formerRelease installs the former chart, and makes a source with a target of each kind.
func formerRelease(t *testing.T, helm string) *release {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	r := &release{chart: filepath.Join(root, "charts", "caject")}
	options, err := optionsOf(true)
	if err != nil {
		t.Fatal(err)
	}
	options.Replicas = 1 // another one is started beside it in each step
	options.Install = func(ctx context.Context, control *playground.ControlPlane, values ...string) (*playground.Installation, error) {
		r.run = map[string]func(context.Context, ...string) (playground.Output, error){"helm3": control.Helm3, "helm4": control.Helm}[helm]
		installation, err := playground.NewInstallation(control)
		if err != nil {
			return nil, err
		}
		r.values = slices.Concat(installation.Values(), values)
		if err := r.install(ctx, formerChart); err != nil {
			return nil, err
		}
		return installation, installation.Read(ctx, control)
	}
	r.field = watched(t.Context(), trialtest.World(t, interval, options), true)
	r.collectGarbage(t)
	r.population = trial.NewPopulation(r.census, r.Client)
	if err := r.population.AddSource(t.Context(), "upgraded"); err != nil {
		t.Fatal(err)
	}
	for kind := range trial.Kinds {
		if _, err := r.population.AddTarget(t.Context(), kind, "upgraded"); err != nil {
			t.Fatal(err)
		}
	}
	r.follows(t)
	r.own = trial.NewCensus(r.Client)
	ca := &corev1.Secret{}
	key := client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}
	if err := r.Client.Get(t.Context(), key, ca); err != nil {
		t.Fatal(err)
	}
	r.own.Expect(key.String(), ca.Data["ca.crt"])
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go r.own.Run(ctx)
	return r
}

// install has helm install a chart.
func (r *release) install(ctx context.Context, chart string) error {
	args := []string{"install", "caject", chart, "--namespace", playground.Namespace, "--create-namespace"}
	for _, value := range r.values {
		args = append(args, "--set", value)
	}
	_, err := r.run(ctx, args...)
	return err
}

// helm runs helm on the release.
func (r *release) helm(t *testing.T, args ...string) error {
	t.Helper()
	_, err := r.run(t.Context(), append(args, "--namespace", playground.Namespace)...)
	return err
}

// step has helm change the release. caject is replaced by one with the arguments that it has then.
func (r *release) step(t *testing.T, args ...string) {
	t.Helper()
	if err := r.helm(t, args...); err != nil {
		t.Fatal(err)
	}
	r.follows(t) // former pods, under the new rights
	if err := errors.Join(r.Installation.Read(t.Context(), r.Control), r.Roll(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.follows(t)
}

// follows rotates the source, and fails the test unless all targets follow, and caject says so.
func (r *release) follows(t *testing.T) {
	t.Helper()
	if err := r.population.Rotate(t.Context(), "upgraded"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := r.WaitHealthy(ctx, r.census, r.population.Targets()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.census.Result(); err != nil {
		t.Fatal(err)
	}
}

// comesAgain uninstalls caject, which leaves nothing but bundles, and installs it at once.
func (r *release) comesAgain(t *testing.T) {
	t.Helper()
	if err := r.helm(t, "uninstall", "caject"); err != nil {
		t.Fatal(err)
	}
	for _, replica := range r.Replicas.All() {
		if err := r.Replicas.StopGently(replica); err != nil {
			t.Log(err)
		}
	}
	eventually(t, "nothing is left", r.nothing)
	if err := r.census.Wrong(r.population.Targets()); err != nil {
		t.Error("without caject:", err)
	}
	if err := errors.Join(r.install(t.Context(), r.chart), r.Installation.Read(t.Context(), r.Control)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.follows(t)
}
