package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	corev1 "k8s.io/api/core/v1"
)

// dashboard is what Grafana reads, as far as it matters here.
type dashboard struct {
	UID    string
	Panels []struct {
		ID                       int
		Title, Description, Type string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			Expr, LegendFormat, RefID string
			Instant                   bool
		}
	}
}

// TestDashboard asks each query of the dashboard of what a caject has served, and has Prometheus answer something.
func TestDashboard(t *testing.T) {
	var configMap corev1.ConfigMap
	render(t, "dashboard.yaml", &configMap, "metrics.dashboard.enabled=true")
	if configMap.Labels["grafana_dashboard"] != "1" {
		t.Errorf("labels are %v", configMap.Labels)
	}
	file, err := os.ReadFile(filepath.Join(root, "charts", "caject", "files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(configMap.Data["caject.json"]) != strings.TrimSpace(string(file)) {
		t.Error("the ConfigMap holds something else than the file")
	}
	var d dashboard
	if err := json.Unmarshal(file, &d); err != nil {
		t.Fatal(err)
	}
	loaded := promqltest.LoadedStorage(t, loadSample(t))
	engine := promqltest.NewTestEngine(t, false, 0, 100000)
	ids := map[int]bool{}
	for _, panel := range d.Panels {
		if ids[panel.ID] || panel.Description == "" || len(panel.Targets) == 0 || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("panel %d, %q, is not as it should be", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			query := strings.NewReplacer("$job", "caject-metrics", "$__rate_interval", "5m").Replace(target.Expr)
			matrix, err := ask(t.Context(), engine, loaded, query)
			if err != nil || !saysSomething(matrix) {
				t.Errorf("%s: %s: %v, %v", panel.Title, query, matrix, err)
			}
			for _, name := range legendLabels(target.LegendFormat) {
				has := func(s promql.Series) bool { return s.Metric.Has(name) }
				if !slices.ContainsFunc(matrix, has) && !strings.Contains(query, name) { // a reason can be empty
					t.Errorf("%s: the legend has a label %s, which the answer has not", panel.Title, name)
				}
			}
		}
	}
}

// ask has Prometheus evaluate the query over the last ten minutes of the sample.
func ask(ctx context.Context, engine *promql.Engine, storage storage.Queryable, query string) (promql.Matrix, error) {
	end := time.Unix(30*60, 0)
	q, err := engine.NewRangeQuery(ctx, storage, nil, query, end.Add(-10*time.Minute), end, time.Minute)
	if err != nil {
		return nil, err
	}
	return q.Exec(ctx).Matrix() // q keeps it until it is closed
}

// saysSomething reports whether there is a number in the answer.
func saysSomething(matrix promql.Matrix) bool {
	return slices.ContainsFunc(matrix, func(s promql.Series) bool {
		return slices.ContainsFunc(s.Floats, func(p promql.FPoint) bool { return !math.IsNaN(p.F) })
	})
}

// legendLabels are those that a legend shows.
func legendLabels(legend string) []string {
	var found []string
	for _, part := range strings.Split(legend, "{{")[1:] {
		name, _, _ := strings.Cut(part, "}}")
		found = append(found, strings.TrimSpace(name))
	}
	return found
}

// loadSample is a command of Prometheus' tests: two replicas serve the sample for half an hour, in which what counts grows.
func loadSample(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("load 1m\n")
	for pod := range 2 {
		for name, value := range Values(sample(t), targetLabels(pod)) {
			growth := 0
			if base, _, _ := strings.Cut(name, "{"); strings.HasSuffix(base, "_total") || strings.HasSuffix(base, "_bucket") {
				growth = 1
			}
			fmt.Fprintf(&text, "  %s %g+%dx30\n", name, value, growth)
		}
	}
	fmt.Fprintf(&text, "  %s 1+1x30\n", apiServer("inject.caject.io", "admit"))
	return text.String()
}
