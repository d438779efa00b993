package monitoring

import (
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Values returns what families hold, by the name of each series, to whose labels those of target are added: a="b",c="d". Sums and
// counts of histograms are left out, for nothing asks for them.
func Values(families map[string]*dto.MetricFamily, target string) map[string]float64 {
	values := map[string]float64{}
	for name, family := range families {
		for _, metric := range family.Metric {
			var labels []string
			for _, label := range metric.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			series := func(name string, more ...string) string {
				return name + "{" + strings.Join(append(append(more, labels...), target), ",") + "}"
			}
			switch family.GetType() {
			case dto.MetricType_GAUGE:
				values[series(name)] = metric.GetGauge().GetValue()
			case dto.MetricType_COUNTER:
				values[series(name)] = metric.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				for _, bucket := range metric.GetHistogram().Bucket {
					values[series(name+"_bucket", fmt.Sprintf(`le="%g"`, bucket.GetUpperBound()))] = float64(bucket.GetCumulativeCount())
				}
			}
		}
	}
	return values
}
