package quiet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

// scenario is something that happens to a source and its targets.
type scenario struct {
	name string
	// slug is what its objects are called.
	slug string
	// play has it happen, and returns once all is right. It leaves in the act what is to be so in the end.
	play func(context.Context, *act) error
	// replicas is how many it takes.
	replicas int
	// uncounted says that certificates leave the targets before they expire, as the census must not see.
	uncounted bool
	// warns says that whoever looks after the targets is to be warned.
	warns bool
}

// stage is a world in which scenarios are played.
type stage struct {
	world    *trial.World
	census   *trial.Census
	replicas int

	mu   sync.Mutex
	acts []*act
}

// newStage starts a control plane with n replicas, each of which reaches the API server through a proxy of its own.
func newStage(t *testing.T, n int, values ...string) *stage {
	t.Helper()
	world := trialtest.World(t, interval, trial.Options{Program: binary, Replicas: n, Values: values, Proxies: true})
	s := &stage{world: world, census: trial.NewCensus(world.Client), replicas: n}
	go s.census.Run(t.Context())
	rendered, err := world.Control.RenderCertManager(t.Context(), []string{"crd-cert-manager.io_certificates"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := world.Control.Kubectl(t.Context(), rendered, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if _, err := world.Control.Kubectl(t.Context(), "", "wait", "--for=condition=Established", "--timeout=30s", "crd/certificates.cert-manager.io"); err != nil {
		t.Fatal(err)
	}
	return s
}

// playAll plays scenarios side by side.
func (s *stage) playAll(ctx context.Context, scenarios []scenario) {
	var all sync.WaitGroup
	for _, sc := range scenarios {
		all.Go(func() { s.play(ctx, sc) })
	}
	all.Wait()
}

// play plays a scenario. What was wrong is in the act.
func (s *stage) play(ctx context.Context, sc scenario) {
	a := &act{stage: s, scenario: sc, source: sc.slug, names: map[string]string{}}
	s.mu.Lock()
	s.acts = append(s.acts, a)
	s.mu.Unlock()
	a.err = sc.play(ctx, a)
}

// agree returns an error unless all replicas say the same of the same targets.
func (s *stage) agree(ctx context.Context) error {
	var first map[string]string
	var errs []error
	for n, replica := range s.world.Replicas.All() {
		states, err := targetStates(ctx, replica.MetricsPort)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case first == nil:
			first = states
			continue
		}
		all := maps.Clone(first)
		maps.Copy(all, states)
		for _, target := range slices.Sorted(maps.Keys(all)) {
			if first[target] != states[target] {
				errs = append(errs, fmt.Errorf("%s is %q in the metrics of replica 1, and %q in those of replica %d", target, first[target], states[target], n+1))
			}
		}
	}
	if len(errs) == 0 && len(first) == 0 {
		return errors.New("the replicas' metrics hold no target")
	}
	return errors.Join(errs...)
}

// targetStates returns what the metrics on a port of loopback say of each target: its state, and the reason if there is one.
func targetStates(ctx context.Context, port int) (map[string]string, error) {
	families, err := playground.Metrics(ctx, port)
	if err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, metric := range families["caject_target_state"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if metric.GetGauge().GetValue() == 1 {
			states[labels["kind"]+" "+labels["name"]] = strings.TrimSpace(labels["state"] + " " + labels["reason"])
		}
	}
	return states, nil
}

// alarms returns an error for each Warning that somebody got without having to do anything.
func (s *stage) alarms(ctx context.Context) error {
	var events corev1.EventList
	if err := s.world.Client.List(ctx, &events); err != nil {
		return err
	}
	expected := map[string]bool{} // the names of targets
	for _, a := range s.acts {
		for _, target := range a.allTargets() {
			expected[target.GetName()] = a.scenario.warns
		}
	}
	var errs []error
	for _, event := range events.Items {
		warns, isTarget := expected[event.InvolvedObject.Name]
		switch {
		case event.Type != corev1.EventTypeWarning:
		case slices.Contains([]string{"TargetRefused", "TargetContested", "TargetUnavailable"}, event.Reason), isTarget && !warns:
			errs = append(errs, fmt.Errorf("Warning %s about %s %s, %d times: %s",
				event.Reason, event.InvolvedObject.Kind, event.InvolvedObject.Name, max(event.Count, 1), event.Message))
		}
	}
	return errors.Join(errs...)
}
