package playground

import (
	"context"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are what caject serves on the given port of loopback.
func Metrics(ctx context.Context, port int) (map[string]*dto.MetricFamily, error) {
	return MetricsAt(ctx, http.DefaultClient, fmt.Sprintf("http://localhost:%d/metrics", port))
}

// MetricsAt are those that are served at url, of caject or another program.
func MetricsAt(ctx context.Context, client *http.Client, url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the metrics at %s: %s", url, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// Goroutines returns how many goroutines caject has, by its metrics on the given port.
func Goroutines(ctx context.Context, metricsPort int) (int, error) {
	families, err := Metrics(ctx, metricsPort)
	if err != nil {
		return 0, err
	}
	family := families["go_goroutines"]
	if len(family.GetMetric()) != 1 {
		return 0, fmt.Errorf("caject's metrics have %d go_goroutines", len(family.GetMetric()))
	}
	return int(family.GetMetric()[0].GetGauge().GetValue()), nil
}
