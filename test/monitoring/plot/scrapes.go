package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caject/caject/test/monitoring"
)

const (
	job          = "caject-metrics"
	rateInterval = "10s"
)

// recording is what the replicas served in a run: the values of each series, one each second, NaN where there is none.
type recording struct {
	begin, end time.Time
	series     map[string][]float64
}

// readScrapes reads what the soak has written: for each scrape a line with its time and replica, then the text.
func readScrapes(text string) (*recording, error) {
	r := &recording{series: map[string][]float64{}}
	for _, scrape := range strings.Split(text, "# scrape ")[1:] {
		head, body, _ := strings.Cut(scrape, "\n")
		var at int64
		var replica int
		if _, err := fmt.Sscanf(head, "%d %d", &at, &replica); err != nil {
			return nil, fmt.Errorf("%q: %w", head, err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if r.begin.IsZero() {
			r.begin = time.UnixMilli(at)
		}
		second := int(math.Round(time.UnixMilli(at).Sub(r.begin).Seconds()))
		for name, value := range monitoring.Values(families, fmt.Sprintf(`job="%s",instance="caject-%d"`, job, replica)) {
			for len(r.series[name]) <= second {
				r.series[name] = append(r.series[name], math.NaN())
			}
			r.series[name][second] = value
		}
		r.end = r.begin.Add(time.Duration(second) * time.Second)
	}
	if len(r.series) == 0 {
		return nil, errors.New("there is no scrape in it")
	}
	return r, nil
}

// load is a command of Prometheus' tests. A series that is gone is stale, as it is to a Prometheus that scrapes.
func (r *recording) load() string {
	var text strings.Builder
	text.WriteString("load 1s\n")
	for name, values := range r.series {
		text.WriteString("  " + name)
		there := false
		for _, value := range values {
			switch {
			case !math.IsNaN(value):
				fmt.Fprintf(&text, " %g", value)
			case there:
				text.WriteString(" stale")
			default:
				text.WriteString(" _")
			}
			there = !math.IsNaN(value)
		}
		if len(values) <= int(r.end.Sub(r.begin).Seconds()) {
			text.WriteString(" stale")
		}
		text.WriteString("\n")
	}
	return text.String()
}
