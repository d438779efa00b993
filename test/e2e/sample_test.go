package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caject/caject/test/playground"
)

// sampled are the families that alerts and dashboard ask for, by prefix.
var sampled = []string{"caject_", "controller_runtime_webhook_requests_total", "controller_runtime_webhook_latency_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "rest_client_requests_total"}

// TestTheAlertsAreTriedOnWhatIsServed compares test/monitoring/testdata/metrics.txt, on which alerts and dashboard are tried, with what is
// served: names, types and labels. UPDATE_SAMPLE=yes writes it anew.
func TestTheAlertsAreTriedOnWhatIsServed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(projectRoot(t), "test", "monitoring", "testdata", "metrics.txt")
	// One of each, so that all families have something to serve.
	shared.works(t, "sample")
	shared.create(t, playground.NewMutating("sample", 1, playground.FromSecret(namespace, "sample-missing")))
	shared.fight(t, "samplefight")
	eventually(t, "serve the sample", func(ctx context.Context) error {
		families, err := shared.metrics(ctx)
		if err != nil {
			return err
		}
		served := sampleOf(families)
		if served["caject_target_contested"] == "" {
			return fmt.Errorf("nothing is contested yet")
		}
		if os.Getenv("UPDATE_SAMPLE") == "yes" {
			return writeSample(path, families)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		sample, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			return err
		}
		if diff := cmp.Diff(sampleOf(sample), served); diff != "" {
			return fmt.Errorf("in the sample, but not served (-), and served, but not in the sample (+):\n%s", diff)
		}
		return nil
	})
}

// sampleOf returns type and labels of each family that is sampled.
func sampleOf(families map[string]*dto.MetricFamily) map[string]string {
	found := map[string]string{}
	for name, family := range families {
		if slices.ContainsFunc(sampled, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			found[name] = signature(family)
		}
	}
	return found
}

// signature is the type of a family, and the names of its labels.
func signature(family *dto.MetricFamily) string {
	var labels []string
	for _, label := range family.Metric[0].Label {
		labels = append(labels, label.GetName())
	}
	slices.Sort(labels)
	return strings.ToLower(family.GetType().String()) + " " + strings.Join(labels, ",")
}

func writeSample(path string, families map[string]*dto.MetricFamily) error {
	var text strings.Builder
	var names []string
	for name := range sampleOf(families) {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := expfmt.MetricFamilyToText(&text, families[name]); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}
