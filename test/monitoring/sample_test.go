package monitoring

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// sample returns what a caject that ran has served.
func sample(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestScenesAreMadeOfWhatIsServed: each series of caject's in a scene has the labels of one that a caject has served.
func TestScenesAreMadeOfWhatIsServed(t *testing.T) {
	families := sample(t)
	for sentence, test := range scenes {
		s := healthy(2)
		test.happens(s)
		for name := range s {
			if !strings.HasPrefix(name, "caject_") {
				continue // that of the API server is tried in test/scrape
			}
			labels, err := parser.NewParser(parser.Options{}).ParseMetricSelector(name) // ParseMetric would leave out those that are empty
			if err != nil {
				t.Fatal(err)
			}
			base, _, _ := strings.Cut(name, "{")
			family := families[base]
			if family == nil {
				t.Fatalf("%s: caject does not serve %s", sentence, name)
			}
			var want, got []string
			for _, label := range family.Metric[0].Label {
				want = append(want, label.GetName())
			}
			for _, label := range labels {
				if label.Name != model.MetricNameLabel && !strings.Contains(targetLabels(0), label.Name+"=") {
					got = append(got, label.Name)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s: labels served (-), and in the scene (+):\n%s", sentence, name, diff)
			}
		}
	}
}
