package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	buildInfo = prometheus.NewDesc("caject_build_info",
		"1, with the version of caject and that of Go which built it.",
		[]string{"version", "goversion"}, nil)
	leader = prometheus.NewDesc("caject_leader",
		"1 if this replica was elected to act at once, or runs without an election, else 0.",
		nil, nil)
	ready = prometheus.NewDesc("caject_ready",
		"1 if this replica is ready, as /readyz says, else 0.",
		nil, nil)
	leafExpiry = prometheus.NewDesc("caject_serving_certificate_expiry_timestamp_seconds",
		"When the certificate expires that this replica serves admission with.",
		nil, nil)
)

// Process is what there is to know of a process of caject as such. It is a [prometheus.Collector], which asks at the time of the call.
type Process struct {
	Version string
	// Leads reports whether the process was elected.
	Leads func() bool
	// Ready reports what /readyz says.
	Ready func() bool
	// LeafExpiry returns when the serving certificate expires; ok is false while there is none. Nil: no admission is served.
	LeafExpiry func() (at time.Time, ok bool)
}

// Describe implements [prometheus.Collector].
func (p Process) Describe(descs chan<- *prometheus.Desc) {
	descs <- buildInfo
	descs <- leader
	descs <- ready
	descs <- leafExpiry
}

// Collect implements [prometheus.Collector].
func (p Process) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, p.Version, runtime.Version())
	metrics <- prometheus.MustNewConstMetric(leader, prometheus.GaugeValue, Number(p.Leads()))
	metrics <- prometheus.MustNewConstMetric(ready, prometheus.GaugeValue, Number(p.Ready()))
	if p.LeafExpiry == nil {
		return
	}
	if at, ok := p.LeafExpiry(); ok {
		metrics <- prometheus.MustNewConstMetric(leafExpiry, prometheus.GaugeValue, float64(at.Unix()))
	}
}

// Number is what a gauge serves of something that is so or not: 1 or 0.
func Number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
