package quiet

import (
	"context"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// TestARotationIsReadOnce has the periodic loop notice a rotation, and counts how often the Secret is read until all its targets
// are right: not once for each of them.
func TestARotationIsReadOnce(t *testing.T) {
	t.Parallel()
	webhookConfigurations := trial.Kinds[2:]
	for sentence, test := range map[string]struct {
		policy string
		kinds  []trial.Kind
	}{
		"webhook configurations with policies":    {"true", webhookConfigurations},
		"webhook configurations without policies": {"false", webhookConfigurations},
		// Where the policies do not fill a CRD or an APIService, admission does, which reads the Secret.
		"all kinds with policies":    {"true", trial.Kinds},
		"all kinds without policies": {"false", trial.Kinds},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			readOnce(t, test.policy, test.kinds)
		})
	}
}

func readOnce(t *testing.T, policy string, kinds []trial.Kind) {
	t.Helper()
	const (
		targets = 40
		often   = 2 * time.Second
		spare   = 2 // reads beyond one per interval
	)
	s := newStage(t, 1, "hints.enabled=false", "resyncInterval="+often.String(), "policy.enabled="+policy)
	control := s.world.Control
	a := &act{stage: s, source: "once", names: map[string]string{}, scenario: scenario{name: "once", slug: "once"}}
	first, second := a.ca("1"), a.ca("2")
	if err := a.crowd(t.Context(), targets, kinds, first); err != nil {
		t.Fatal(err)
	}
	quiet, err := s.world.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), control, 3*often, restless); err != nil {
		t.Fatal(err)
	}
	admitted, err := s.admissionReads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	from, err := control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.rotate(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := s.right(t.Context(), targets); err != nil {
		t.Fatal(err)
	}
	to, err := control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.admissionReads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.hold(t.Context(), must(first, second)); err != nil {
		t.Fatal(err)
	}
	requests, err := control.Requests(from, to)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	for _, request := range requests {
		if request.Verb == "get" && request.Object() == "secrets "+a.key().String() {
			reads++
		}
	}
	admitted = after - admitted
	took := to.At.Sub(from.At)
	t.Logf("%d reads of the Secret, %d of them at admission, in the %s from its change until all %d targets were right; it is read every %s or so",
		reads, admitted, took.Round(time.Millisecond), targets, often)
	if most := int(took/often) + 1 + spare; reads-admitted > most {
		t.Errorf("the Secret was read %d times besides at admission, where %d would do", reads-admitted, most)
	}
}

// admissionReads returns how often admission has read a source, by the metrics of all replicas.
func (s *stage) admissionReads(ctx context.Context) (n int, err error) {
	for _, replica := range s.world.Replicas.All() {
		families, err := playground.Metrics(ctx, replica.MetricsPort)
		if err != nil {
			return 0, err
		}
		for _, metric := range families["caject_source_reads_total"].GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "path" && label.GetValue() == "admission" {
					n += int(metric.GetCounter().GetValue())
				}
			}
		}
	}
	return n, nil
}
